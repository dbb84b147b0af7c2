"""Back-channel logout as a duty of the keeper: it alone may read where clients want to be told."""

import asyncio
import ssl
from collections.abc import Callable

import msgspec

from troth.access.oauth.logout_notices import Delivery, LogoutNotices
from troth.access.signing import SigningKeys
from troth.core.clock import SystemClock
from troth.core.config import OutgoingSettings
from troth.core.db import Database, DatabaseTarget
from troth.core.errors import Unavailable
from troth.core.state import State
from troth.data.epochs import open_epochs
from troth.data.keys import KeyRing, Sealer
from troth.data.roles import APP, OWNER

EVERY_SECONDS = 1.0


def delivery_of(settings: OutgoingSettings) -> Delivery:
    """The system's authorities, and one more where troth.toml names it."""
    context = ssl.create_default_context()
    if settings.ca is not None:
        context.load_verify_locations(cafile=settings.ca)
    return Delivery(context, settings.private)


class _Opened(msgspec.Struct, frozen=True):
    notices: LogoutNotices
    databases: tuple[Database, ...]


class LogoutTelling:
    """Opens its databases at the first round and keeps them: most rounds find nothing to do."""

    def __init__(
        self,
        settings: OutgoingSettings,
        state: State,
        target: Callable[[str], DatabaseTarget],
        https_port: int,
    ) -> None:
        self._settings = settings
        self._state = state
        self._target = target
        self._https_port = https_port
        self._opened: _Opened | None = None
        self._stale = False

    def follow(self, settings: OutgoingSettings) -> None:
        """Settings that were read again; the next round begins anew with them, and with the files that they
        name."""
        self._stale, self._settings = True, settings

    async def work(self) -> str:
        """One round."""
        if self._stale:
            self._stale = False
            await self.close()
        if self._opened is None:
            self._opened = await self._open()
        return await self._opened.notices.work()

    async def close(self) -> None:
        """End the connections."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await asyncio.gather(*(database.close() for database in opened.databases))

    async def _open(self) -> _Opened:
        owner = await Database.open(self._target(OWNER), max_size=1)
        try:
            app = await Database.open(self._target(APP), max_size=1)
        except Unavailable:
            await owner.close()
            raise
        clock = SystemClock()
        keys = SigningKeys(app, Sealer(KeyRing(app, open_epochs(self._state.root_key))), clock)
        delivery = delivery_of(self._settings)
        return _Opened(LogoutNotices(owner, keys, delivery, clock, port=self._https_port), (owner, app))
