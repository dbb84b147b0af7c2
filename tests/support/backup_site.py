"""A server with our schema and canaries, its backup in a store, and everything that a drill needs."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from support.backups import BackedUp, OwnServer
from support.postgres import Server, new_tenant
from troth.core.clock import SystemClock
from troth.core.db import Database
from troth.core.leader import SecureContext, wait_for_leader
from troth.core.migrations import migrate
from troth.core.secret import Secret, write_secret
from troth.core.settings import BackupSettings
from troth.data.backups.digests import Connection, Digests, take_digests
from troth.data.backups.drilling import Drilled, Ground, drill
from troth.data.backups.fetching import Objects
from troth.data.backups.kept_keys import gather, keep
from troth.data.backups.manifest import Backup
from troth.data.backups.promise import BackupsView
from troth.data.backups.restoring import Workplace
from troth.data.epochs import begin_first, folder_beside, open_epochs
from troth.data.keys import KeyRing
from troth.data.postgres import find_binaries
from troth.data.receipts import CanaryWriter, Receipt
from troth.data.recovery import backup_key, kept_keys_key
from troth.data.roles import OWNER, SUPERUSER, bootstrap
from troth.data.stores.store import Store
from troth.hosting import isolation, processes
from troth.hosting.programs import Programs


class ListedReceipts:
    """A log of receipts in memory."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []

    @property
    def newest(self) -> int:
        return self.receipts[-1].number if self.receipts else 0

    async def append(self, receipt: Receipt) -> Receipt:
        self.receipts.append(receipt)
        return receipt


class Site:
    """A server with our schema and canaries, backed up, its digests recorded and its keys kept."""

    def __init__(self, folder: Path, store: Store, recovery: Secret) -> None:
        self.folder, self.store, self.recovery = folder, store, recovery
        self.log = ListedReceipts()
        self.root_key = folder / "keys" / "root.key"
        self.source: BackedUp
        self.backup: Backup
        self.recorded: Digests
        self.server: Server

    async def prepare(self, fill: str = "") -> None:
        """Everything; `fill` is a statement that makes the database larger."""
        self.server = Server(self.folder / "server", find_binaries(None), durable=True)
        origin = OwnServer(self.server)
        self.source = source = BackedUp(origin, self.store, backup_key(self.recovery))
        origin.start()
        await bootstrap(self.server.target("postgres"))
        await migrate(self.server.target(OWNER))
        write_secret(self.root_key, os.urandom(32))
        begin_first(folder_beside(self.root_key))
        owner = await Database.open(self.server.target(OWNER), max_size=2)
        tenant = await new_tenant(owner)
        ring = KeyRing(owner, open_epochs(self.root_key))
        writer = CanaryWriter(owner, await ring.keys(tenant.id), tenant.id, self.log, newest=0)
        for _ in range(3):
            await writer.write()
        if fill:
            source.query(fill, database="troth")
        self.backup = await source.back_up()
        await keep(self.store, kept_keys_key(self.recovery), gather(self.folder / "keys"), now())
        await self.record()
        await writer.write()
        await owner.close()
        await source.ship()

    async def record(self) -> None:
        """What every table holds now, for a drill of the newest backup."""
        self.recorded = await take_digests(self._superuser, f"troth-{self.backup.id}")

    async def drill(
        self, *, store: Store | None = None, recorded: Digests | None = None, backup: str = ""
    ) -> Drilled:
        sockets = self.folder / "r"
        sockets.mkdir(mode=0o700, exist_ok=True)
        place = Workplace(
            root=self.folder / "scratch",
            sockets=sockets,
            log=self.folder / "drill.log",
            binaries=find_binaries(None),
            durable=False,
        )
        ground = Ground(
            start=Programs(self.folder, isolation.inside(False)).start,
            store=store or self.store,
            recovery=self.recovery,
            workplace=place,
            clock=SystemClock(),
            tell=say_nothing,
            receipts=self._receipts,
        )
        drilled = await drill(ground, backup or self.backup.id, recorded or self.recorded)
        assert not place.root.exists()
        assert not processes.leftovers(self.folder)
        return drilled

    def view(self, store: Store, drilled: Drilled) -> BackupsView:
        async def opened() -> Store:
            return store

        return BackupsView(
            settings=BackupSettings(),
            store=opened,
            objects=lambda one: Objects(one, backup_key(self.recovery)),
            drilled=lambda: (drilled,),
            now=now,
            here=True,
        )

    async def _receipts(self) -> Sequence[Receipt]:
        return self.log.receipts

    async def _superuser(self) -> Connection:
        target = self.server.target(SUPERUSER)
        return await wait_for_leader(target, SecureContext.of(target), seconds=30)


def now() -> datetime:
    return datetime.now(UTC)


def say_nothing(step: str, done: float) -> None:
    """Nobody watches."""
