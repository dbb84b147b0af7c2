"""JSON answers, and errors of JSON routes as problem details."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from troth.access.errors import NoSession
from troth.core.errors import RequestError
from troth.web.cookies import clear_cookie
from troth.web.problem import describe, headers_of, read_request_id

Handler = Callable[[Request], Awaitable[Response]]

NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def request_id(request: Request) -> str:
    """The id that the edge gave this request."""
    return read_request_id(request.headers.get("x-request-id", "").encode("latin-1"))


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON that nobody keeps, unless `headers` say otherwise."""
    return Response(msgspec.json.encode(value), status, {**NO_STORE, **(headers or {})}, "application/json")


def problem_response(error: RequestError, request: Request) -> Response:
    """RFC 9457 problem details. A cookie that opens nothing is taken away."""
    problem = describe(error, request_id(request))
    response = Response(problem.to_wire(), problem.status, NO_STORE, "application/problem+json")
    for name, value in headers_of(error):
        response.headers[name.decode()] = value.decode()
    if isinstance(error, NoSession):
        del response.headers["www-authenticate"]  # a session is no bearer token
        if error.clear:
            clear_cookie(response)
    return response


def problems(handler: Handler) -> Handler:
    """The handler, with what it refuses told as problem details."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except RequestError as error:
            return problem_response(error, request)

    return answer
