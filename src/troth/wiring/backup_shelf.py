"""The backup store while the platform runs: opened at first use, looked through now and then."""

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager

import msgspec

from troth.core.secret import Secret, write_public
from troth.core.settings import BackupSettings
from troth.core.state import State
from troth.data.backups.manifest import WAL, Catalogue
from troth.data.backups.planning import NotRestorable, choose_log
from troth.data.backups.schedule import newest_chain
from troth.data.backups.vault import Inventory, Vault
from troth.data.recovery import backup_key, read_recovery_key
from troth.data.stores.store import Store, StoreError
from troth.wiring.backup_bounds import Bounds
from troth.wiring.backup_store import open_part, store_settings

INVENTORY_SECONDS = 600.0
"""Between two looks at what lies in the store."""

SWEEP_SECONDS = 86_400.0
"""Between two looks for what uploads that were cut short have left."""

_MOST = 1000


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered from one start to the next: the backups that were kept, and those lost ones for
    which a full backup has been taken since."""

    kept: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


class Shelf:
    """What lies in the store. `lost` are backups that were made and are gone from it or damaged there, as
    long as no full backup was taken since; `torn` says that some of the log behind the newest backup is
    missing; `problem` says why the store could not be used the last time, and is empty once it could."""

    def __init__(self, settings: BackupSettings, state: State, bounds: Bounds) -> None:
        self.lost: tuple[str, ...] = ()
        self.torn = False
        self.problem = ""
        self._settings, self._state, self._bounds = settings, state, bounds
        self._store: Store | None = None
        self._vault: Vault | None = None
        self._opening = asyncio.Lock()
        self._tried = -bounds.reopen_seconds
        self._swept = time.monotonic()
        self._inventory: Inventory | None = None
        self._looked = 0.0

    @property
    def place(self) -> str:
        """Where the store is, for a person."""
        return self._vault.place if self._vault is not None else "not reached yet"

    @property
    def catalogue(self) -> Catalogue:
        """As it was seen last."""
        return self._inventory.catalogue if self._inventory is not None else Catalogue()

    async def vault(self) -> Vault:
        """The store, opened at first use. Raises StoreError; then it is tried again some seconds later."""
        async with self._opening:
            if self._vault is None:
                if time.monotonic() - self._tried < self._bounds.reopen_seconds:
                    raise StoreError(self.problem or "The backup store was not reached yet.")
                self._tried = time.monotonic()
                with self._minding():
                    self._store = await self._open()
                self._vault = Vault(self._store, backup_key(self._recovery()))
        return self._vault

    async def inventory(self, *, fresh: bool = False) -> Inventory:
        """What lies in the store, as it was seen some minutes ago or less. Raises StoreError."""
        if fresh or self._inventory is None or time.monotonic() - self._looked > INVENTORY_SECONDS:
            vault = await self.vault()
            with self._minding():
                self._inventory = await vault.inventory()
                self.torn = await _is_torn(vault, self._inventory)
            self._looked = time.monotonic()
            memory = self._remembered()
            present = {one.id for one in self._inventory.catalogue.backups}
            gone = set(memory.kept) - present
            self.lost = tuple(sorted((gone | set(self._inventory.damaged)) - set(memory.replaced)))
        return self._inventory

    async def sweep(self) -> None:
        """Once a day, have the store give up what uploads that were cut short have left in it: it does so
        when it is opened. Raises StoreError."""
        if time.monotonic() - self._swept > SWEEP_SECONDS:
            await (await self._open()).close()
            self._swept = time.monotonic()

    def remember(self, catalogue: Catalogue, *, full: bool) -> None:
        """A backup was made: from now on each of these is missed when it is not there. A `full` one takes the
        place of all that were lost before."""
        before = self._remembered()
        replaced = {*before.replaced, *self.lost} if full else set(before.replaced)
        missed = () if full else self.lost
        memory = Memory(
            kept=(*(one.id for one in catalogue.backups), *missed), replaced=tuple(sorted(replaced))[-_MOST:]
        )
        write_public(self._state.backups, msgspec.json.encode(memory))

    def ruins(self) -> tuple[str, ...]:
        """Damaged backups for which a full one was taken some time ago, and which are still damaged: a store
        that was mistaken once has had its second chance."""
        damaged = self._inventory.damaged if self._inventory is not None else ()
        return tuple(one for one in damaged if one in self._remembered().replaced)

    async def close(self) -> None:
        """Give the store back."""
        if self._store is not None:
            await self._store.close()

    async def _open(self) -> Store:
        settings = store_settings(self._settings, self._state, self._bounds.patience)
        return await open_part(settings, self._recovery())

    def _recovery(self) -> Secret:
        return read_recovery_key(self._state.recovery_key)

    @contextmanager
    def _minding(self) -> Generator[None]:
        """What the store fails with is the problem, until it does something again."""
        try:
            yield
        except StoreError as error:
            self.problem = error.public
            raise
        self.problem = ""

    def _remembered(self) -> Memory:
        if not self._state.backups.exists():
            return Memory()
        try:
            return msgspec.json.decode(self._state.backups.read_bytes(), type=Memory)
        except msgspec.MsgspecError:  # without it a loss shows by what builds on what was lost
            return Memory()


async def _is_torn(vault: Vault, inventory: Inventory) -> bool:
    """Whether log is missing behind the newest backup. It is looked at twice, since a store lists a thousand
    names at a time, and a segment takes the place of its pieces in between."""
    chain = newest_chain(inventory.catalogue)
    if not chain:
        return False
    for _ in range(2):
        try:
            if not choose_log(chain[-1], await vault.list(WAL)).lost:
                return False
        except NotRestorable:
            continue
    return True
