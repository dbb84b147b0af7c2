"""Registration of clients by themselves, over HTTP (RFC 7591, 7592)."""

from starlette.requests import Request
from starlette.responses import Response

from troth.access.errors import InvalidClientMetadata, InvalidToken
from troth.access.tenants import Domain
from troth.core.jose_parts import read_object
from troth.web.answers import NO_STORE, json_response, request_id
from troth.web.oauth.services import OAuthServices

MAX_BYTES = 64 * 1024


class RegistrationEndpoint:
    """Every answer to a wrong token is the same, whether there is such a client or not."""

    def __init__(self, services: OAuthServices) -> None:
        self._services = services

    async def register(self, request: Request, domain: Domain) -> Response:
        """RFC 7591 section 3."""
        invitation, document = _token(request), await _document(request)
        told = await self._services.registrations.register(
            domain, invitation, document, trace=request_id(request)
        )
        now = int(self._services.clock.now().timestamp())
        return json_response({**told, "client_id_issued_at": now}, 201)

    async def manage(self, request: Request, domain: Domain) -> Response:
        """RFC 7592 section 2."""
        registrations, token = self._services.registrations, _token(request)
        client: str = request.path_params["client"]
        if request.method == "DELETE":
            await registrations.remove(domain, client, token, trace=request_id(request))
            return Response(status_code=204, headers=NO_STORE)
        if request.method == "PUT":
            document = await _document(request)
            if document.get("client_id") != client:
                raise InvalidClientMetadata("client_id: it names another client, or is missing")
            own = {name: value for name, value in document.items() if name not in _TOLD}
            told = await registrations.replace(domain, client, token, own, trace=request_id(request))
            return json_response(told)
        return json_response(await registrations.read(domain, client, token))


_TOLD = frozenset(
    {
        "client_id",
        "client_secret",
        "client_secret_expires_at",
        "client_id_issued_at",
        "registration_access_token",
        "registration_client_uri",
    }
)
"""What we told the client about itself is not its to change (RFC 7592 section 2.2)."""


def _token(request: Request) -> str:
    """The one token of a request (RFC 6750 section 2.1). Raises InvalidToken."""
    headers = request.headers.getlist("authorization")
    scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip(" "):
        raise InvalidToken("send the token in one Authorization header, as Bearer")
    return token.strip(" ")


async def _document(request: Request) -> dict[str, object]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise InvalidClientMetadata("send the metadata as application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise InvalidClientMetadata("the metadata is too large")
    try:
        return read_object(bytes(body))
    except (ValueError, RecursionError):
        raise InvalidClientMetadata("the metadata is no JSON object, or says something twice") from None
