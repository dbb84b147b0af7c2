"""Changing one's own password and address, by who is signed in and knows the password."""

from starlette.requests import Request
from starlette.responses import Response

from troth.access.accounts.letters import Wanted
from troth.access.accounts.people import is_plausible
from troth.access.errors import NoSession, PasswordNotAccepted, WrongPassword
from troth.access.sessions import Session
from troth.access.tenants import Domain
from troth.core.errors import TooMany
from troth.web.account.layout import render
from troth.web.accounts.services import (
    AccountServices,
    address_of,
    go,
    language_of,
    read_own_form,
    wait,
)
from troth.web.answers import request_id
from troth.web.cookies import read_cookie, read_device, set_cookie
from troth.web.login import login_location
from troth.web.visitor import session_of


class OwnAccount:
    """The handlers."""

    def __init__(self, services: AccountServices) -> None:
        self._services = services

    async def show_password(self, request: Request, domain: Domain) -> Response:
        session = await session_of(request, domain, self._services.sessions)
        if session is None:
            return go(login_location("/account/password"))
        return await self._form(request, domain, session, "own_password.html")

    async def change_password(self, request: Request, domain: Domain) -> Response:
        """Every session is over afterwards; this browser goes on with a new one."""
        form = await read_own_form(request, domain)
        session = await session_of(request, domain, self._services.sessions)
        if session is None:
            return go(login_location("/account/password"))
        new = form.get("password", "")
        if new != form.get("repeated", ""):
            return await self._form(request, domain, session, "own_password.html", "not_the_same", status=422)
        try:
            verified = await self._services.links.change_password(
                domain,
                session,
                read_cookie(request),
                form.get("current", ""),
                new,
                language=language_of(request),
                address=address_of(request),
                device=read_device(request),
                request=request_id(request),
            )
            begun = await self._services.sessions.begin(
                domain,
                session.person,
                previous=read_cookie(request),
                request=request_id(request),
                verified=verified,
                amr=session.amr,
                agent=request.headers.get("user-agent", ""),
                network=address_of(request),
            )
        except (WrongPassword, PasswordNotAccepted, TooMany) as error:
            return await self._again(request, domain, session, "own_password.html", error)
        except NoSession:
            return go(login_location("/"))
        response = await self._form(request, domain, begun.session, "own_password.html", notice="changed")
        set_cookie(response, begun.token)
        return response

    async def show_email(self, request: Request, domain: Domain) -> Response:
        session = await session_of(request, domain, self._services.sessions)
        if session is None:
            return go(login_location("/account/email"))
        return await self._form(request, domain, session, "own_email.html")

    async def change_email(self, request: Request, domain: Domain) -> Response:
        """Send a link to the new address; the old one stays until it is used. Without another address, the
        one that there is gets a link to confirm it."""
        form = await read_own_form(request, domain)
        session = await session_of(request, domain, self._services.sessions)
        if session is None:
            return go(login_location("/account/email"))
        profile = await self._services.accounts.profile(session.tenant, session.person, session.profile)
        confirm = form.get("wish") == "confirm"
        email = profile.email if confirm else form.get("email", "").strip()
        if not self._services.mail or not is_plausible(email):
            return await self._form(request, domain, session, "own_email.html", "no_email", status=400)
        try:
            if not confirm:
                await self._services.links.require_password(
                    domain,
                    session,
                    form.get("current", ""),
                    address=address_of(request),
                    device=read_device(request),
                )
            await self._services.letters.order(
                domain,
                "verification" if confirm else "email_change",
                Wanted(email),
                language=language_of(request),
                person=session.person,
                address=address_of(request),
                request=request_id(request),
            )
        except (WrongPassword, TooMany) as error:
            return await self._again(request, domain, session, "own_email.html", error)
        return await self._form(request, domain, session, "own_email.html", notice="sent")

    async def _again(
        self, request: Request, domain: Domain, session: Session, template: str, error: Exception
    ) -> Response:
        match error:
            case WrongPassword():
                return await self._form(request, domain, session, template, "wrong_current", status=403)
            case PasswordNotAccepted(reason=reason):
                return await self._form(request, domain, session, template, f"password_{reason}", status=422)
            case TooMany():
                again = await self._form(request, domain, session, template, "too_many_tries", status=429)
                return wait(again, error)
            case _:
                raise error

    async def _form(
        self,
        request: Request,
        domain: Domain,
        session: Session,
        template: str,
        fault: str = "",
        *,
        notice: str = "",
        status: int = 200,
    ) -> Response:
        profile = await self._services.accounts.profile(session.tenant, session.person, session.profile)
        return render(
            self._services,
            request,
            domain,
            template,
            status=status,
            email=profile.email,
            mail=self._services.mail,
            notice=notice,
            faults=[fault] if fault else [],
        )
