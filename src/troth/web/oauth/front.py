"""The front channel: what a person's browser goes through on its way to a client."""

from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from troth.access.errors import (
    AccessDenied,
    InvalidRequest,
    OAuthError,
    UnmetAuthentication,
)
from troth.access.oauth.authorize import AuthorizationRequest, Refused, error_location, read_request
from troth.access.oauth.clients import Client
from troth.access.oauth.decision import ConsentNeeded, Granted, SignInNeeded, StepUpNeeded
from troth.access.sessions import Session
from troth.access.tenants import Domain
from troth.web.answers import NO_STORE, request_id
from troth.web.awaited import DECLINED
from troth.web.catalogue import sentences
from troth.web.forms import once, read_form, read_query
from troth.web.language import keep_wish, wish, words_of
from troth.web.login import login_location, step_up_location
from troth.web.oauth.services import OAuthServices
from troth.web.origin import require_same_origin
from troth.web.visitor import session_of


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
        wish(request, asked.ui_locales)
        session = await session_of(request, domain, self._services.sessions)
        try:
            decision = await self._services.decisions.decide(domain, asked, client, session)
            if isinstance(decision, StepUpNeeded) and _declined(request):
                raise UnmetAuthentication("the person did not prove as much")
        except OAuthError as error:
            return _go(error_location(domain, asked.redirect_uri, asked.state, error))
        if isinstance(decision, Granted):
            return _go(decision.location)
        if isinstance(decision, SignInNeeded | StepUpNeeded) or session is None:
            packed = await self._services.interactions.pack(domain, asked)
            resume = f"/oauth/authorize?{urlencode({'resume': packed})}"
            if isinstance(decision, StepUpNeeded):
                return keep_wish(request, _go(step_up_location(resume, decision.acr)))
            return keep_wish(request, _go(login_location(resume, again=True)))
        return keep_wish(request, await self._ask(request, domain, asked, client, session, decision))

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
            granted = await services.decisions.agree(
                domain, asked, client, session, trace=request_id(request)
            )
        except OAuthError as error:
            return _go(error_location(domain, asked.redirect_uri, asked.state, error))
        return _go(granted.location)

    async def _request(self, request: Request, domain: Domain) -> tuple[AuthorizationRequest, Client]:
        pairs = read_query(request)
        if pairs and pairs[0][0] == "resume" and pairs[1:] in ([], [DECLINED]):
            asked = await self._services.interactions.unpack(domain, pairs[0][1])
            return asked, await self._client(domain, asked)
        services = self._services
        return await read_request(
            domain, pairs, services.clients, services.pushed_requests, services.clock.now()
        )

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
        words = words_of(request)
        target = urlsplit(asked.redirect_uri)
        return services.pages.render(
            request,
            domain,
            "consent.html",
            leads_to=asked.redirect_uri,
            client=client.name,
            person=profile.name,
            host=target.hostname or f"{target.scheme}:",
            sentences=sentences(needed.granting.all, services.collection_titles, words),
            pending=await services.interactions.pack(domain, asked, session=str(session.id)),
        )


def _declined(request: Request) -> bool:
    """Whether the browser comes back from a step-up that its person did not make. Asking for it again would
    go on for ever; the client learns of it instead (RFC 9470 section 5)."""
    return DECLINED in read_query(request)


def _go(location: str) -> Response:
    return RedirectResponse(location, 303, NO_STORE)
