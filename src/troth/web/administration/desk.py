"""What every handler of administration begins and ends with: who asks, a strict body, an answer's tag."""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from uuid import UUID

import msgspec

from troth.access.accounts.people import Accounts
from troth.access.administered_clients import AdministeredClients
from troth.access.administered_domains import AdministeredDomains
from troth.access.administered_settings import AdministeredSettings
from troth.access.administration import Administration
from troth.access.administrator import Administrator
from troth.access.explain import Denials
from troth.access.sessions import Sessions
from troth.access.tenants import DomainDirectory
from troth.core.db import Database
from troth.core.errors import Malformed, Unprocessable
from troth.web.api import Answer, Authenticator, authenticate
from troth.web.call import JSON, Call
from troth.web.problem import read_request_id

T = TypeVar("T")

_PLACE = re.compile(r" - at `\$?(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


class AdministrationServices(Protocol):
    """What these routes need."""

    @property
    def database(self) -> Database: ...
    @property
    def directory(self) -> DomainDirectory: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def administration(self) -> Administration: ...
    @property
    def administered_clients(self) -> AdministeredClients: ...
    @property
    def administered_domains(self) -> AdministeredDomains: ...
    @property
    def administered_settings(self) -> AdministeredSettings: ...
    @property
    def authenticator(self) -> Authenticator: ...
    @property
    def denials(self) -> Denials: ...
    @property
    def collection_titles(self) -> Mapping[str, str]: ...


class Desk:
    """The services with what all handlers do."""

    def __init__(self, services: AdministrationServices) -> None:
        self.administration = services.administration
        self.clients = services.administered_clients
        self.domains = services.administered_domains
        self.settings = services.administered_settings
        self.directory = services.directory
        self.collections = services.collection_titles
        self._authenticator = services.authenticator

    async def administrator(self, call: Call) -> Administrator:
        """Whoever asks. Whether they may is for the call of `administration` to find."""
        principal = await authenticate(call, self._authenticator)
        return Administrator(
            domain=call.domain,
            tenant=principal.tenant,
            person=principal.person,
            session=principal.session,
            scopes=principal.scopes,
            request=read_request_id(call.headers.get(b"x-request-id")),
        )

    async def language(self, by: Administrator) -> str:
        """In which people of the tenant are written to when nobody says."""
        return (await self.directory.find(by.domain)).policy.language or "en"


async def read_body(call: Call, kind: type[T]) -> T:
    """The body as a `kind`, which forbids unknown members. Raises Unprocessable, saying what is where."""
    content = await call.content(JSON)
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        said = str(error)
        place = _PLACE.search(said)
        fault = pointer(place["path"]) if place else "", _PLACE.sub("", said)
        raise Unprocessable("The content does not fit its schema.", errors=(fault,)) from None


def pointer(path: str) -> str:
    """A JSON pointer (RFC 6901) for msgspec's way to name a place, `.roles[0]`."""
    return "".join(f"/{name or index}" for name, index in _STEP.findall(path))


def answer(value: object, *, tag: str = "", status: int = 200) -> Answer:
    """JSON with its entity tag."""
    headers = [(b"etag", f'"{tag}"'.encode())] if tag else []
    return Answer(status, msgspec.json.encode(value), headers)


def page_of(items: Sequence[T], limit: int) -> tuple[Sequence[T], bool]:
    """What is shown of one more than was asked for, and whether there is more."""
    return items[:limit], len(items) > limit


def listing(items: Iterable[Any], next_cursor: str | None) -> Answer:
    """One page."""
    return answer({"items": list(items), "next": next_cursor})


def write_text_cursor(last: str) -> str:
    """The cursor of the page that follows this name."""
    return base64.urlsafe_b64encode(last.encode()).decode()


def read_text_cursor(text: str) -> str:
    """A cursor is only a position. Raises Malformed."""
    try:
        last = base64.b64decode(text, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        last = ""
    if not last.isprintable() or not 0 < len(last) <= 253:
        raise Malformed("This cursor is not one that a list gave out.")
    return last


def id_text(identifier: UUID | None) -> str | None:
    return None if identifier is None else str(identifier)
