"""What the pages of accounts ask for, and what they all do."""

from typing import Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from troth.access.accounts.devices import Devices
from troth.access.accounts.letters import Letters
from troth.access.accounts.links import Links
from troth.access.accounts.people import Accounts
from troth.access.sessions import Sessions
from troth.access.tenants import Domain, DomainDirectory
from troth.core.errors import TooMany
from troth.web.answers import NO_STORE
from troth.web.forms import once, read_form
from troth.web.language import words_of
from troth.web.origin import require_same_origin
from troth.web.pages import Pages


class AccountServices(Protocol):
    """What these routes need. `mail` says whether messages are sent here."""

    @property
    def directory(self) -> DomainDirectory: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def devices(self) -> Devices: ...
    @property
    def letters(self) -> Letters: ...
    @property
    def links(self) -> Links: ...
    @property
    def mail(self) -> bool: ...
    @property
    def pages(self) -> Pages: ...


async def read_own_form(request: Request, domain: Domain) -> dict[str, str]:
    """The fields of a form of ours. Raises CrossSite when another site sent it."""
    require_same_origin(request.headers, domain)
    return once(await read_form(request))


def language_of(request: Request) -> str:
    return words_of(request).language


def address_of(request: Request) -> str:
    """Where the browser is: the edge's word, never the client's."""
    return request.headers.get("x-forwarded-for", "")


def go(location: str) -> Response:
    """303: what follows a form is always a GET."""
    return RedirectResponse(location, 303, NO_STORE)


def wait(response: Response, error: TooMany) -> Response:
    """The form again, with how long to wait."""
    response.headers["Retry-After"] = str(error.retry_after)
    return response
