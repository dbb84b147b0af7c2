"""What a person is told by mail of what a browser just did, in that browser's language."""

from typing import Protocol
from uuid import UUID

from starlette.requests import Request

from troth.access.accounts.devices import Devices
from troth.access.accounts.notices import Happened, Notices
from troth.access.tenants import Domain
from troth.web.cookies import read_device
from troth.web.language import words_of


class NoticeServices(Protocol):
    """What this needs."""

    @property
    def notices(self) -> Notices: ...
    @property
    def devices(self) -> Devices: ...


async def tell(
    services: NoticeServices, request: Request, domain: Domain, person: UUID, happened: Happened
) -> None:
    """Something happened to the account of this person."""
    words = words_of(request)
    await services.notices.tell(domain, person, happened, language=words.language)


async def tell_of_stranger(
    services: NoticeServices, request: Request, domain: Domain, person: UUID, email: str
) -> None:
    """This browser signed in; if it is not known to have done so before, its person hears of it."""
    if await services.devices.read(domain, email, read_device(request)) is None:
        await tell(services, request, domain, person, "new_device")
