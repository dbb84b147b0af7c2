"""Where links in messages lead. Following one shows a form; sending the form is what uses the link up."""

from starlette.requests import Request
from starlette.responses import Response

from troth.access.accounts.links import Kind
from troth.access.accounts.people import Profile
from troth.access.errors import LinkRefused, PasswordNotAccepted
from troth.access.tenants import Domain
from troth.core.errors import TooMany
from troth.web.accounts.services import AccountServices, go, language_of, read_own_form, wait
from troth.web.answers import request_id
from troth.web.cookies import set_device
from troth.web.forms import once, read_query


class MailedLinks:
    """The handlers."""

    def __init__(self, services: AccountServices) -> None:
        self._services = services

    async def show_reset(self, request: Request, domain: Domain) -> Response:
        return await self._show(request, domain, "reset")

    async def show_invitation(self, request: Request, domain: Domain) -> Response:
        return await self._show(request, domain, "invitation")

    async def show_registration(self, request: Request, domain: Domain) -> Response:
        return await self._show(request, domain, "registration")

    async def reset(self, request: Request, domain: Domain) -> Response:
        return await self._choose(request, domain, "reset")

    async def accept(self, request: Request, domain: Domain) -> Response:
        return await self._choose(request, domain, "invitation")

    async def register(self, request: Request, domain: Domain) -> Response:
        return await self._choose(request, domain, "registration")

    async def show_verify(self, request: Request, domain: Domain) -> Response:
        """Ask; a program that follows links for somebody confirms nothing."""
        token = once(read_query(request)).get("token", "")
        try:
            link = await self._services.links.find(domain, token, "verification", "email_change")
        except LinkRefused as error:
            return self._refused(request, domain, error)
        return self._services.pages.render(
            request, domain, "confirm_email.html", token=token, email=link.profile.email
        )

    async def verify(self, request: Request, domain: Domain) -> Response:
        """Confirm the address."""
        form = await read_own_form(request, domain)
        try:
            link = await self._services.links.confirm(
                domain, form.get("token", ""), language=language_of(request), request=request_id(request)
            )
        except LinkRefused as error:
            return self._refused(request, domain, error)
        return self._services.pages.render(
            request, domain, "account_said.html", text="email_confirmed", email=link.profile.email
        )

    async def _show(self, request: Request, domain: Domain, kind: Kind) -> Response:
        token = once(read_query(request)).get("token", "")
        try:
            link = await self._services.links.find(domain, token, kind)
        except LinkRefused as error:
            return self._refused(request, domain, error)
        return self._form(request, domain, kind, token, link.profile)

    async def _choose(self, request: Request, domain: Domain, kind: Kind) -> Response:
        form = await read_own_form(request, domain)
        token, password = form.get("token", ""), form.get("password", "")
        try:
            profile = (await self._services.links.find(domain, token, kind)).profile
        except LinkRefused as error:
            return self._refused(request, domain, error)
        try:
            if password != form.get("repeated", ""):
                return self._form(request, domain, kind, token, profile, "not_the_same", status=422)
            await self._use(request, domain, kind, token, password)
        except LinkRefused as error:
            return self._refused(request, domain, error)
        except PasswordNotAccepted as error:
            return self._form(request, domain, kind, token, profile, f"password_{error.reason}", status=422)
        except TooMany as error:
            return wait(self._form(request, domain, kind, token, profile, "busy", status=429), error)
        response = go(f"/login?{'welcome' if kind != 'reset' else 'changed'}=1")
        # Whoever reads the mailbox of the account has proved it: an attacker's guesses delay them no more.
        set_device(response, await self._services.devices.issue(domain, profile.email))
        return response

    async def _use(self, request: Request, domain: Domain, kind: Kind, token: str, password: str) -> None:
        links, trace = self._services.links, request_id(request)
        if kind == "registration":
            await links.register(domain, token, password, request=trace)
        else:
            language = language_of(request)
            await links.set_password(domain, token, password, language=language, request=trace)

    def _form(
        self,
        request: Request,
        domain: Domain,
        kind: Kind,
        token: str,
        profile: Profile,
        fault: str = "",
        status: int = 200,
    ) -> Response:
        return self._services.pages.render(
            request,
            domain,
            "choose_password.html",
            status=status,
            kind=kind,
            token=token,
            email=profile.email,
            faults=[fault] if fault else [],
        )

    def _refused(self, request: Request, domain: Domain, error: LinkRefused) -> Response:
        return self._services.pages.render(
            request, domain, "account_said.html", status=error.status, text="link_refused", email=""
        )
