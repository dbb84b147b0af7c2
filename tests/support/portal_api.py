"""The data API as the portal meets it, in memory: same addresses, same answers, same refusals.

`test_portal_contract.py` runs the portal against the real one; this one is for what a real one does not do
on demand: answer late, wrongly, or with somebody else's change in between.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from jsonschema_rs import validator_for
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uuid_utils.compat import uuid7

SCHEMAS = Path(__file__).parents[2] / "examples" / "residents" / "schemas"
HOST = "residents.localhost:8443"

Content = dict[str, Any]
Intervention = Callable[[Request], Response | None]


@dataclass
class Stored:
    id: UUID
    owner: str
    created_at: datetime
    updated_at: datetime
    content: Content
    version: int = 1

    def to_wire(self) -> Content:
        meta = {
            "id": str(self.id),
            "owner": self.owner,
            "version": self.version,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
        }
        return {"_meta": meta, **self.content}


@dataclass
class FakeDataApi:
    """`intervene` may answer a request instead, as a broken or restarting service would; `seen` are the
    requests that arrived, with their bodies."""

    now: Callable[[], datetime]
    documents: dict[str, list[Stored]] = field(default_factory=lambda: {"tickets": [], "announcements": []})
    keys: dict[str, tuple[Content, UUID]] = field(default_factory=dict[str, tuple[Content, UUID]])
    seen: list[tuple[Request, bytes]] = field(default_factory=list[tuple[Request, bytes]])
    intervene: Intervention = lambda _: None

    def __post_init__(self) -> None:
        self._validators = {
            name: validator_for(
                json.loads((SCHEMAS / f"{name[:-1]}.json").read_bytes()), validate_formats=True
            )
            for name in self.documents
        }

    def put(self, collection: str, owner: str, at: datetime, **content: object) -> Stored:
        """Stores a document behind the portal's back."""
        stored = Stored(uuid7(), owner, at, at, dict(content))
        self.documents[collection].append(stored)
        return stored

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/v1/{collection}", self._collection, methods=["GET", "POST"]),
                Route("/api/v1/{collection}/{id:uuid}", self._item, methods=["GET", "PATCH", "DELETE"]),
            ]
        )

    async def _collection(self, request: Request) -> Response:
        body = await request.body()
        self.seen.append((request, body))
        refusal = self.intervene(request) or self._refuse(request)
        if refusal:
            return refusal
        return self._create(request, json.loads(body)) if request.method == "POST" else self._list(request)

    async def _item(self, request: Request) -> Response:
        body = await request.body()
        self.seen.append((request, body))
        refusal = self.intervene(request) or self._refuse(request)
        if refusal:
            return refusal
        stored = self._find(request)
        if stored is None:
            return problem(404, "not_found")
        if request.method == "GET":
            return JSONResponse(stored.to_wire(), headers={"ETag": f'"{stored.version}"'})
        if request.headers.get("if-match") != f'"{stored.version}"':
            return problem(412, "precondition_failed")
        return self._delete(request, stored) if request.method == "DELETE" else self._patch(stored, body)

    def _list(self, request: Request) -> Response:
        asked = request.query_params
        if asked.keys() - {"after", "limit"}:
            return problem(400, "malformed")
        visible = [each for each in reversed(self.documents[_name(request)]) if _reaches(request, each.owner)]
        after = asked.get("after")
        start = next((i + 1 for i, each in enumerate(visible) if after == _cursor(each)), 0)
        if after and not start:
            return problem(400, "malformed")
        limit = int(asked.get("limit", "20"))
        page = visible[start : start + limit]
        following = _cursor(page[-1]) if len(visible) > start + limit else None
        return JSONResponse({"items": [each.to_wire() for each in page], "next": following})

    def _create(self, request: Request, content: Content) -> Response:
        key = request.headers.get("idempotency-key", "")
        if key in self.keys:
            before, id = self.keys[key]
            if before != content:
                return problem(422, "idempotency_key_reused")
            return JSONResponse(next(e for e in self.documents[_name(request)] if e.id == id).to_wire(), 201)
        faults = self._check(_name(request), content)
        if faults:
            return problem(422, "invalid", errors=faults)
        stored = self.put(_name(request), _claims(request)["sub"], self.now(), **content)
        if key:
            self.keys[key] = content, stored.id
        return JSONResponse(stored.to_wire(), 201)

    def _patch(self, stored: Stored, body: bytes) -> Response:
        merged = stored.content | json.loads(body)
        content = {name: value for name, value in merged.items() if value is not None}
        faults = self._check("tickets" if "urgency" in content else "announcements", content)
        if faults:
            return problem(422, "invalid", errors=faults)
        stored.content, stored.version, stored.updated_at = content, stored.version + 1, self.now()
        return JSONResponse(stored.to_wire())

    def _delete(self, request: Request, stored: Stored) -> Response:
        self.documents[_name(request)].remove(stored)
        return Response(status_code=204)

    def _check(self, name: str, content: Content) -> list[Content]:
        return [
            {"pointer": "".join(f"/{part}" for part in error.instance_path), "detail": error.message}
            for error in self._validators[name].iter_errors(content)
        ]

    def _find(self, request: Request) -> Stored | None:
        id = request.path_params["id"]
        found = (each for each in self.documents[_name(request)] if each.id == id)
        return next((each for each in found if _reaches(request, each.owner)), None)

    def _refuse(self, request: Request) -> Response | None:
        if request.headers.get("host") != HOST or not _claims(request):
            return problem(401, "unauthenticated")
        return None if _scope(request) else problem(403, "insufficient_scope")


def problem(status: int, code: str, *, errors: list[Content] | None = None) -> Response:
    """RFC 9457 problem details."""
    body: Content = {"type": f"urn:troth:problem:{code}", "title": code, "status": status, "code": code}
    return JSONResponse(body | ({"errors": errors} if errors else {}), status)


def make_token(subject: str, *scopes: str) -> str:
    """An access token's shape; nobody here checks signatures."""
    claims = json.dumps({"sub": subject, "scope": " ".join(scopes)}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"


def _name(request: Request) -> str:
    return request.path_params["collection"]


def _cursor(stored: Stored) -> str:
    return base64.urlsafe_b64encode(stored.id.bytes).decode().rstrip("=")


def _claims(request: Request) -> Content:
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token.count(".") != 2:
        return {}
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def _scope(request: Request) -> str:
    """The widest scope of the token that covers this request; empty when none does."""
    action = {"GET": "read", "POST": "create", "PATCH": "update", "DELETE": "delete"}[request.method]
    needed = f"{_name(request)}:{action}"
    granted = str(_claims(request).get("scope", "")).split()
    return min(
        (each for each in granted if each == needed or each.startswith(f"{needed}:own")), default="", key=len
    )


def _reaches(request: Request, owner: str) -> bool:
    return ":own" not in _scope(request) or _claims(request)["sub"] == owner
