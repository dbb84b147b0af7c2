"""`/login/step-up`: asks the person of a living session again, or for more than before (RFC 9470).

Who is asked for two factors and has one sets another up here, if the tenant lets them. Who cannot, or does
not want to, goes back to the client with that answer.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from troth.access.accounts.devices import Devices
from troth.access.accounts.notices import Notices
from troth.access.accounts.people import Accounts, Profile
from troth.access.accounts.signin import SignIn
from troth.access.errors import FactorNotChanged, FactorRefused, NoSession, SignInRefused, TooManyTries
from troth.access.factors.apps import AuthenticatorApps
from troth.access.factors.overview import Factors, Overview
from troth.access.factors.passkeys import STEP_UP, Passkeys
from troth.access.factors.recovery import RecoveryCodes
from troth.access.factors.second import StepUp
from troth.access.oauth.authorize import AuthorizationRequest
from troth.access.oauth.clients import Clients
from troth.access.oauth.interactions import Interactions
from troth.access.own_sessions import OwnSessions
from troth.access.sessions import ACR_VALUES, Begun, Session, Sessions
from troth.access.tenants import Domain, DomainDirectory
from troth.core.errors import TooMany
from troth.web.answers import NO_STORE, request_id
from troth.web.awaited import awaited, declined_location
from troth.web.cookies import read_cookie, read_device, set_cookie
from troth.web.forms import once, read_form, read_query
from troth.web.login import login_location, step_up_location
from troth.web.notice import tell
from troth.web.origin import require_same_origin, safe_return_to
from troth.web.pages import SCRIPT, Pages, page
from troth.web.second_factor import Fault, device_name, fault_of, picture_of
from troth.web.visitor import session_of

_ENROLLING = ("new_app", "new_passkey")


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
    def notices(self) -> Notices: ...
    @property
    def sign_in(self) -> SignIn: ...
    @property
    def factors(self) -> Factors: ...
    @property
    def passkeys(self) -> Passkeys: ...
    @property
    def apps(self) -> AuthenticatorApps: ...
    @property
    def recovery_codes(self) -> RecoveryCodes: ...
    @property
    def own_sessions(self) -> OwnSessions: ...
    @property
    def step_up(self) -> StepUp: ...
    @property
    def clients(self) -> Clients: ...
    @property
    def interactions(self) -> Interactions: ...
    @property
    def pages(self) -> Pages: ...


class Wanted(msgspec.Struct, frozen=True):
    """Where the browser goes afterwards, and how much has to be proved first; "" is just a fresh proof."""

    return_to: str
    acr: str = ""

    def is_met_by(self, session: Session) -> bool:
        return session.acr >= self.acr

    @property
    def here(self) -> str:
        return step_up_location(self.return_to, self.acr)


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
        """Ask; whoever proved as much already goes on."""
        wanted = _wanted(once(read_query(request)))
        session = await session_of(request, domain, self._services.sessions)
        if session is None:
            return _go(login_location(wanted.return_to))
        if wanted.acr and wanted.is_met_by(session):
            return _go(wanted.return_to)
        return await self._form(request, domain, session, wanted)

    async def submit(self, request: Request, domain: Domain) -> Response:
        """Raise the session, and go where the browser wanted to."""
        require_same_origin(request.headers, domain)
        form = once(await read_form(request))
        wanted = _wanted(form)
        session = await session_of(request, domain, self._services.sessions)
        if session is None:
            return _go(login_location(wanted.return_to))
        way = form.get("way", "")
        if way in _ENROLLING and not self._services.own_sessions.is_fresh(domain, session):
            return _go(wanted.here)
        try:
            begun = await self._prove(request, domain, session, way, form)
        except NoSession:
            return _go(login_location(wanted.return_to, again=True))
        except (FactorRefused, FactorNotChanged, SignInRefused) as error:
            known = error if isinstance(error, FactorNotChanged) else FactorRefused("It does not fit.")
            return await self._form(request, domain, session, wanted, fault_of(known, way), form)
        except TooMany as error:
            fault = fault_of(TooManyTries(error.public, retry_after=error.retry_after), way)
            return await self._form(request, domain, session, wanted, fault, form)
        response = await self._onward(request, domain, begun.session, wanted, way)
        set_cookie(response, begun.token)
        return response

    async def _onward(
        self, request: Request, domain: Domain, session: Session, wanted: Wanted, way: str
    ) -> Response:
        if way in _ENROLLING:
            await tell(self._services, request, domain, session.person, "factor_added")
            codes = await self._services.recovery_codes.renew(
                domain, session.person, request=request_id(request)
            )
            return self._services.pages.render(
                request, domain, "recovery_codes.html", codes=codes, onward=wanted.return_to
            )
        # A password asked for again makes the session fresh; what was wanted may still be more.
        return _go(wanted.return_to if wanted.is_met_by(session) else wanted.here)

    async def _prove(
        self, request: Request, domain: Domain, session: Session, way: str, form: Mapping[str, str]
    ) -> Begun:
        services, token, told = self._services, read_cookie(request), request_id(request)
        code, answer = form.get("code", ""), form.get("answer", "")
        match way:
            case "app":
                profile = await self._profile(session)
                device = await services.devices.read(domain, profile.email, read_device(request))
                return await services.step_up.by_app(
                    domain, token, session, code, device=device, request=told
                )
            case "passkey":
                return await services.step_up.by_passkey(domain, token, session, answer, request=told)
            case "password":
                await self._check_password(request, domain, session, form.get("password", ""))
                return await services.step_up.by_password(domain, token, session, request=told)
            case "new_app":
                return await services.step_up.by_new_app(
                    domain, token, session, form.get("setup", ""), code, request=told
                )
            case "new_passkey":
                return await services.step_up.by_new_passkey(
                    domain, token, session, answer, form.get("name", ""), request=told
                )
            case _:
                raise FactorRefused("Choose a way.", detail="no way")

    async def _check_password(
        self, request: Request, domain: Domain, session: Session, password: str
    ) -> None:
        profile = await self._profile(session)
        person = await self._services.sign_in.check(
            domain,
            profile.email,
            password,
            request=request_id(request),
            address=request.headers.get("x-forwarded-for", ""),
            device=read_device(request),
        )
        if person != session.person:
            raise FactorRefused("It does not fit.", detail="somebody else's password")

    async def _form(
        self,
        request: Request,
        domain: Domain,
        session: Session,
        wanted: Wanted,
        fault: Fault | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Response:
        services = self._services
        own = await services.factors.show(domain, session.person)
        target = await awaited(services, domain, wanted.return_to)
        lacks = not wanted.is_met_by(session) and not own.any
        if lacks and own.policy == "off":
            # Nothing that they could do here would be enough.
            return _go(declined_location(wanted.return_to) if target else "/")
        enrols = lacks and services.own_sessions.is_fresh(domain, session)
        response = services.pages.render(
            request,
            domain,
            "step_up_enrol.html" if enrols else "step_up.html",
            status=fault.status if fault else 200,
            script=SCRIPT,
            leads_to=target.redirect_uri if target else "",
            return_to=wanted.return_to,
            fields={"return_to": wanted.return_to, "acr": wanted.acr},
            more=not wanted.is_met_by(session),
            decline=declined_location(wanted.return_to) if target else "/",
            client=await self._client(domain, target),
            fault=fault.text if fault else "",
            **await (
                self._to_enrol(request, domain, session, form or {})
                if enrols
                else self._to_prove(domain, session, own)
            ),
        )
        if fault and fault.retry_after:
            response.headers["Retry-After"] = str(fault.retry_after)
        return response

    async def _client(self, domain: Domain, target: AuthorizationRequest | None) -> str:
        client = await self._services.clients.find(domain, target.client) if target else None
        return client.name if client else ""

    async def _to_prove(self, domain: Domain, session: Session, own: Overview) -> dict[str, object]:
        profile = await self._profile(session)
        return {
            "own": own,
            "here": any(one.domain == domain.name for one in own.passkeys),
            "options": await self._services.passkeys.ask(domain, STEP_UP, session.id.bytes),
            "person": profile.name,
            "email": profile.email,
        }

    async def _to_enrol(
        self, request: Request, domain: Domain, session: Session, form: Mapping[str, str]
    ) -> dict[str, object]:
        services, profile = self._services, await self._profile(session)
        setup = await services.apps.prepare(
            domain, session.person, profile.email, again=form.get("setup", "")
        )
        return {
            "setup": setup,
            "picture": picture_of(setup),
            "options": await services.passkeys.invite(domain, session.person, profile, session.id.bytes),
            "device": device_name(request),
        }

    async def _profile(self, session: Session) -> Profile:
        return await self._services.accounts.profile(session.tenant, session.person, session.profile)


def _wanted(fields: Mapping[str, str]) -> Wanted:
    acr = fields.get("acr", "")
    return Wanted(safe_return_to(fields.get("return_to", "/")), acr if acr in ACR_VALUES else "")


def _go(location: str) -> Response:
    """303: what follows a form is always a GET."""
    return RedirectResponse(location, 303, NO_STORE)
