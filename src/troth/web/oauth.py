"""`/oauth/*` and the metadata of an issuer: the HTTP side of the authorization server."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from troth.access.accounts import Accounts
from troth.access.authorize import AuthorizationRequest, Refused, error_location, read_request
from troth.access.clients import Client, Clients
from troth.access.errors import (
    AccessDenied,
    InsufficientScope,
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    OAuthError,
)
from troth.access.grants import ConsentNeeded, Granted, Grants, SignInNeeded
from troth.access.interactions import Interactions
from troth.access.scopes import OPENID
from troth.access.sessions import Session, Sessions
from troth.access.signing import SigningKeys
from troth.access.tenants import Domain, DomainDirectory
from troth.access.tokens import AccessTokens, read_bearer
from troth.core.clock import Clock
from troth.core.errors import Malformed, TooLarge, Unauthenticated, UnsupportedMedia
from troth.web.answers import NO_STORE, json_response, problems, request_id
from troth.web.catalogue import sentences, words_for
from troth.web.forms import once, read_form, read_query
from troth.web.login import login_location
from troth.web.metadata import metadata
from troth.web.origin import require_same_origin
from troth.web.pages import Pages, page
from troth.web.visitor import session_of

_ANYBODY = {"Access-Control-Allow-Origin": "*"}
"""For endpoints that no cookie opens: applications in browsers of other origins may call them."""

_PREFLIGHT = {
    **_ANYBODY,
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
}


class OAuthServices(Protocol):
    """What these routes need. `collection_titles` says how people call each collection."""

    @property
    def directory(self) -> DomainDirectory: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def clients(self) -> Clients: ...
    @property
    def grants(self) -> Grants: ...
    @property
    def interactions(self) -> Interactions: ...
    @property
    def keys(self) -> SigningKeys: ...
    @property
    def tokens(self) -> AccessTokens: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def pages(self) -> Pages: ...
    @property
    def collection_titles(self) -> Mapping[str, str]: ...


def routes(services: OAuthServices) -> list[Route]:
    """The authorization server's routes."""
    front, back = FrontChannel(services), BackChannel(services)
    return [
        Route("/oauth/authorize", page(services, front.authorize), methods=["GET"]),
        Route("/oauth/authorize", page(services, front.as_get), methods=["POST"]),
        Route("/oauth/consent", page(services, front.consent), methods=["POST"]),
        _open(services, "/oauth/token", back.token, "POST"),
        _open(services, "/oauth/revoke", back.revoke, "POST"),
        _open(services, "/oauth/userinfo", back.userinfo, "GET", "POST"),
        _open(services, "/oauth/jwks", back.jwks, "GET"),
        _open(services, "/.well-known/openid-configuration", back.describe, "GET"),
        _open(services, "/.well-known/oauth-authorization-server", back.describe, "GET"),
    ]


class FrontChannel:
    """What a person's browser goes through."""

    def __init__(self, services: OAuthServices) -> None:
        self._services = services

    async def authorize(self, request: Request, domain: Domain) -> Response:
        """The authorization endpoint (RFC 6749 section 3.1)."""
        try:
            asked, client = await self._request(request, domain)
        except Refused as refusal:
            return _go(refusal.location)
        session = await session_of(request, domain, self._services.sessions)
        try:
            decision = await self._services.grants.decide(domain, asked, client, session)
        except OAuthError as error:
            return _go(error_location(domain, asked.redirect_uri, asked.state, error))
        if isinstance(decision, Granted):
            return _go(decision.location)
        if isinstance(decision, SignInNeeded) or session is None:
            packed = await self._services.interactions.pack(domain, asked)
            return _go(login_location(f"/oauth/authorize?{urlencode({'resume': packed})}", again=True))
        return await self._ask(request, domain, asked, client, session, decision)

    async def as_get(self, request: Request, domain: Domain) -> Response:
        """OpenID Connect Core section 3.1.2.1 wants POST as well. Another site's form brings no cookie along
        (SameSite), so the browser is sent to the same question by GET."""
        pairs = await read_form(request)
        return _go(f"/oauth/authorize?{urlencode(pairs)}")

    async def consent(self, request: Request, domain: Domain) -> Response:
        """The person's answer. Raises CrossSite unless it was given on our own page."""
        require_same_origin(request.headers, domain)
        form = once(await read_form(request))
        session = await session_of(request, domain, self._services.sessions)
        if session is None:
            raise InvalidRequest("your session ended; start again from the application")
        services = self._services
        asked = await services.interactions.unpack(domain, form.get("pending", ""), session=str(session.id))
        client = await self._client(domain, asked)
        try:
            if form.get("decision") != "allow":
                raise AccessDenied("the person did not agree")
            granted = await services.grants.agree(domain, asked, client, session, trace=request_id(request))
        except OAuthError as error:
            return _go(error_location(domain, asked.redirect_uri, asked.state, error))
        return _go(granted.location)

    async def _request(self, request: Request, domain: Domain) -> tuple[AuthorizationRequest, Client]:
        pairs = read_query(request)
        if len(pairs) == 1 and pairs[0][0] == "resume":
            asked = await self._services.interactions.unpack(domain, pairs[0][1])
            return asked, await self._client(domain, asked)
        return await read_request(domain, pairs, self._services.clients, self._services.clock.now())

    async def _client(self, domain: Domain, asked: AuthorizationRequest) -> Client:
        """The client as it is now: it may have been disabled or changed since the request was packed."""
        client = await self._services.clients.find(domain, asked.client)
        if client is None or not client.accepts_redirect(asked.redirect_uri):
            raise InvalidRequest("the application is not known here any more")
        return client

    async def _ask(
        self,
        request: Request,
        domain: Domain,
        asked: AuthorizationRequest,
        client: Client,
        session: Session,
        needed: ConsentNeeded,
    ) -> Response:
        services = self._services
        profile = await services.accounts.profile(session.tenant, session.person, session.profile)
        words = words_for(request.headers.get("accept-language", ""))
        target = urlsplit(asked.redirect_uri)
        return services.pages.render(
            request,
            domain,
            "consent.html",
            leads_to=asked.redirect_uri,
            client=client.name,
            person=profile.name,
            host=target.hostname or f"{target.scheme}:",
            sentences=sentences(needed.scopes, services.collection_titles, words),
            pending=await services.interactions.pack(domain, asked, session=str(session.id)),
        )


class BackChannel:
    """What a client calls by itself. No cookie is looked at."""

    def __init__(self, services: OAuthServices) -> None:
        self._services = services

    async def token(self, request: Request, domain: Domain) -> Response:
        """The token endpoint (RFC 6749 section 3.2)."""
        form = await _client_form(request)
        answer = await self._services.grants.exchange(domain, form, trace=request_id(request))
        return json_response(answer, headers={"Pragma": "no-cache"})

    async def revoke(self, request: Request, domain: Domain) -> Response:
        """Revocation (RFC 7009): 200 whether the token was one or not."""
        form = await _client_form(request)
        await self._services.grants.revoke(domain, form, trace=request_id(request))
        return Response(status_code=200, headers=NO_STORE)

    async def userinfo(self, request: Request, domain: Domain) -> Response:
        """OpenID Connect Core section 5.3, for as long as the grant lives."""
        services = self._services
        try:
            token = read_bearer(request.headers.get("authorization"))
            principal = await services.tokens.verify(domain, token)
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


OpenHandler = Callable[[Request, Domain], Awaitable[Response]]


def _open(services: OAuthServices, path: str, handler: OpenHandler, *methods: str) -> Route:
    """A route that any origin may call, with errors in OAuth's own shape."""

    async def answer(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=_PREFLIGHT)
        domain = await services.directory.find(request.headers.get("host", ""))
        try:
            response = await handler(request, domain)
        except OAuthError as error:
            response = oauth_error(error)
        response.headers.update(_ANYBODY)
        return response

    return Route(path, problems(answer), methods=[*methods, "OPTIONS"])


def oauth_error(error: OAuthError) -> Response:
    """RFC 6749 section 5.2; for tokens RFC 6750 section 3."""
    response = json_response({"error": error.code, "error_description": error.public}, error.status)
    if isinstance(error, InvalidToken | InsufficientScope):
        response.headers["WWW-Authenticate"] = f'Bearer realm="userinfo", error="{error.code}"'
    elif error.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="token"'
    return response


async def _client_form(request: Request) -> dict[str, str]:
    """The form of a public client. Raises OAuthError, also for credentials in a header: it has none."""
    if "authorization" in request.headers:
        raise InvalidClient("this client has no secret; send client_id in the form")
    try:
        return once(await read_form(request))
    except (Malformed, TooLarge, UnsupportedMedia) as error:
        raise InvalidRequest(
            "the form cannot be read, or a field occurs twice", detail=error.public
        ) from None


def _go(location: str) -> Response:
    return RedirectResponse(location, 303, NO_STORE)
