"""`/login` and `/logout`: forms that work without a script."""

from typing import Protocol
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from troth.access.accounts.devices import Devices
from troth.access.accounts.notices import Notices
from troth.access.accounts.people import Accounts
from troth.access.accounts.signin import SignIn
from troth.access.errors import NoSession, SignInRefused, TooManyTries
from troth.access.factors.passkeys import SIGN_IN, Passkeys
from troth.access.factors.pending import FactorNeeded
from troth.access.oauth.clients import Clients
from troth.access.oauth.interactions import Interactions
from troth.access.sessions import Sessions
from troth.access.tenants import Domain, DomainDirectory
from troth.core.errors import TooMany
from troth.web.answers import NO_STORE, request_id
from troth.web.awaited import awaited
from troth.web.cookies import clear_cookie, read_cookie, read_device, set_cookie, set_device, set_pending
from troth.web.forms import once, read_form, read_query
from troth.web.notice import tell_of_stranger
from troth.web.origin import require_same_origin, safe_return_to
from troth.web.pages import SCRIPT, Pages, page
from troth.web.visitor import session_of

_CAME_BACK = {"over": "pending_over", "passkey": "wrong_passkey"}
"""Why a browser is sent back here, by the name of the query's field, and what is said of it."""

NOTICES = ("signed_out", "changed", "welcome")
"""What a page may have been left with, see the template."""


class LoginServices(Protocol):
    """What these routes need."""

    @property
    def directory(self) -> DomainDirectory: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def devices(self) -> Devices: ...
    @property
    def notices(self) -> Notices: ...
    @property
    def sign_in(self) -> SignIn: ...
    @property
    def passkeys(self) -> Passkeys: ...
    @property
    def mail(self) -> bool: ...
    @property
    def clients(self) -> Clients: ...
    @property
    def interactions(self) -> Interactions: ...
    @property
    def pages(self) -> Pages: ...


def routes(services: LoginServices) -> list[Route]:
    """The sign-in and sign-out routes."""
    login = Login(services)
    return [
        Route("/login", page(services, login.show), methods=["GET"]),
        Route("/login", page(services, login.submit), methods=["POST"]),
        Route("/logout", page(services, login.ask_to_leave), methods=["GET"]),
        Route("/logout", page(services, login.leave), methods=["POST"]),
    ]


class Login:
    """The handlers."""

    def __init__(self, services: LoginServices) -> None:
        self._services = services

    async def show(self, request: Request, domain: Domain) -> Response:
        """The form; a browser that is signed in goes on, unless it is asked to sign in again."""
        query = once(read_query(request))
        return_to = safe_return_to(query.get("return_to", "/"))
        if "again" not in query and await session_of(request, domain, self._services.sessions) is not None:
            return _go(return_to)
        faults = [text for name, text in _CAME_BACK.items() if name in query]
        return await self._form(
            request,
            domain,
            return_to,
            notice=next((one for one in NOTICES if one in query), ""),
            faults=faults,
        )

    async def submit(self, request: Request, domain: Domain) -> Response:
        """Check who it is, begin a session, go where the browser wanted to."""
        # Login CSRF: another site must not be able to sign a browser in to somebody else's account.
        require_same_origin(request.headers, domain)
        form = once(await read_form(request))
        return_to = safe_return_to(form.get("return_to", "/"))
        email, password = form.get("email", ""), form.get("password", "")
        missing = [f"missing_{name}" for name in ("email", "password") if not form.get(name, "").strip()]
        if missing:
            return await self._form(request, domain, return_to, email=email, faults=missing, status=400)
        try:
            begun = await self._services.sign_in.sign_in(
                domain,
                email,
                password,
                previous=read_cookie(request),
                request=request_id(request),
                address=request.headers.get("x-forwarded-for", ""),  # the edge's word, never the client's
                agent=request.headers.get("user-agent", ""),
                device=read_device(request),
            )
        except (SignInRefused, NoSession):
            return await self._form(request, domain, return_to, email=email, faults=["wrong"], status=401)
        except TooMany as error:
            fault = "too_many_tries" if isinstance(error, TooManyTries) else "busy"
            response = await self._form(request, domain, return_to, email=email, faults=[fault], status=429)
            response.headers["Retry-After"] = str(error.retry_after)
            return response
        if isinstance(begun, FactorNeeded):
            response = _go(second_location(return_to))
            set_pending(response, begun.token)
            return response
        await tell_of_stranger(self._services, request, domain, begun.session.person, email)
        response = _go(return_to)
        set_cookie(response, begun.token)
        set_device(response, await self._services.devices.issue(domain, email))
        return response

    async def ask_to_leave(self, request: Request, domain: Domain) -> Response:
        """A link must not sign anybody out, so it only asks."""
        session = await session_of(request, domain, self._services.sessions)
        if session is None:
            return _go("/login?signed_out=1")
        services = self._services
        profile = await services.accounts.profile(session.tenant, session.person, session.profile)
        return services.pages.render(
            request, domain, "logout.html", person=profile.name, client="", pending=""
        )

    async def leave(self, request: Request, domain: Domain) -> Response:
        """End the session and every token under it."""
        require_same_origin(request.headers, domain)
        token = read_cookie(request)
        if token:
            await self._services.sessions.end(domain, token, request=request_id(request))
        response = _go("/login?signed_out=1")
        clear_cookie(response)
        return response

    async def _form(
        self,
        request: Request,
        domain: Domain,
        return_to: str,
        *,
        email: str = "",
        notice: str = "",
        faults: list[str] | None = None,
        status: int = 200,
    ) -> Response:
        pending = await awaited(self._services, domain, return_to)
        client = await self._services.clients.find(domain, pending.client) if pending else None
        return self._services.pages.render(
            request,
            domain,
            "login.html",
            status=status,
            script=SCRIPT,
            options=await self._services.passkeys.ask(domain, SIGN_IN),
            leads_to=pending.redirect_uri if pending else "",
            return_to=return_to,
            email=email[:254] or (pending.login_hint if pending else ""),
            notice=notice,
            faults=faults or [],
            client=client.name if client else "",
            **self._ways_in(domain),
        )

    def _ways_in(self, domain: Domain) -> dict[str, bool]:
        """Whether there is a way to a new password and to an account of one's own."""
        if not self._services.mail:
            return {"forgot": False, "register": False}
        return {"forgot": True, "register": domain.policy.registration == "open"}


def login_location(return_to: str, *, again: bool = False) -> str:
    """Where to sign in and come back from; `again` even with a living session."""
    return f"/login?return_to={quote(return_to, safe='/')}{'&again=1' if again else ''}"


def second_location(return_to: str) -> str:
    """Where the second factor is asked for."""
    return f"/login/second?return_to={quote(return_to, safe='/')}"


def step_up_location(return_to: str, acr: str = "") -> str:
    """Where a person who is signed in is asked again, or proves more up to `acr`, and comes back from
    (RFC 9470)."""
    wanted = f"&acr={quote(acr, safe=':')}" if acr else ""
    return f"/login/step-up?return_to={quote(return_to, safe='/')}{wanted}"


def _go(location: str) -> Response:
    """303: what follows a form is always a GET."""
    return RedirectResponse(location, 303, NO_STORE)
