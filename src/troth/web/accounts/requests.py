"""Asking for a message: a forgotten password, a registration. Nobody learns from it who has an address."""

from starlette.requests import Request
from starlette.responses import Response

from troth.access.accounts.letters import Asked, Wanted
from troth.access.accounts.people import is_plausible
from troth.access.accounts.registration import admits
from troth.access.errors import TooManyTries
from troth.access.tenants import Domain
from troth.core.policy import TenantPolicy
from troth.web.accounts.services import AccountServices, address_of, language_of, read_own_form, wait
from troth.web.answers import request_id

MAX_NAME = 120


class MailRequests:
    """The handlers."""

    def __init__(self, services: AccountServices) -> None:
        self._services = services

    async def show_forgot(self, request: Request, domain: Domain) -> Response:
        """The form, or where to turn when no messages are sent here."""
        if not self._services.mail:
            return self._said(request, domain, "mail_is_off", status=404)
        return self._forgot_form(request, domain)

    async def forgot(self, request: Request, domain: Domain) -> Response:
        """Order the message, whether anybody has the address or not."""
        form = await read_own_form(request, domain)
        if not self._services.mail:
            return self._said(request, domain, "mail_is_off", status=404)
        email = form.get("email", "").strip()
        if not is_plausible(email):
            return self._forgot_form(request, domain, email=email, faults=["no_email"], status=400)
        try:
            await self._order(request, domain, "reset", Wanted(email))
        except TooManyTries as error:
            again = self._forgot_form(request, domain, email=email, faults=["too_many_tries"], status=429)
            return wait(again, error)
        return self._said(request, domain, "reset_sent", email=email)

    async def show_register(self, request: Request, domain: Domain) -> Response:
        """The form where strangers may register, else what to do instead."""
        policy = domain.policy
        if not self._services.mail or policy.registration != "open":
            return self._said(request, domain, "registration_closed", status=404)
        return self._register_form(request, domain, policy)

    async def register(self, request: Request, domain: Domain) -> Response:
        """Order the message, whether the address has an account or not."""
        form = await read_own_form(request, domain)
        policy = domain.policy
        if not self._services.mail or policy.registration != "open":
            return self._said(request, domain, "registration_closed", status=404)
        wanted = Wanted(form.get("email", "").strip(), " ".join(form.get("name", "").split()))
        faults = _faults(wanted, policy)
        if faults:
            return self._register_form(request, domain, policy, wanted, faults, status=400)
        try:
            await self._order(request, domain, "registration", wanted)
        except TooManyTries as error:
            again = self._register_form(request, domain, policy, wanted, ["too_many_tries"], status=429)
            return wait(again, error)
        return self._said(request, domain, "registration_sent", email=wanted.email)

    async def _order(self, request: Request, domain: Domain, kind: Asked, wanted: Wanted) -> None:
        await self._services.letters.order(
            domain,
            kind,
            wanted,
            language=language_of(request),
            address=address_of(request),
            request=request_id(request),
        )

    def _forgot_form(
        self,
        request: Request,
        domain: Domain,
        *,
        email: str = "",
        faults: list[str] | None = None,
        status: int = 200,
    ) -> Response:
        return self._services.pages.render(
            request, domain, "forgot.html", status=status, email=email[:254], faults=faults or []
        )

    def _register_form(
        self,
        request: Request,
        domain: Domain,
        policy: TenantPolicy,
        wanted: Wanted | None = None,
        faults: list[str] | None = None,
        status: int = 200,
    ) -> Response:
        return self._services.pages.render(
            request,
            domain,
            "register.html",
            status=status,
            email=wanted.email[:254] if wanted else "",
            name=wanted.name[:MAX_NAME] if wanted else "",
            email_domains=", ".join(policy.email_domains),
            faults=faults or [],
        )

    def _said(
        self, request: Request, domain: Domain, text: str, *, email: str = "", status: int = 200
    ) -> Response:
        return self._services.pages.render(
            request, domain, "account_said.html", status=status, text=text, email=email[:254]
        )


def _faults(wanted: Wanted, policy: TenantPolicy) -> list[str]:
    """What is wrong with a registration; whether an address may register says nothing about who has one."""
    faults: list[str] = []
    if not wanted.name or len(wanted.name) > MAX_NAME or not wanted.name.isprintable():
        faults.append("no_name")
    if not is_plausible(wanted.email):
        faults.append("no_email")
    elif not admits(policy, wanted.email):
        faults.append("email_not_admitted")
    return faults
