"""`/oauth/logout`: a client asks that the person be signed out (OpenID Connect RP-Initiated Logout 1.0)."""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from troth.access.errors import InvalidRequest
from troth.access.tenants import Domain
from troth.web.answers import NO_STORE, request_id
from troth.web.cookies import clear_cookie, read_cookie
from troth.web.forms import once, read_form, read_query
from troth.web.oauth.services import OAuthServices
from troth.web.origin import require_same_origin
from troth.web.visitor import session_of

SIGNED_OUT = "/login?signed_out=1"


class LogoutEndpoint:
    """The handlers."""

    def __init__(self, services: OAuthServices) -> None:
        self._services = services

    async def ask(self, request: Request, domain: Domain) -> Response:
        """Sign out at once when the client proves that it belongs to this session; else ask the person."""
        services = self._services
        session = await session_of(request, domain, services.sessions)
        farewell = await services.logouts.read(domain, read_query(request), session)
        if session is None:
            return _go(farewell.location or SIGNED_OUT)
        if farewell.proved:
            return await self._end(request, domain, farewell.location)
        profile = await services.accounts.profile(session.tenant, session.person, session.profile)
        return services.pages.render(
            request,
            domain,
            "logout.html",
            leads_to=farewell.location,
            person=profile.name,
            client=farewell.client,
            pending=await services.logouts.pack(domain, farewell, session),
        )

    async def as_get(self, request: Request, domain: Domain) -> Response:
        """The standard wants POST as well. Another site's form brings no cookie along (SameSite), so the
        browser is sent to the same question by GET."""
        return _go(f"/oauth/logout?{urlencode(await read_form(request))}")

    async def confirm(self, request: Request, domain: Domain) -> Response:
        """The person's answer, given on our own page."""
        require_same_origin(request.headers, domain)
        form = once(await read_form(request))
        session = await session_of(request, domain, self._services.sessions)
        if session is None:
            return _go(SIGNED_OUT)
        if not form.get("pending"):
            raise InvalidRequest("pending is missing")
        location = await self._services.logouts.unpack(domain, form["pending"], session)
        return await self._end(request, domain, location)

    async def _end(self, request: Request, domain: Domain, location: str) -> Response:
        await self._services.sessions.end(domain, read_cookie(request), request=request_id(request))
        response = _go(location or SIGNED_OUT)
        clear_cookie(response)
        return response


def _go(location: str) -> Response:
    return RedirectResponse(location, 303, NO_STORE)
