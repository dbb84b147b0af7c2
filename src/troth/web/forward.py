"""`/internal/forward`: the edge asks whose session a request for an application is. `/internal/known`: is a
domain served at all, before it gets a certificate or a redirect?

2xx lets it through with what the session grants; any other answer is the browser's. The session is asked of
the database each time; only the signed token is kept for a while.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from troth.access.accounts.people import Accounts
from troth.access.errors import NoSession
from troth.access.sessions import Session, Sessions
from troth.access.tenants import Domain, DomainDirectory
from troth.access.tokens import AccessTokens
from troth.core.clock import Clock
from troth.hosting.streams import Label
from troth.web.answers import NO_STORE, problem_response, problems, request_id
from troth.web.cookies import clear_cookie, read_cookie
from troth.web.login import login_location
from troth.web.origin import SAFE_METHODS, is_public, require_same_origin, safe_return_to


class ForwardServices(Protocol):
    """What this route needs. `public_paths` maps an application to the paths it shows without sign-in."""

    @property
    def directory(self) -> DomainDirectory: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def tokens(self) -> AccessTokens: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def public_paths(self) -> Mapping[str, tuple[str, ...]]: ...


def routes(services: ForwardServices) -> list[Route]:
    """Both routes; the edge serves nothing under /internal to anybody."""

    async def forward(request: Request) -> Response:
        domain = await services.directory.find(request.headers.get("host", ""))
        method = request.headers.get("x-forwarded-method", "GET").upper()
        uri = request.headers.get("x-forwarded-uri", "/")
        vouched = services.clock.now()
        # 1. Whose session is it?
        try:
            session = await services.sessions.open(domain, read_cookie(request), request=request_id(request))
        except NoSession as error:
            return _anonymous(request, services, domain, method, uri, error)
        # 2. A cookie alone changes nothing: the request has to come from the domain's own pages.
        if method not in SAFE_METHODS:
            require_same_origin(request.headers, domain)
        # 3. The application gets a token, never the cookie.
        return Response(status_code=200, headers=await _granted(services, domain, session, vouched))

    async def known(request: Request) -> Response:
        await services.directory.find_for_stranger(request.headers.get("host", ""))
        return Response(status_code=204, headers=NO_STORE)

    return [
        Route("/internal/forward", problems(forward), methods=["GET"]),
        Route("/internal/known", problems(known), methods=["GET"]),
    ]


async def _granted(
    services: ForwardServices, domain: Domain, session: Session, vouched: datetime
) -> dict[str, str]:
    minted = await services.tokens.for_session(domain, session)
    profile = await services.accounts.profile(session.tenant, session.person, session.profile)
    return {
        **_brand(domain),
        "X-Troth-Access-Token": minted.token,
        "X-Troth-Person": quote(profile.name, safe=""),
        "X-Troth-Session": Label(
            str(session.id),
            str(session.person),
            str(session.tenant),
            session.created_at.timestamp(),
            vouched.timestamp(),
        ).write(),
    }


def _anonymous(
    request: Request,
    services: ForwardServices,
    domain: Domain,
    method: str,
    uri: str,
    error: NoSession,
) -> Response:
    if is_public(uri.partition("?")[0], services.public_paths.get(domain.app, ())):
        return Response(status_code=200, headers=_brand(domain))
    if not _is_navigation(request.headers, method):
        return problem_response(error, request)
    # What was typed into a form is lost with its session; coming back to a form's target is of no use.
    back = safe_return_to(uri) if method in SAFE_METHODS else "/"
    response = RedirectResponse(login_location(back), 302, NO_STORE)
    if error.clear:
        clear_cookie(response)
    return response


def _is_navigation(headers: Mapping[str, str], method: str) -> bool:
    """Whether a person is going to a page. Only a browser from before Sec-Fetch-Mode is judged by Accept."""
    mode = headers.get("sec-fetch-mode")
    if mode is not None:
        return mode == "navigate"
    return method in SAFE_METHODS and "text/html" in headers.get("accept", "")


def _brand(domain: Domain) -> dict[str, str]:
    """Header values are ASCII (RFC 9110 section 5.5), names are not: percent-encoded UTF-8."""
    return {
        **NO_STORE,
        "X-Troth-App": domain.app,
        "X-Troth-Tenant": domain.tenant,
        "X-Troth-Domain-Name": quote(domain.branding.name, safe=""),
        "X-Troth-Colour": domain.branding.colour,
    }
