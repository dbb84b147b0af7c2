"""The epochs of the keys as a part of the platform: the store has the keys of now, and epochs end when they
should."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from troth.core.clock import Clock, to_wire
from troth.core.db import Database, DatabaseTarget
from troth.core.errors import PlatformError
from troth.core.settings import BackupSettings
from troth.core.state import State
from troth.data.backups.turning import Ring, Turned, drop_outlived, end_older, keep_keys, turn_epoch
from troth.data.epochs import ended, folder_beside, newest_in
from troth.data.keys import ROOT_VERSION
from troth.data.recovery import kept_keys_key, read_recovery_key
from troth.data.roles import OWNER
from troth.data.stores.store import StoreError
from troth.hosting.plan import Action, Duty
from troth.wiring.backup_store import open_part, store_settings

EVERY_SECONDS = 60.0

LIMIT_SECONDS = 3600.0
"""Some hundred thousand tenants' keys are wrapped anew within minutes."""

KEEP = timedelta(hours=1)
"""Between two looks at whether the store has the keys of now; after each backup it is looked at as well."""

LATE = timedelta(hours=6)
"""A store that is away for so long does not have keys that a restore might need."""

_log = logging.getLogger(__name__)


class KeysView(msgspec.Struct, frozen=True, kw_only=True):
    """What `troth status` shows: the epoch in use, since when, when it ends, and when the store was last seen
    to hold the keys of now."""

    epoch: int
    since: str
    ends: str
    kept: str
    closed: int


class KeyEpochs:
    """One thing at a time. `settings` is None where troth.toml has no [backup]: without a store that holds
    their keys, epochs do not turn."""

    def __init__(
        self,
        settings: BackupSettings | None,
        state: State,
        target: Callable[[str], DatabaseTarget],
        clock: Clock,
    ) -> None:
        self._settings, self._state, self._target, self._clock = settings, state, target, clock
        self._one_at_a_time = asyncio.Lock()
        self._since = clock.now()
        self._kept: datetime | None = None
        self._closed = 0

    def follow(self, settings: BackupSettings | None) -> None:
        """How often and how long from now on; the store is the one that it was."""
        self._settings = settings

    # --- for the plan ---------------------------------------------------------------------------------------

    def duties(self) -> tuple[Duty, ...]:
        """None without a store."""
        if self._settings is None:
            return ()
        return (Duty(name="keys", every=EVERY_SECONDS, work=self._work, limit=LIMIT_SECONDS),)

    def actions(self) -> dict[str, Action]:
        """For the command line."""
        return {"keys.epoch": self._turn_now}

    def troubles(self) -> tuple[str, ...]:
        """A sentence for each thing that is wrong."""
        found: list[str] = []
        if self._settings is not None and self._clock.now() - (self._kept or self._since) > LATE:
            found.append("the backup store was not seen to hold the present keys for hours")
        if self._closed:
            found.append(f"the keys of {self._closed} tenants do not open: nothing of theirs can be read")
        return tuple(found)

    async def report(self) -> KeysView | None:
        """For `troth status`; None without a store."""
        if self._settings is None:
            return None
        began = epoch_began(self._folder)
        return KeysView(
            epoch=newest_in(self._folder),
            since=to_wire(began) if began else "",
            ends=to_wire(began + self._length) if began else "",
            kept=to_wire(self._kept) if self._kept else "",
            closed=self._closed,
        )

    # --- the work -------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Have the store hold the keys of now, and drop those that have had their days. Raises StoreError."""
        async with self._one_at_a_time, self._opened() as ring:
            await self._keep(ring)

    async def _work(self) -> str:
        """A store that is away is no failure yet: it is tried again, and a long absence is a trouble."""
        now = self._clock.now()
        if self._one_at_a_time.locked():
            return ""
        turn = is_due(self._folder, now, self._length)
        if not turn and not ended(self._folder) and self._kept is not None and now - self._kept < KEEP:
            return ""
        try:
            async with self._one_at_a_time, self._opened() as ring:
                if turn:
                    return self._note(await turn_epoch(ring))
                if ended(self._folder):
                    return self._note(await end_older(ring))
                await self._keep(ring)
        except StoreError as error:
            _log.warning("the store could not be given the keys: %s", error.public)
        return ""

    async def _turn_now(self, _: dict[str, object]) -> dict[str, object]:
        if self._settings is None:
            raise PlatformError(
                "Epochs turn where there are backups alone.", hint="Write a [backup] table into troth.toml."
            )
        async with self._one_at_a_time, self._opened() as ring:
            turned = await turn_epoch(ring)
            self._note(turned)
            days = self._settings.keep_keys_days
            return {
                "epoch": turned.epoch,
                "tenant_keys": turned.moved,
                "destroyed": list(turned.destroyed),
                "closed": len(turned.lost),
                "last_copy_goes": to_wire(self._clock.now() + timedelta(days=days)),
            }

    async def _keep(self, ring: Ring) -> None:
        assert self._settings is not None, "only with [backup]"
        await keep_keys(ring)
        self._kept = self._clock.now()
        for name in await drop_outlived(ring, self._settings.keep_keys_days):
            _log.info("%s stays for now: the store keeps it", name)

    def _note(self, turned: Turned) -> str:
        self._kept, self._closed = self._clock.now(), len(turned.lost)
        over = f", and {len(turned.destroyed)} ended" if turned.destroyed else ""
        return f"epoch {turned.epoch} of the keys is in use: {turned.moved} tenant keys moved to it{over}"

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[Ring]:
        assert self._settings is not None, "only with [backup]"
        recovery = read_recovery_key(self._state.recovery_key)
        store = await open_part(store_settings(self._settings, self._state), recovery)
        try:
            owner = await Database.open(self._target(OWNER), max_size=1)
            try:
                yield Ring(
                    root_key=self._state.root_key,
                    owner=owner,
                    store=store,
                    key=kept_keys_key(recovery),
                    now=self._clock.now,
                )
            finally:
                await owner.close()
        finally:
            await store.close()

    @property
    def _folder(self) -> Path:
        return folder_beside(self._state.root_key)

    @property
    def _length(self) -> timedelta:
        return timedelta(days=self._settings.key_epoch_days if self._settings is not None else 0)


def epoch_began(folder: Path) -> datetime | None:
    """When the epoch in use began; None while tenant keys are wrapped under the root key by itself."""
    number = newest_in(folder)
    if number == ROOT_VERSION:
        return None
    return datetime.fromtimestamp((folder / f"{number}.key").stat().st_mtime, UTC)


def is_due(folder: Path, now: datetime, length: timedelta) -> bool:
    """Whether the epoch in use has had its days, or there is none yet."""
    began = epoch_began(folder)
    return began is None or now - began >= length
