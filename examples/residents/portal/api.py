"""The data API, and all that is known here of how it answers.

Every call carries the person's own token, so the API decides what this person sees; the client certificate
only says which application is calling. Nothing is cached between people.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx

from .errors import ApiError, Busy, Conflicting, Forbidden, Invalid, Missing, SignInNeeded, Stale, Unreachable

TIMEOUT_SECONDS = 5.0
"""For a whole call: an answer that comes byte by byte has no more time than one that never begins."""

ANSWER_BYTES = 4 * 1024 * 1024
CURSOR_LENGTH = 1024

Content = dict[str, object]


_ERRORS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: SignInNeeded,
    403: Forbidden,
    404: Missing,
    409: Conflicting,
    412: Stale,
    413: Invalid,
    422: Invalid,
    429: Busy,
}
_KEY_REUSED = "idempotency_key_reused"


@dataclass(frozen=True, slots=True)
class Document:
    """A stored document: its content and what the API keeps beside it. `version` guards against lost updates:
    a change names the version it was made from."""

    id: UUID
    version: int
    owner: str
    created_at: datetime
    updated_at: datetime
    content: Content


@dataclass(frozen=True, slots=True)
class Listing:
    """One stretch of a collection. `cursor` leads to the next; empty at the end."""

    documents: tuple[Document, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class Errand:
    """On whose behalf a call is made: the client domain, the person's token, the request it belongs to, and
    where in its trace this is, if it is traced."""

    host: str
    token: str
    request_id: str
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class DataApi:
    """The calls, over a client that already knows the address and how to prove which application it is."""

    client: httpx.AsyncClient = field(repr=False)

    async def close(self) -> None:
        await self.client.aclose()

    async def list(self, errand: Errand, collection: str, *, limit: int, cursor: str = "") -> Listing:
        """Up to `limit` documents this person may see, newest first.

        Raises Missing for a cursor that cannot be one: an address that somebody shortened or made up.
        """
        if len(cursor) > CURSOR_LENGTH:
            raise Missing("The cursor is too long")
        parameters = {"limit": str(limit)} | ({"after": cursor} if cursor else {})
        answer = await self._call(errand, "GET", collection, parameters=parameters)
        return _read_listing(answer)

    async def read(self, errand: Errand, collection: str, id: UUID) -> Document:
        return _read_document(await self._call(errand, "GET", f"{collection}/{id}"))

    async def create(self, errand: Errand, collection: str, content: Content, *, key: str) -> Document:
        """Stores `content` once for a `key`, however often it is asked to."""
        headers = {"Idempotency-Key": key}
        return _read_document(await self._call(errand, "POST", collection, headers=headers, content=content))

    async def change(
        self, errand: Errand, collection: str, id: UUID, content: Content, *, version: int
    ) -> Document:
        """Sets the members of `content` (RFC 7396 merge patch) if nobody changed the document since."""
        headers = {"If-Match": f'"{version}"', "Content-Type": "application/merge-patch+json"}
        path = f"{collection}/{id}"
        return _read_document(await self._call(errand, "PATCH", path, headers=headers, content=content))

    async def delete(self, errand: Errand, collection: str, id: UUID, *, version: int) -> None:
        headers = {"If-Match": f'"{version}"'}
        await self._call(errand, "DELETE", f"{collection}/{id}", headers=headers)

    async def _call(
        self,
        errand: Errand,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: Content | None = None,
    ) -> Any:
        """The answer's JSON, or None for 204; raises the ApiError for every other status."""
        request = self.client.build_request(
            method,
            f"/api/v1/{path}",
            params=parameters,
            headers=_headers(errand) | dict(headers or {}),
            content=None if content is None else json.dumps(content).encode(),
        )
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status, body = await self._exchange(request)
        except (httpx.TransportError, ssl.SSLError, TimeoutError) as error:
            raise Unreachable(f"{type(error).__name__}: {error}") from error
        return _judge(status, body)

    async def _exchange(self, request: httpx.Request) -> tuple[int, bytes]:
        """Status and body. A connection that was kept open may end just as it is used again; what is safe to
        repeat is sent once more, over a new one: reading, and creating under an idempotency key."""
        try:
            return await self._send(request)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            if request.method not in ("GET", "POST"):
                raise
            return await self._send(request)

    async def _send(self, request: httpx.Request) -> tuple[int, bytes]:
        response = await self.client.send(request, stream=True)
        try:
            return response.status_code, await _read_body(response)
        finally:
            await response.aclose()


def open_api(environment: Mapping[str, str]) -> DataApi:
    """The API at TROTH_API_URL, over mutual TLS; KeyError names a variable that is missing."""
    context = ssl.create_default_context(cafile=environment["TROTH_API_CA"])
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(environment["TROTH_API_CERTIFICATE"], environment["TROTH_API_KEY"])
    limits = httpx.Limits(max_connections=32, max_keepalive_connections=8)
    transport = httpx.AsyncHTTPTransport(verify=context, limits=limits, trust_env=False)
    return DataApi(make_client(environment["TROTH_API_URL"], transport))


def make_client(url: str, transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    """A client without proxies, redirects or compressed answers (a small one could unpack to a huge one)."""
    return httpx.AsyncClient(
        base_url=url,
        transport=transport,
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
        follow_redirects=False,
        headers={"Accept": "application/json, application/problem+json", "Accept-Encoding": "identity"},
    )


def _headers(errand: Errand) -> dict[str, str]:
    headers = {
        "Host": errand.host,
        "Authorization": f"Bearer {errand.token}",
        "Content-Type": "application/json",
    }
    headers |= {"X-Request-Id": errand.request_id} if errand.request_id else {}
    return headers | ({"Traceparent": errand.traceparent} if errand.traceparent else {})


async def _read_body(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > ANSWER_BYTES:
            raise Unreachable("The answer is too large")
        parts.append(part)
    return b"".join(parts)


def _judge(status: int, body: bytes) -> Any:
    if status == 204:
        return None
    if status in (200, 201):
        return _read_json(body)
    problem = _ERRORS.get(status)
    if problem is None:
        raise Unreachable(f"The API answered {status}")
    raise _explain(problem, body)


def _explain(problem: type[ApiError], body: bytes) -> ApiError:
    """The error from RFC 9457 problem details; a body that is none still makes the error."""
    fields = _read_object(body)
    if fields.get("code") == _KEY_REUSED:
        problem = Conflicting
    return problem(
        str(fields.get("detail") or fields.get("title") or "No reason was given"),
        code=str(fields.get("code", "")),
        faults=_read_faults(fields.get("errors")),
    )


def _read_faults(faults: Any) -> tuple[tuple[str, str], ...]:
    """(`title`, what is wrong) of each `{"pointer": "/title", "detail": …}`."""
    try:
        return tuple(
            (str(fault["pointer"]).strip("/").split("/")[0], str(fault["detail"])) for fault in faults
        )
    except (KeyError, TypeError):
        return ()


def _read_object(body: bytes) -> Content:
    """A JSON object; empty for a body that is none."""
    try:
        return dict(json.loads(body))
    except (RecursionError, TypeError, ValueError):
        return {}


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (RecursionError, ValueError) as error:
        raise Unreachable("The answer is not JSON") from error


def _read_listing(answer: Any) -> Listing:
    try:
        documents = tuple(_read_document(item) for item in answer["items"])
        return Listing(documents, str(answer.get("next") or ""))
    except (KeyError, TypeError, AttributeError) as error:
        raise Unreachable("The answer is not a list") from error


def _read_document(answer: Any) -> Document:
    """From the content with one member added, `_meta`, which the API alone sets."""
    try:
        content = dict(answer)
        meta = content.pop("_meta")
        return Document(
            id=UUID(meta["id"]),
            version=int(meta["version"]),
            owner=str(meta["owner"]),
            created_at=datetime.fromisoformat(meta["created_at"]),
            updated_at=datetime.fromisoformat(meta["updated_at"]),
            content=content,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Unreachable("The answer is not a document") from error
