"""`/login/second` and `/login/passkey`: a second factor after the password, or a passkey in place of both."""

from collections.abc import Mapping
from typing import Protocol

import msgspec
import segno
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from troth.access.accounts.devices import Devices
from troth.access.accounts.notices import Notices
from troth.access.accounts.people import Accounts
from troth.access.errors import FactorNotChanged, FactorRefused, NoSession, TooManyTries
from troth.access.factors.apps import AuthenticatorApps, Setup
from troth.access.factors.passkeys import SECOND, SIGN_IN, Passkeys
from troth.access.factors.pending import Pending, PendingSignIns
from troth.access.factors.recovery import RecoveryCodes
from troth.access.factors.second import Origin, SecondFactor
from troth.access.oauth.interactions import Interactions
from troth.access.sessions import Begun, Sessions, token_hash
from troth.access.tenants import Domain, DomainDirectory
from troth.core.names import PENDING_COOKIE
from troth.web.account.device import describe_agent
from troth.web.answers import NO_STORE, request_id
from troth.web.awaited import awaited
from troth.web.cookies import clear_pending, read_cookie, set_cookie, set_device
from troth.web.forms import once, read_form, read_query
from troth.web.language import words_of
from troth.web.login import login_location
from troth.web.notice import tell, tell_of_stranger
from troth.web.origin import require_same_origin, safe_return_to
from troth.web.pages import SCRIPT, Pages, page


class SecondFactorServices(Protocol):
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
    def pending_sign_ins(self) -> PendingSignIns: ...
    @property
    def apps(self) -> AuthenticatorApps: ...
    @property
    def passkeys(self) -> Passkeys: ...
    @property
    def recovery_codes(self) -> RecoveryCodes: ...
    @property
    def interactions(self) -> Interactions: ...
    @property
    def second_factor(self) -> SecondFactor: ...
    @property
    def pages(self) -> Pages: ...


class Fault(msgspec.Struct, frozen=True):
    """What went wrong with a form; `text` is the key of its text."""

    text: str
    status: int
    retry_after: int = 0


def routes(services: SecondFactorServices) -> list[Route]:
    """The routes of both."""
    second = Second(services)
    return [
        Route("/login/second", page(services, second.show), methods=["GET"]),
        Route("/login/second", page(services, second.submit), methods=["POST"]),
        Route("/login/passkey", page(services, second.by_passkey_alone), methods=["POST"]),
    ]


class Second:
    """The handlers."""

    def __init__(self, services: SecondFactorServices) -> None:
        self._services = services

    async def show(self, request: Request, domain: Domain) -> Response:
        """Ask for what is still needed."""
        return_to = safe_return_to(once(read_query(request)).get("return_to", "/"))
        return await self._form(request, domain, return_to)

    async def submit(self, request: Request, domain: Domain) -> Response:
        """Finish the sign-in, or ask again."""
        require_same_origin(request.headers, domain)
        form = once(await read_form(request))
        return_to = safe_return_to(form.get("return_to", "/"))
        way = form.get("way", "")
        try:
            begun = await self._prove(request, domain, way, form)
        except NoSession:
            return _over(return_to)
        except (FactorRefused, FactorNotChanged, TooManyTries) as error:
            return await self._form(request, domain, return_to, fault=fault_of(error, way), form=form)
        if way in ("new_app", "new_passkey"):
            codes = await self._services.recovery_codes.renew(
                domain, begun.session.person, request=request_id(request)
            )
            shown = self._services.pages.render(
                request, domain, "recovery_codes.html", codes=codes, onward=return_to
            )
            await tell(self._services, request, domain, begun.session.person, "factor_added")
            return await self._signed_in(request, shown, domain, begun)
        if way == "recovery":
            await tell(self._services, request, domain, begun.session.person, "recovery_code_used")
        return await self._signed_in(request, _go(return_to), domain, begun)

    async def by_passkey_alone(self, request: Request, domain: Domain) -> Response:
        """A passkey whose device verified its user is two factors at once: no password is asked for."""
        require_same_origin(request.headers, domain)
        form = once(await read_form(request))
        return_to = safe_return_to(form.get("return_to", "/"))
        origin = origin_of(request)
        try:
            proof = await self._services.passkeys.prove(
                domain, SIGN_IN, form.get("answer", ""), request=origin.request
            )
            begun = await self._services.sessions.begin(
                domain,
                proof.person,
                previous=origin.previous,
                request=origin.request,
                amr=proof.amr,
                agent=origin.agent,
                network=origin.network,
            )
        except (FactorRefused, NoSession):
            return _go(f"{login_location(return_to, again=True)}&passkey=refused")
        return await self._signed_in(request, _go(return_to), domain, begun)

    async def _prove(self, request: Request, domain: Domain, way: str, form: Mapping[str, str]) -> Begun:
        token, origin = read_cookie(request, PENDING_COOKIE), origin_of(request)
        second, code, answer = self._services.second_factor, form.get("code", ""), form.get("answer", "")
        match way:
            case "app":
                return await second.by_app(domain, token, code, origin)
            case "recovery":
                return await second.by_recovery_code(domain, token, code, origin)
            case "passkey":
                return await second.by_passkey(domain, token, answer, origin)
            case "new_app":
                return await second.by_new_app(domain, token, form.get("setup", ""), code, origin)
            case "new_passkey":
                return await second.by_new_passkey(domain, token, answer, form.get("name", ""), origin)
            case _:
                raise FactorRefused("Choose a way.", detail="no way")

    async def _signed_in(
        self, request: Request, response: Response, domain: Domain, begun: Begun
    ) -> Response:
        session = begun.session
        profile = await self._services.accounts.profile(session.tenant, session.person, session.profile)
        await tell_of_stranger(self._services, request, domain, session.person, profile.email)
        set_cookie(response, begun.token)
        set_device(response, await self._services.devices.issue(domain, profile.email))
        clear_pending(response)
        return response

    async def _form(
        self,
        request: Request,
        domain: Domain,
        return_to: str,
        *,
        fault: Fault | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Response:
        token = read_cookie(request, PENDING_COOKIE)
        try:
            pending = await self._services.pending_sign_ins.open(domain, token)
        except NoSession:
            return _over(return_to)
        target = await awaited(self._services, domain, return_to)
        context = {
            "return_to": return_to,
            "fault": fault.text if fault else "",
            "way": (form or {}).get("way", ""),
            **(
                await self._to_enrol(request, domain, token, pending, form or {})
                if pending.enrols
                else await self._to_prove(domain, token, pending)
            ),
        }
        response = self._services.pages.render(
            request,
            domain,
            "enrol.html" if pending.enrols else "second.html",
            status=fault.status if fault else 200,
            script=SCRIPT,
            leads_to=target.redirect_uri if target else "",
            **context,
        )
        if fault and fault.retry_after:
            response.headers["Retry-After"] = str(fault.retry_after)
        return response

    async def _to_prove(self, domain: Domain, token: str, pending: Pending) -> dict[str, object]:
        options = await self._services.passkeys.ask(domain, SECOND, token_hash(token))
        return {"pending": pending, "options": options}

    async def _to_enrol(
        self, request: Request, domain: Domain, token: str, pending: Pending, form: Mapping[str, str]
    ) -> dict[str, object]:
        services, person = self._services, pending.person
        profile = await services.accounts.profile(domain.tenant_id, person, pending.profile)
        setup = await services.apps.prepare(domain, person, profile.email, again=form.get("setup", ""))
        options = await services.passkeys.invite(domain, person, profile, token_hash(token))
        return {
            "setup": setup,
            "picture": picture_of(setup),
            "options": options,
            "device": device_name(request),
        }


def origin_of(request: Request) -> Origin:
    """Where a sign-in comes from; the address is the edge's word, never the client's."""
    return Origin(
        request_id(request),
        read_cookie(request),
        request.headers.get("user-agent", ""),
        request.headers.get("x-forwarded-for", ""),
    )


def fault_of(error: FactorRefused | FactorNotChanged | TooManyTries, way: str) -> Fault:
    """What a person is told."""
    if isinstance(error, TooManyTries):
        return Fault("too_many_codes", error.status, error.retry_after)
    if isinstance(error, FactorNotChanged):
        return Fault(f"kept_{error.reason}", error.status)
    if way == "password":
        return Fault("wrong_password", error.status)
    return Fault("wrong_passkey" if "passkey" in way else "wrong_code", error.status)


def picture_of(setup: Setup) -> Markup:
    """The key as a QR code. Part of the page, so that no address holds the secret."""
    code = segno.make(setup.uri, error="m", micro=False)
    return Markup(code.svg_inline(border=4, dark="#000", light="#fff", omitsize=True))  # noqa: S704 (our own drawing)


def device_name(request: Request) -> str:
    """What a new passkey is called unless its person says otherwise."""
    words = words_of(request)
    return describe_agent(request.headers.get("user-agent", ""), words)


def _over(return_to: str) -> Response:
    response = _go(f"{login_location(return_to, again=True)}&over=1")
    clear_pending(response)
    return response


def _go(location: str) -> Response:
    """303: what follows a form is always a GET."""
    return RedirectResponse(location, 303, NO_STORE)
