"""The data API: `/api/v1/{collection}[/{id}]` and `/api/openapi.json`.

Each route is a plain ASGI application: no middleware, no request or response objects, because an
authenticated read should cost little more than the query behind it. Only an access token opens it; cookies
are not looked at, so no other site can make a browser use them here (CSRF).
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol
from uuid import UUID

import msgspec
from starlette.routing import Route

from troth.access.authenticator import Presented
from troth.access.explain import Denials
from troth.core.errors import Denied, NotFound, Unavailable
from troth.data.document import Document
from troth.data.documents import Documents
from troth.data.grants import Caller, read_grants
from troth.web.call import JSON, MERGE_PATCH, Call, Receive, Scope
from troth.web.client_certificate import CERTIFICATE_HEADER, read_certificate
from troth.web.problem import Headers, MethodNotAllowed, Send, read_request_id, send_problem

_CERTIFICATE = CERTIFICATE_HEADER.encode()


class Principal(Protocol):
    """On whose behalf a verified access token speaks. `scopes` are the token's, as text; `reach` is all that
    it allows, as scopes."""

    @property
    def tenant(self) -> UUID: ...
    @property
    def person(self) -> UUID: ...
    @property
    def session(self) -> UUID: ...
    @property
    def client(self) -> str: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...
    @property
    def reach(self) -> tuple[str, ...]: ...


class Authenticator(Protocol):
    """Verifies access tokens. Need not ask whether the session lives: every data call does so itself."""

    async def authenticate(self, domain: str, shown: Presented) -> Principal:
        """The principal of a request to this client domain (without port).

        Raises Unauthenticated: without a token `error` is empty, else the code of RFC 6750 section 3.1 or RFC
        9449 section 7.1.
        """
        ...


class Answer(msgspec.Struct, frozen=True):
    """A response. `cache` is its Cache-Control: what a person may see is kept by nobody."""

    status: int
    body: bytes = b""
    headers: Headers = []
    cache: bytes = b"private, no-store"


Handler = Callable[[Call], Awaitable[Answer]]


class Endpoint:
    """An ASGI application: one handler for each method, errors as problems. `denials` tells a denied caller
    which link lacked the scope."""

    def __init__(self, handlers: Mapping[str, Handler], denials: Denials | None = None) -> None:
        self._handlers = dict(handlers)
        self._denials = denials
        if "GET" in handlers:
            self._handlers["HEAD"] = handlers["GET"]
        self._allow = ", ".join(sorted(self._handlers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope, receive)
        method: str = scope["method"]
        request_id = read_request_id(call.headers.get(b"x-request-id"))
        try:
            handler = self._handlers.get(method)
            if handler is None:
                raise MethodNotAllowed(self._allow)
            answer = await handler(call)
        except Exception as error:  # noqa: BLE001  send_problem logs what was not raised on purpose
            if isinstance(error, Denied):
                await self._look_into(call, error)
            await send_problem(send, error, request_id, head=method == "HEAD")
        else:
            await _send_answer(send, answer, request_id, head=method == "HEAD")

    async def _look_into(self, call: Call, error: Denied) -> None:
        """A database that cannot be asked just now makes no other answer of the refusal."""
        if self._denials is None or call.bearer is None:
            return
        with suppress(Unavailable):
            error.lacking = await self._denials.lacking(call.domain, *call.bearer, error.scope)


class Api:
    """The handlers of the document routes."""

    def __init__(self, documents: Documents, authenticator: Authenticator) -> None:
        self._documents = documents
        self._authenticator = authenticator

    async def list(self, call: Call) -> Answer:
        caller = await self._caller(call)
        after, limit = call.page()
        page = await self._documents.list(caller, call.collection, after=after, limit=limit)
        return Answer(200, page.to_wire())

    async def create(self, call: Call) -> Answer:
        caller = await self._caller(call)
        key = call.key()
        content = await call.content(JSON)
        document = await self._documents.create(caller, call.collection, content, key=key)
        location = f"/api/v1/{call.collection}/{document.id}"
        return Answer(201, document.to_wire(), [_etag(document), (b"location", location.encode())])

    async def read(self, call: Call) -> Answer:
        caller = await self._caller(call)
        document = await self._documents.read(caller, call.collection, call.identifier)
        if call.knows(document.version):
            return Answer(304, b"", [_etag(document)])
        return Answer(200, document.to_wire(), [_etag(document)])

    async def replace(self, call: Call) -> Answer:
        caller = await self._caller(call)
        match = call.match()
        content = await call.content(JSON)
        changed = await self._documents.replace(caller, call.collection, call.identifier, content, match)
        return Answer(200, changed.to_wire(), [_etag(changed)])

    async def patch(self, call: Call) -> Answer:
        caller = await self._caller(call)
        match = call.match()
        patch = await call.content(MERGE_PATCH)
        changed = await self._documents.patch(caller, call.collection, call.identifier, patch, match)
        return Answer(200, changed.to_wire(), [_etag(changed)])

    async def delete(self, call: Call) -> Answer:
        caller = await self._caller(call)
        match = call.match() if b"if-match" in call.headers else None
        await self._documents.delete(caller, call.collection, call.identifier, match)
        return Answer(204)

    async def _caller(self, call: Call) -> Caller:
        principal = await authenticate(call, self._authenticator)
        return Caller(principal.tenant, principal.person, principal.session, read_grants(principal.reach))


async def authenticate(call: Call, authenticator: Authenticator) -> Principal:
    """Whom the call's access token speaks for. Raises Unauthenticated."""
    principal = await authenticator.authenticate(call.domain, _presented(call))
    call.bearer = principal.session, principal.client
    return principal


def routes(
    documents: Documents, authenticator: Authenticator, openapi: bytes, denials: Denials | None = None
) -> list[Route]:
    """The API's routes, to stand before any other under /api. `openapi` is made by `data.openapi`."""
    api = Api(documents, authenticator)
    item = Endpoint({"GET": api.read, "PUT": api.replace, "PATCH": api.patch, "DELETE": api.delete}, denials)
    return [
        Route("/api/v1/{collection}/{id}", item),
        Route("/api/v1/{collection}", Endpoint({"GET": api.list, "POST": api.create}, denials)),
        Route("/api/openapi.json", Endpoint({"GET": _serve(openapi)})),
        Route("/api", _nothing),
        Route("/api/{rest:path}", _nothing),
    ]


def _presented(call: Call) -> Presented:
    certificate = call.header(_CERTIFICATE)
    return Presented(
        authorization=call.once(b"authorization"),
        proof=call.once(b"dpop"),
        method=call.method,
        path=call.target,
        certificate=read_certificate(certificate) if certificate else b"",
    )


def _serve(document: bytes) -> Handler:
    tag = f'"{hashlib.sha256(document).hexdigest()[:32]}"'
    headers: Headers = [(b"etag", tag.encode())]
    public = b"public, max-age=60"

    async def answer(call: Call) -> Answer:
        if tag in (call.header(b"if-none-match") or ""):
            return Answer(304, b"", headers, public)
        return Answer(200, document, headers, public)

    return answer


class _Nothing:
    """404 as a problem for whatever else is asked under /api."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = read_request_id(dict(scope["headers"]).get(b"x-request-id"))
        await send_problem(
            send, NotFound("There is no such address."), request_id, head=scope["method"] == "HEAD"
        )


_nothing = _Nothing()


def _etag(document: Document) -> tuple[bytes, bytes]:
    return b"etag", f'"{document.version}"'.encode()


async def _send_answer(send: Send, answer: Answer, request_id: str, *, head: bool) -> None:
    headers: Headers = [
        (b"cache-control", answer.cache),
        (b"x-content-type-options", b"nosniff"),
        (b"x-request-id", request_id.encode()),
        *answer.headers,
    ]
    if answer.status not in (204, 304):
        headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})
