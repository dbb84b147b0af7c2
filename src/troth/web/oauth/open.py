"""Routes that any origin may call, and errors in OAuth's own shape."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from troth.access.errors import (
    InsufficientScope,
    InvalidProof,
    InvalidToken,
    OAuthError,
)
from troth.access.tenants import Domain
from troth.core.errors import Unavailable
from troth.web.answers import json_response, problems
from troth.web.oauth.services import OAuthServices
from troth.web.problem import retry_after

_ANYBODY = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "DPoP-Nonce, WWW-Authenticate",
}
"""For endpoints that no cookie opens: applications in browsers of other origins may call them."""

_PREFLIGHT = {
    **_ANYBODY,
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, DPoP",
    "Access-Control-Max-Age": "600",
}


OpenHandler = Callable[[Request, Domain], Awaitable[Response]]


def open_route(services: OAuthServices, path: str, handler: OpenHandler, *methods: str) -> Route:
    """A route that any origin may call, with errors in OAuth's own shape."""

    async def answer(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=_PREFLIGHT)
        domain = await services.directory.find(request.headers.get("host", ""))
        try:
            response = await handler(request, domain)
        except OAuthError as error:
            response = oauth_error(error)
        except Unavailable as error:
            response = unavailable(error)
        response.headers.update(_ANYBODY)
        return response

    return Route(path, problems(answer), methods=[*methods, "OPTIONS"])


def unavailable(error: Unavailable) -> Response:
    """With the code that RFC 6749 section 4.1.2.1 has for this; a client that was told nothing begins anew,
    with a proof and an assertion that were not used."""
    seconds = retry_after(error)
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    return json_response(
        {"error": "temporarily_unavailable", "error_description": error.public}, error.status, headers
    )


def oauth_error(error: OAuthError) -> Response:
    """RFC 6749 section 5.2; for tokens RFC 6750 section 3."""
    response = json_response({"error": error.code, "error_description": error.public}, error.status)
    if isinstance(error, InvalidToken | InsufficientScope):
        response.headers["WWW-Authenticate"] = f'Bearer realm="userinfo", error="{error.code}"'
    elif isinstance(error, InvalidProof) and error.nonce:
        response.headers["DPoP-Nonce"] = error.nonce
    elif error.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="token"'
    return response
