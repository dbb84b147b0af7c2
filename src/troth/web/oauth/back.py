"""The back channel: what a client calls by itself. No cookie is looked at."""

from starlette.requests import Request
from starlette.responses import Response

from troth.access.errors import (
    InsufficientScope,
    InvalidToken,
)
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.introspection import SIGNED
from troth.access.scopes import OPENID
from troth.access.tenants import Domain
from troth.core.errors import Unauthenticated
from troth.web.answers import NO_STORE, json_response
from troth.web.oauth.client_request import read_client_request, read_presented
from troth.web.oauth.metadata import metadata
from troth.web.oauth.services import OAuthServices


class BackChannel:
    """What a client calls by itself. No cookie is looked at."""

    def __init__(self, services: OAuthServices) -> None:
        self._services = services

    async def token(self, request: Request, domain: Domain) -> Response:
        """The token endpoint (RFC 6749 section 3.2)."""
        asked = await read_client_request(request, domain)
        client = await self._services.client_authentication.authenticate(domain, asked)
        answer = await self._services.token_endpoint.answer(domain, client, asked)
        return json_response(answer, headers={"Pragma": "no-cache", **await self._next_nonce(domain, asked)})

    async def push(self, request: Request, domain: Domain) -> Response:
        """The pushed authorization request endpoint (RFC 9126 section 2)."""
        asked = await read_client_request(request, domain)
        client = await self._services.client_authentication.authenticate(domain, asked)
        key = await self._services.senders.key_of(domain, asked)
        pushed = await self._services.pushed_requests.push(domain, client, asked, key)
        return json_response(pushed, 201, await self._next_nonce(domain, asked))

    async def revoke(self, request: Request, domain: Domain) -> Response:
        """Revocation (RFC 7009): 200 whether the token was one or not."""
        asked = await read_client_request(request, domain)
        client = await self._services.client_authentication.authenticate(domain, asked)
        await self._services.revocation.revoke(domain, client, asked)
        return Response(status_code=200, headers=NO_STORE)

    async def device(self, request: Request, domain: Domain) -> Response:
        """The device authorization endpoint (RFC 8628 section 3.1)."""
        asked = await read_client_request(request, domain)
        client = await self._services.client_authentication.authenticate(domain, asked)
        return json_response(await self._services.device_codes.begin(domain, client, asked))

    async def introspect(self, request: Request, domain: Domain) -> Response:
        """Introspection (RFC 7662), signed on request (RFC 9701)."""
        asked = await read_client_request(request, domain)
        client = await self._services.client_authentication.authenticate(domain, asked)
        found = await self._services.introspection.look(domain, client, asked)
        if f"application/{SIGNED}" not in request.headers.get("accept", ""):
            return json_response(found)
        signed = await self._services.introspection.sign(domain, client, found)
        return Response(signed, 200, NO_STORE, f"application/{SIGNED}")

    async def _next_nonce(self, domain: Domain, asked: ClientRequest) -> dict[str, str]:
        """RFC 9449 section 8.2: who sent a proof learns what to put into the next."""
        return {} if asked.proof is None else {"DPoP-Nonce": await self._services.proofs.nonce(domain)}

    async def userinfo(self, request: Request, domain: Domain) -> Response:
        """OpenID Connect Core section 5.3, for as long as the grant lives."""
        services = self._services
        try:
            principal = await services.authenticator.of_domain(domain, read_presented(request))
            if OPENID not in principal.scopes:
                raise InsufficientScope("the scope openid is needed")
            session = await services.sessions.open_by_id(domain, principal.session)
        except Unauthenticated as error:
            raise InvalidToken("the access token is not valid", detail=error.detail) from None
        profile = await services.accounts.profile(session.tenant, session.person, session.profile)
        claims = {"sub": str(session.person)}
        if "profile" in principal.scopes:
            claims["name"] = profile.name
        if "email" in principal.scopes:
            claims["email"] = profile.email
        return json_response(claims)

    async def jwks(self, request: Request, domain: Domain) -> Response:
        """The issuer's public keys (RFC 7517 section 5)."""
        ring = await self._services.keys.ring(domain)
        return json_response(ring.public, headers={"Cache-Control": "public, max-age=60"})

    async def describe(self, request: Request, domain: Domain) -> Response:
        """Both metadata documents (RFC 8414, OpenID Connect Discovery) say the same."""
        document = metadata(domain, self._services.collection_titles)
        return json_response(document, headers={"Cache-Control": "public, max-age=60"})
