"""`/device`: a person decides about a device that shows them a code (RFC 8628 section 3.3).

The code is always compared and confirmed on a page of its own, also when it came in the link: whoever is
lured here by somebody else's link is told so (sections 3.3.1 and 5.4).
"""

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from troth.access.oauth.device_codes import DeviceWish, read_user_code, show_user_code
from troth.access.sessions import Session
from troth.access.tenants import Domain
from troth.web.answers import NO_STORE, request_id
from troth.web.catalogue import sentences
from troth.web.forms import once, read_form, read_query
from troth.web.language import words_of
from troth.web.login import login_location
from troth.web.oauth.services import OAuthServices
from troth.web.origin import require_same_origin
from troth.web.visitor import session_of


class DevicePages:
    """The form for the code, the question, and the answer."""

    def __init__(self, services: OAuthServices) -> None:
        self._services = services

    async def show(self, request: Request, domain: Domain) -> Response:
        """The form, filled in when the code came along; whoever is not signed in does that first."""
        typed = once(read_query(request)).get("user_code", "")[:64]
        if await self._session(request, domain) is None:
            return _sign_in_first(typed)
        return self._form(request, domain, typed)

    async def look(self, request: Request, domain: Domain) -> Response:
        """What the device of this code would like. Raises CrossSite unless it was typed on our own page."""
        require_same_origin(request.headers, domain)
        typed = once(await read_form(request)).get("user_code", "")[:64]
        session = await self._session(request, domain)
        if session is None:
            return _sign_in_first(typed)
        wish = await self._find(request, domain, session, typed)
        if wish is None:
            return self._form(request, domain, typed, "device_unknown", status=404)
        if not wish.scopes:
            return self._form(request, domain, typed, "device_nothing", status=403)
        return await self._ask(request, domain, session, wish)

    async def decide(self, request: Request, domain: Domain) -> Response:
        """The person's answer. Raises CrossSite unless it was given on our own page."""
        require_same_origin(request.headers, domain)
        form = once(await read_form(request))
        session = await self._session(request, domain)
        if session is None:
            return _sign_in_first(form.get("user_code", "")[:64])
        wish = await self._find(request, domain, session, form.get("user_code", ""))
        allow = form.get("decision") == "allow"
        if wish is None or not await self._services.device_codes.decide(
            domain, session.id, wish, allow=allow, trace=request_id(request)
        ):
            return self._form(request, domain, "", "device_late", status=409)
        name = "device_allowed" if allow else "device_denied"
        return self._services.pages.render(
            request, domain, "device_done.html", title=f"{name}_title", text=name
        )

    async def _session(self, request: Request, domain: Domain) -> Session | None:
        return await session_of(request, domain, self._services.sessions)

    async def _find(
        self, request: Request, domain: Domain, session: Session, typed: str
    ) -> DeviceWish | None:
        return await self._services.device_codes.find(
            domain,
            session,
            typed,
            address=request.headers.get("x-forwarded-for", ""),  # the edge's word, never the client's
            trace=request_id(request),
        )

    async def _ask(self, request: Request, domain: Domain, session: Session, wish: DeviceWish) -> Response:
        services = self._services
        profile = await services.accounts.profile(session.tenant, session.person, session.profile)
        words = words_of(request)
        return services.pages.render(
            request,
            domain,
            "device_consent.html",
            client=wish.client_name,
            person=profile.name,
            user_code=show_user_code(wish.user_code),
            sentences=sentences(wish.scopes, services.collection_titles, words),
        )

    def _form(
        self, request: Request, domain: Domain, typed: str, fault: str = "", *, status: int = 200
    ) -> Response:
        code = read_user_code(typed)
        return self._services.pages.render(
            request,
            domain,
            "device.html",
            status=status,
            user_code=show_user_code(code) if code else "",
            fault=fault,
        )


def _sign_in_first(typed: str) -> Response:
    code = read_user_code(typed)
    back = f"/device?user_code={quote(show_user_code(code))}" if code else "/device"
    return RedirectResponse(login_location(back), 303, NO_STORE)
