"""The keeper's post: what people were promised by a page is sent from here, and from nowhere else.

The relay's password and the right to make links stay in this process; the web instances, which face the
public, have neither.
"""

import asyncio
from collections.abc import Callable

import msgspec

from troth.access.accounts.mail import Mailer, Relay
from troth.access.accounts.outbox import Outbox
from troth.access.accounts.people import Accounts
from troth.access.tenants import DomainDirectory
from troth.core.clock import SystemClock
from troth.core.config import MailSettings
from troth.core.db import Database, DatabaseTarget
from troth.core.errors import Unavailable
from troth.core.state import State
from troth.data.epochs import open_epochs
from troth.data.keys import KeyRing, Sealer
from troth.data.roles import APP, OWNER

EVERY_SECONDS = 1.0
LIMIT_SECONDS = 480.0
"""For one round: twenty messages to a relay that lets us wait each time. Less than the lease of an order."""


def relay_of(settings: MailSettings) -> Relay:
    """The relay as access knows it; where it stands was checked before anything started."""
    return Relay(
        host=settings.host,
        port=settings.port,
        sender=settings.sender,
        tls=settings.tls,
        ca=settings.ca,
        user=settings.user,
        password_file=settings.password_file,
    )


class _Opened(msgspec.Struct, frozen=True):
    outbox: Outbox
    databases: tuple[Database, ...]


class Mailing:
    """Opens its databases at the first round and keeps them: most rounds find nothing to do."""

    def __init__(
        self, settings: MailSettings, state: State, target: Callable[[str], DatabaseTarget], https_port: int
    ) -> None:
        self._settings = settings
        self._state = state
        self._target = target
        self._https_port = https_port
        self._opened: _Opened | None = None
        self._stale = False

    def follow(self, settings: MailSettings) -> None:
        """Settings that were read again; the next round begins anew with them, and with the files that they
        name."""
        self._stale, self._settings = True, settings

    async def work(self) -> str:
        """One round. A relay that is down keeps messages waiting and is said in the log."""
        if self._stale:
            self._stale = False
            await self.close()
        if self._opened is None:
            self._opened = await self._open()
        return await self._opened.outbox.work()

    async def close(self) -> None:
        """End the connections."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await asyncio.gather(*(database.close() for database in opened.databases))

    async def _open(self) -> _Opened:
        owner = await Database.open(self._target(OWNER), max_size=2)
        try:
            app = await Database.open(self._target(APP), max_size=1)
        except Unavailable:
            await owner.close()
            raise
        clock = SystemClock()
        sealer = Sealer(KeyRing(app, open_epochs(self._state.root_key)))
        outbox = Outbox(
            owner,
            Accounts(owner, sealer),
            sealer,
            DomainDirectory(owner, clock, port=self._https_port),
            Mailer(relay_of(self._settings), clock),
            clock,
        )
        return _Opened(outbox, (owner, app))
