"""`/account/security`: passkeys, the authenticator app and recovery codes of the person who is signed in.

Whatever changes one of them is done with a fresh proof of who it is; with both factors, once there are two.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from troth.access.accounts.devices import Devices
from troth.access.accounts.notices import Notices
from troth.access.accounts.people import Accounts, Profile
from troth.access.errors import FactorNotChanged, FactorRefused
from troth.access.factors.apps import AuthenticatorApps
from troth.access.factors.overview import Factors, Overview
from troth.access.factors.passkeys import Passkeys
from troth.access.factors.recovery import RecoveryCodes
from troth.access.own_sessions import OwnSessions
from troth.access.sessions import TWO_FACTORS, Session
from troth.access.tenants import Domain
from troth.core.errors import Malformed
from troth.web.account.layout import AccountServices, account_page, go, render
from troth.web.answers import request_id
from troth.web.forms import once, read_form, read_query
from troth.web.login import step_up_location
from troth.web.notice import tell
from troth.web.pages import SCRIPT
from troth.web.second_factor import Fault, device_name, fault_of, picture_of

HERE = "/account/security"
APP = f"{HERE}/app"

_DONE = ("added", "removed", "renamed")

Form = dict[str, str]
Handler = Callable[[Request, Domain, Session], Awaitable[Response]]


class SecurityServices(AccountServices, Protocol):
    """What these pages need besides."""

    @property
    def accounts(self) -> Accounts: ...
    @property
    def devices(self) -> Devices: ...
    @property
    def notices(self) -> Notices: ...
    @property
    def own_sessions(self) -> OwnSessions: ...
    @property
    def factors(self) -> Factors: ...
    @property
    def apps(self) -> AuthenticatorApps: ...
    @property
    def passkeys(self) -> Passkeys: ...
    @property
    def recovery_codes(self) -> RecoveryCodes: ...


def routes(services: SecurityServices) -> list[Route]:
    """The routes of these pages and their forms."""
    pages = SecurityPages(services)

    def form(path: str, handler: Handler) -> Route:
        return Route(path, account_page(services, pages.proved(handler)), methods=["POST"])

    return [
        Route(HERE, account_page(services, pages.show), methods=["GET"]),
        Route(APP, account_page(services, pages.proved(pages.show_app)), methods=["GET"]),
        form(APP, pages.add_app),
        form(f"{APP}/remove", pages.remove_app),
        form(f"{HERE}/passkeys", pages.add_passkey),
        form(f"{HERE}/passkeys/rename", pages.rename_passkey),
        form(f"{HERE}/passkeys/remove", pages.remove_passkey),
        form(f"{HERE}/recovery-codes", pages.renew_codes),
    ]


class SecurityPages:
    """The handlers."""

    def __init__(self, services: SecurityServices) -> None:
        self._services = services

    def proved(self, handler: Handler) -> Handler:
        """The handler, for who proved lately who they are; anybody else is asked again first."""

        async def answer(request: Request, domain: Domain, session: Session) -> Response:
            own = await self._services.factors.show(domain, session.person)
            enough = session.acr == TWO_FACTORS or not own.any
            if not enough or not self._services.own_sessions.is_fresh(domain, session):
                return go(step_up_location(APP if request.url.path == APP else HERE))
            return await handler(request, domain, session)

        return answer

    async def show(self, request: Request, domain: Domain, session: Session) -> Response:
        """Everything that there is."""
        return await self._page(request, domain, session)

    async def show_app(self, request: Request, domain: Domain, session: Session) -> Response:
        """A key for an authenticator app."""
        return await self._app_page(request, domain, session)

    async def add_app(self, request: Request, domain: Domain, session: Session) -> Response:
        """Keep the key once a code shows that the app has it."""
        form, had = await self._form(request), await self._own(domain, session)
        setup, code = form.get("setup", ""), form.get("code", "")
        try:
            await self._allowed(had)
            await self._services.apps.confirm(
                domain, session.person, setup, code, request=request_id(request)
            )
        except FactorRefused as error:
            return await self._app_page(request, domain, session, setup, fault_of(error, "new_app"))
        except FactorNotChanged as error:
            return await self._page(request, domain, session, fault_of(error, "new_app"))
        return await self._added(request, domain, session, had)

    async def remove_app(self, request: Request, domain: Domain, session: Session) -> Response:
        """Forget the key."""
        return await self._remove(request, domain, session, None)

    async def add_passkey(self, request: Request, domain: Domain, session: Session) -> Response:
        """Keep a new passkey."""
        form, had = await self._form(request), await self._own(domain, session)
        try:
            await self._allowed(had)
            await self._services.passkeys.add(
                domain,
                session.person,
                session.id.bytes,
                form.get("answer", ""),
                form.get("name", ""),
                request=request_id(request),
            )
        except (FactorRefused, FactorNotChanged) as error:
            return await self._page(request, domain, session, fault_of(error, "new_passkey"))
        return await self._added(request, domain, session, had)

    async def rename_passkey(self, request: Request, domain: Domain, session: Session) -> Response:
        """Another name for it."""
        form = await self._form(request)
        try:
            await self._services.factors.rename(domain, session.person, _id(form), form.get("name", ""))
        except FactorNotChanged as error:
            return await self._page(request, domain, session, fault_of(error, ""))
        return go(f"{HERE}?done=renamed")

    async def remove_passkey(self, request: Request, domain: Domain, session: Session) -> Response:
        """Lost, or replaced."""
        return await self._remove(request, domain, session, _id(await self._form(request)))

    async def renew_codes(self, request: Request, domain: Domain, session: Session) -> Response:
        """New recovery codes, shown this once."""
        if not (await self._own(domain, session)).any:
            return go(HERE)
        return await self._show_codes(request, domain, session)

    async def _remove(
        self, request: Request, domain: Domain, session: Session, passkey: UUID | None
    ) -> Response:
        try:
            await self._services.factors.remove(domain, session.person, passkey, request=request_id(request))
        except FactorNotChanged as error:
            return await self._page(request, domain, session, fault_of(error, ""))
        await tell(self._services, request, domain, session.person, "factor_removed")
        return go(f"{HERE}?done=removed")

    async def _allowed(self, had: Overview) -> None:
        if had.policy == "off":
            raise FactorNotChanged("unknown")

    async def _added(self, request: Request, domain: Domain, session: Session, had: Overview) -> Response:
        """The first factor comes with codes for when it is lost."""
        await tell(self._services, request, domain, session.person, "factor_added")
        if had.codes:
            return go(f"{HERE}?done=added")
        return await self._show_codes(request, domain, session)

    async def _show_codes(self, request: Request, domain: Domain, session: Session) -> Response:
        codes = await self._services.recovery_codes.renew(domain, session.person, request=request_id(request))
        return self._services.pages.render(request, domain, "recovery_codes.html", codes=codes, onward=HERE)

    async def _page(
        self, request: Request, domain: Domain, session: Session, fault: Fault | None = None
    ) -> Response:
        services, person = self._services, session.person
        own, profile = await self._own(domain, session), await self._profile(session)
        known = tuple(bytes.fromhex(one.credential) for one in own.passkeys if one.domain == domain.name)
        done = once(read_query(request)).get("done", "")
        return render(
            services,
            request,
            domain,
            "account_security.html",
            status=fault.status if fault else 200,
            script=SCRIPT,
            fault=fault.text if fault else "",
            done=done if done in _DONE and not fault else "",
            own=own,
            options=await services.passkeys.invite(domain, person, profile, session.id.bytes, known),
            device=device_name(request),
            person=profile.name,
        )

    async def _app_page(
        self,
        request: Request,
        domain: Domain,
        session: Session,
        again: str = "",
        fault: Fault | None = None,
    ) -> Response:
        profile = await self._profile(session)
        setup = await self._services.apps.prepare(domain, session.person, profile.email, again=again)
        return render(
            self._services,
            request,
            domain,
            "account_app.html",
            status=fault.status if fault else 200,
            fault=fault.text if fault else "",
            setup=setup,
            picture=picture_of(setup),
        )

    async def _form(self, request: Request) -> Form:
        return once(await read_form(request))

    async def _own(self, domain: Domain, session: Session) -> Overview:
        return await self._services.factors.show(domain, session.person)

    async def _profile(self, session: Session) -> Profile:
        return await self._services.accounts.profile(session.tenant, session.person, session.profile)


def _id(form: Form) -> UUID:
    try:
        return UUID(form.get("id", ""))
    except ValueError:
        raise Malformed("The form names no passkey.") from None
