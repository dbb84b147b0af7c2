"""What the pages of an account share: they are for who is signed in, and lead to one another."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from troth.access.sessions import Session, Sessions
from troth.access.tenants import Domain, DomainDirectory
from troth.web.answers import NO_STORE
from troth.web.login import login_location
from troth.web.origin import SAFE_METHODS, require_same_origin
from troth.web.pages import Pages, page
from troth.web.visitor import session_of


class Section(msgspec.Struct, frozen=True):
    """One entry of the navigation; `title` is the key of its text."""

    title: str
    path: str


SECTIONS = (
    Section("your_sessions", "/account/sessions"),
    Section("security", "/account/security"),
    Section("password", "/account/password"),
    Section("email", "/account/email"),
)
"""In the order in which they are shown."""


class AccountServices(Protocol):
    """What every page of an account needs."""

    @property
    def directory(self) -> DomainDirectory: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def pages(self) -> Pages: ...


AccountHandler = Callable[[Request, Domain, Session], Awaitable[Response]]


def account_page(
    services: AccountServices, handler: AccountHandler
) -> Callable[[Request], Awaitable[Response]]:
    """A route for the person who is signed in; anybody else signs in first. Whatever changes something has to
    come from the domain's own pages."""

    async def answer(request: Request, domain: Domain) -> Response:
        if request.method not in SAFE_METHODS:
            require_same_origin(request.headers, domain)
        session = await session_of(request, domain, services.sessions)
        if session is None:
            return go(login_location(request.url.path if request.method in SAFE_METHODS else "/account"))
        return await handler(request, domain, session)

    return page(services, answer)


def render(
    services: AccountServices,
    request: Request,
    domain: Domain,
    template: str,
    *,
    status: int = 200,
    leads_to: str = "",
    script: str = "",
    **context: object,
) -> Response:
    """A page within the account's layout."""
    return services.pages.render(
        request,
        domain,
        template,
        status=status,
        leads_to=leads_to,
        script=script,
        sections=SECTIONS,
        here=request.url.path,
        **context,
    )


def go(location: str) -> Response:
    """303: what follows a form is always a GET."""
    return RedirectResponse(location, 303, NO_STORE)
