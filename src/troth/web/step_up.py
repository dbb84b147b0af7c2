"""`/login/step-up`: asks the person of a living session again, before something sensitive (RFC 9470)."""

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from troth.access.accounts.devices import Devices
from troth.access.accounts.people import Accounts, Profile
from troth.access.accounts.signin import SignIn
from troth.access.errors import FactorRefused, NoSession, SignInRefused, TooManyTries
from troth.access.factors.overview import Factors
from troth.access.factors.passkeys import STEP_UP, Passkeys
from troth.access.factors.second import StepUp
from troth.access.oauth.interactions import Interactions
from troth.access.sessions import Begun, Session, Sessions
from troth.access.tenants import Domain, DomainDirectory
from troth.core.errors import TooMany
from troth.web.answers import NO_STORE, request_id
from troth.web.awaited import awaited
from troth.web.cookies import read_cookie, read_device, set_cookie
from troth.web.forms import once, read_form, read_query
from troth.web.login import login_location
from troth.web.origin import require_same_origin, safe_return_to
from troth.web.pages import SCRIPT, Pages, page
from troth.web.second_factor import Fault, fault_of
from troth.web.visitor import session_of


class StepUpServices(Protocol):
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
    def sign_in(self) -> SignIn: ...
    @property
    def factors(self) -> Factors: ...
    @property
    def passkeys(self) -> Passkeys: ...
    @property
    def step_up(self) -> StepUp: ...
    @property
    def interactions(self) -> Interactions: ...
    @property
    def pages(self) -> Pages: ...


def routes(services: StepUpServices) -> list[Route]:
    """The page and its form."""
    again = Again(services)
    return [
        Route("/login/step-up", page(services, again.show), methods=["GET"]),
        Route("/login/step-up", page(services, again.submit), methods=["POST"]),
    ]


class Again:
    """The handlers."""

    def __init__(self, services: StepUpServices) -> None:
        self._services = services

    async def show(self, request: Request, domain: Domain) -> Response:
        """Ask."""
        return_to = safe_return_to(once(read_query(request)).get("return_to", "/"))
        session = await session_of(request, domain, self._services.sessions)
        if session is None:
            return _go(login_location(return_to))
        return await self._form(request, domain, session, return_to)

    async def submit(self, request: Request, domain: Domain) -> Response:
        """Raise the session, and go where the browser wanted to."""
        require_same_origin(request.headers, domain)
        form = once(await read_form(request))
        return_to = safe_return_to(form.get("return_to", "/"))
        session = await session_of(request, domain, self._services.sessions)
        if session is None:
            return _go(login_location(return_to))
        way = form.get("way", "")
        try:
            begun = await self._prove(request, domain, session, way, form)
        except NoSession:
            return _go(login_location(return_to, again=True))
        except (FactorRefused, SignInRefused):
            fault = fault_of(FactorRefused("It does not fit."), way)
            return await self._form(request, domain, session, return_to, fault)
        except TooMany as error:
            fault = fault_of(TooManyTries(error.public, retry_after=error.retry_after), way)
            return await self._form(request, domain, session, return_to, fault)
        response = _go(return_to)
        set_cookie(response, begun.token)
        return response

    async def _prove(
        self, request: Request, domain: Domain, session: Session, way: str, form: Mapping[str, str]
    ) -> Begun:
        services, token, told = self._services, read_cookie(request), request_id(request)
        profile = await self._profile(session)
        match way:
            case "app":
                device = await services.devices.read(domain, profile.email, read_device(request))
                return await services.step_up.by_app(
                    domain, token, session, form.get("code", ""), device=device, request=told
                )
            case "passkey":
                return await services.step_up.by_passkey(
                    domain, token, session, form.get("answer", ""), request=told
                )
            case "password":
                person = await services.sign_in.check(
                    domain,
                    profile.email,
                    form.get("password", ""),
                    request=told,
                    address=request.headers.get("x-forwarded-for", ""),
                    device=read_device(request),
                )
                if person != session.person:
                    raise FactorRefused("It does not fit.", detail="somebody else's password")
                return await services.step_up.by_password(domain, token, session, request=told)
            case _:
                raise FactorRefused("Choose a way.", detail="no way")

    async def _form(
        self,
        request: Request,
        domain: Domain,
        session: Session,
        return_to: str,
        fault: Fault | None = None,
    ) -> Response:
        services, profile = self._services, await self._profile(session)
        own = await services.factors.show(domain, session.person)
        target = await awaited(services, domain, return_to)
        response = services.pages.render(
            request,
            domain,
            "step_up.html",
            status=fault.status if fault else 200,
            script=SCRIPT,
            leads_to=target.redirect_uri if target else "",
            return_to=return_to,
            fault=fault.text if fault else "",
            own=own,
            here=any(one.domain == domain.name for one in own.passkeys),
            options=await services.passkeys.ask(domain, STEP_UP, session.id.bytes),
            person=profile.name,
            email=profile.email,
        )
        if fault and fault.retry_after:
            response.headers["Retry-After"] = str(fault.retry_after)
        return response

    async def _profile(self, session: Session) -> Profile:
        return await self._services.accounts.profile(session.tenant, session.person, session.profile)


def step_up_location(return_to: str) -> str:
    """Where a person is asked again, to come back from."""
    return f"/login/step-up?return_to={quote(return_to, safe='/')}"


def _go(location: str) -> Response:
    """303: what follows a form is always a GET."""
    return RedirectResponse(location, 303, NO_STORE)
