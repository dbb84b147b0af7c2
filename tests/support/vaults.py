"""Backups of a real cluster into a real store, for tests: the receiver, the shipper, and one base backup."""

import asyncio
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from support.replicas import Cluster
from troth.core.clock import SystemClock
from troth.core.db import Database
from troth.core.secret import Secret
from troth.data.backups.manifest import Backup
from troth.data.backups.shipping import Coverage, Look, Shipper
from troth.data.backups.spool import Spool
from troth.data.backups.taking import Member, Progress, Source, Surroundings, take
from troth.data.backups.tool import RECEIVER, SLOT, Access, Guard, receiver
from troth.data.backups.vault import Vault
from troth.data.backups.wal import read_lsn
from troth.data.roles import SUPERUSER
from troth.data.stores.store import Store

GUARD: Guard = lambda argv: ("setpriv", "--pdeathsig", "KILL", "--", *argv)  # noqa: E731

_LOOK = """
select pg_current_wal_flush_lsn()::text,
    (select write_lsn::text from pg_stat_replication where application_name = $1)
"""


class Backups:
    """One cluster, one store. Use `running`."""

    def __init__(self, cluster: Cluster, store: Store, folder: Path, superuser: Database) -> None:
        self.cluster, self.store, self.superuser = cluster, store, superuser
        self.folder = folder
        self.key = Secret(b"k" * 32)
        self.vault = Vault(store, self.key)
        self.spool = Spool(folder)
        self.shipper = Shipper(self.spool, self.vault)
        self.coverage = Coverage()
        self.told: list[Progress] = []
        self._receiver: subprocess.Popen[bytes] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def access(self) -> Access:
        replicas = self.cluster.replicas
        return Access(
            binaries=replicas.binaries, authority=replicas.server_authority, replicator=replicas.replicator
        )

    async def round(self) -> None:
        """One look at the leader, one round of shipping, as the keeper does it."""
        row = (await self.superuser.fetch(_LOOK, RECEIVER))[0]
        received = read_lsn(row[1]) if row[1] else None
        self.coverage.note(Look(datetime.now(UTC), read_lsn(row[0]), received))
        shipped = await self.shipper.round()
        self.coverage.ship(shipped.reach(received))

    async def shipped(self, lsn: int) -> None:
        """Ship until the store has the log up to here."""
        async with asyncio.timeout(60):
            while self.coverage.shipped < lsn:
                await self.round()
                await asyncio.sleep(0.1)

    async def caught_up(self) -> int:
        """Everything that is written by now is in the store; returns up to where."""
        lsn = read_lsn(await self.superuser.fetchval("select pg_current_wal_flush_lsn()::text"))
        await self.shipped(lsn)
        return lsn

    async def take(self, parent: Backup | None = None, store: Store | None = None) -> Backup:
        """One base backup of the members, standbys first."""
        leader = await self.cluster.leader()
        members = sorted(self.cluster.replicas.members, key=lambda one: one.name == leader.name)
        (row,) = await self.superuser.fetch("select system_identifier::text from pg_control_system()")
        source = Source(
            members=[Member(one.name, one.postgres) for one in members],
            access=self.access,
            guard=GUARD,
            system=row[0],
        )
        vault = self.vault if store is None else Vault(store, self.key)
        return await take(parent, source, self._around(vault, self.told.append))

    def _around(self, vault: Vault, tell: Callable[[Progress], None]) -> Surroundings:
        async def no_receipts() -> str:
            return ""

        async def no_digests(identifier: str) -> None:
            """The cluster of these tests has no schema to digest."""

        async def size() -> int:
            return await self.superuser.fetchval("select sum(pg_database_size(oid))::bigint from pg_database")

        return Surroundings(
            vault=vault,
            folder=self.folder,
            clock=SystemClock(),
            version="test",
            tell=tell,
            shipped=self.shipped,
            receipts=no_receipts,
            size=size,
            digests=no_digests,
        )

    async def _keep_receiving(self) -> None:
        """As the supervisor does: whenever the receiver ends, set aside what it left and start it again."""
        while True:
            self.spool.prepare()
            self.coverage.shipped = 0
            members = [one.postgres for one in self.cluster.replicas.members]
            spec = receiver(self.access, members, self.spool.folder, self.folder / "receiver.log")
            with spec.log.open("ab") as log:
                self._receiver = subprocess.Popen(  # noqa: ASYNC220 - it forks and returns
                    GUARD(spec.argv), env=spec.environment, cwd=spec.folder, stdout=log, stderr=log
                )
            try:
                await asyncio.to_thread(self._receiver.wait)
            finally:
                self._receiver.kill()
            await asyncio.sleep(0.2)

    def begin(self) -> None:
        self._task = asyncio.create_task(self._keep_receiving())

    def kill_receiver(self) -> None:
        assert self._receiver is not None
        self._receiver.kill()

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            if self._receiver is not None:
                self._receiver.kill()
            await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def running(cluster: Cluster, store: Store, folder: Path) -> AsyncGenerator[Backups]:
    """The log is received as long as the block lasts."""
    superuser = await Database.open(cluster.target(SUPERUSER), max_size=2)
    backups = Backups(cluster, store, folder, superuser)
    backups.begin()
    try:
        yield backups
    finally:
        await backups.end()
        await superuser.close()


__all__ = ["GUARD", "SLOT", "Backups", "running"]
