"""The keeper's backups on a test's replica set: log, schedule, drills and alarms, without a platform."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from support.backup_site import ListedReceipts, say_nothing
from support.postgres import new_tenant
from support.replicas import Cluster
from support.waiting import until_answered
from troth.core.clock import SystemClock
from troth.core.db import Database
from troth.core.leader import DatabaseTarget
from troth.core.settings import BackupSettings
from troth.core.state import State, open_state
from troth.data.backups.digests import Connection
from troth.data.backups.fetching import Objects
from troth.data.backups.manifest import WAL
from troth.data.backups.planning import plan_restore
from troth.data.backups.recovering import Recovery
from troth.data.backups.restoring import Restoring, Workplace
from troth.data.backups.scratch import Target
from troth.data.backups.wal import read_lsn
from troth.data.backups.wal_server import WalServer
from troth.data.keys import KeyRing, make_key, read_root_key
from troth.data.patroni import MemberStatus
from troth.data.postgres import find_binaries
from troth.data.receipts import CanaryWriter
from troth.data.recovery import backup_key, make_recovery_key, read_recovery_key
from troth.data.replicas import ReplicaSet
from troth.data.roles import OWNER, SUPERUSER
from troth.data.stores.store import Store
from troth.hosting import isolation
from troth.hosting.duties import Duties
from troth.hosting.programs import Programs
from troth.hosting.supervisor import Supervisor
from troth.wiring.backup_bounds import Bounds, Members
from troth.wiring.backup_drills import BackupDrills
from troth.wiring.backup_store import open_part, store_settings
from troth.wiring.backups import BackupsPart
from troth.wiring.key_epochs import KeyEpochs


class Ahead(SystemClock):
    """A clock that can be put ahead."""

    def __init__(self) -> None:
        self.by = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.by


class _Members:
    """The cluster as the keeper's backups are given it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @property
    def replicas(self) -> ReplicaSet:
        return self._cluster.replicas

    def target(self, role: str) -> DatabaseTarget:
        return self._cluster.target(role)

    async def report(self) -> tuple[MemberStatus, ...]:
        return await self._cluster.command.status()


class KeptBackups:
    """One keeper's backups. `begin` and `end` as often as a keeper starts and ends on this state folder."""

    def __init__(
        self, root: Path, cluster: Cluster | Members, settings: BackupSettings, bounds: Bounds | None = None
    ) -> None:
        self.clock = Ahead()
        self.state = open_state(root)
        self.members: Members = _Members(cluster) if isinstance(cluster, Cluster) else cluster
        self.settings = settings
        self._bounds = bounds
        make_recovery_key(self.state.recovery_key)
        if not self.state.root_key.exists():
            make_key(self.state.root_key)
        self.recovery = read_recovery_key(self.state.recovery_key)
        self._describe()

    def _describe(self) -> None:
        state, members = self.state, self.members
        self.supervisor = Supervisor(state.root, state.root / "crashes", isolation.inside(False))
        self.part = BackupsPart(
            self.settings, state, members, self.supervisor, self.clock, bounds=self._bounds
        )
        self.keys = KeyEpochs(self.settings, state, members.target, self.clock)
        self.drills = BackupDrills(
            self.settings, state, members, self.clock, self.part.log.shipped, self.keys.keep
        )
        self.part.after.append(self.drills.after_backup)
        self.part.before_stop.append(self.drills.stop)
        self.duties = Duties(self.part.duties(), self.clock)

    async def begin(self) -> None:
        """As the keeper does once the database is up."""
        self._describe()
        for step in self.part.steps():
            await step.start(lambda _: None)
        self.duties.start()

    async def end(self) -> None:
        """As the keeper does when it is asked to stop."""
        await self.duties.stop()
        for step in self.part.steps():
            await step.stop()
        await self.supervisor.stop_all()

    async def plant(self) -> None:
        """Canaries, without which a drill has nothing to open, and an empty table to write to. Those that
        another test has planted go: they were sealed under another root key."""
        await self.ask("delete from troth.canary_row returning 1")
        await self.ask("delete from troth.tenant_key returning 1")
        owner = await Database.open(self.members.target(OWNER), max_size=2)
        try:
            tenant = await new_tenant(owner)
            ring = KeyRing(owner, read_root_key(self.state.root_key))
            writer = CanaryWriter(owner, await ring.keys(tenant.id), tenant.id, ListedReceipts(), newest=0)
            for _ in range(3):
                await writer.write()
            await owner.execute("create table if not exists troth.note (id bigint primary key)")
            await owner.execute("delete from troth.note")
        finally:
            await owner.close()

    async def backed_up(self, count: int = 1, *, seconds: float = 240) -> None:
        """Return once there are so many drills, the last of them passed."""

        async def drilled() -> bool:
            history = self.drills.history()
            return len(history) >= count and history[-1].passed

        try:
            await until_answered(drilled, seconds)
        except TimeoutError:
            told = await self.troubles(), await self.part.report(), self.part.running, self.drills.history()
            raise AssertionError(f"no drill number {count} passed: {told}") from None

    async def take(self, *, full: bool = False) -> dict[str, Any]:
        """A backup on request; how it ended."""
        asked = await self.part.take_now({"full": full})

        async def finished() -> bool:
            return bool((await self.part.progress(asked))["finished"])

        try:
            await until_answered(finished, 240)
        except TimeoutError:
            told = await self.troubles(), await self.part.report(), self.part.running, self.part.log.problem
            raise AssertionError(f"the backup that was asked for does not end: {told}") from None
        return await self.part.progress(asked)

    async def troubled(self, words: str, *, seconds: float = 60) -> str:
        """The trouble in which these words stand, once there is one."""
        found: list[str] = []

        async def told() -> bool:
            found[:] = [one for one in await self.troubles() if words in one]
            return bool(found)

        await until_answered(told, seconds)
        return found[0]

    async def untroubled(self, *, seconds: float = 90) -> None:
        """Return once nothing is wrong any more."""

        async def well() -> bool:
            return not await self.troubles()

        await until_answered(well, seconds)

    async def troubles(self) -> tuple[str, ...]:
        """What the keeper would tell."""
        return (*await self.part.troubles(), *self.drills.troubles(), *self.duties.troubles())

    async def verdict(self) -> str:
        """That of data.backups."""
        return (await self.drills.probe().look()).verdict

    async def caught_up(self) -> None:
        """Everything that is written by now is in the store."""
        await self.part.log.shipped(read_lsn(await self.ask("select pg_current_wal_flush_lsn()::text")))

    async def ask(self, query: str) -> Any:
        """One value, as the superuser."""
        superuser = await Database.open(self.members.target(SUPERUSER), max_size=1)
        try:
            return await superuser.fetchval(query)
        finally:
            await superuser.close()

    async def store(self) -> Store:
        """This platform's part of the store, opened anew."""
        return await open_part(store_settings(self.settings, self.state), self.recovery)

    async def restored(self, folder: Path) -> set[int]:
        """The notes in a restore of the newest state from the store alone."""
        store = await self.store()
        try:
            objects = Objects(store, backup_key(self.recovery))
            plan = plan_restore(await objects.catalogue(), await store.list(WAL), None)
            place = Workplace(
                root=folder,
                sockets=self.state.run,
                log=folder.with_suffix(".log"),
                binaries=self.members.replicas.binaries,
                durable=False,
            )
            start = Programs(self.state.root, isolation.inside(False)).start
            restoring = Restoring(start, objects, place, say_nothing)
            await restoring.bring(plan)
            recovery, _ = restoring.recovery(plan)
            await recovery.prepare()
            async with recovery.at(Target()) as connection:
                return {row["id"] for row in await connection.fetch("select id from troth.note")}
        finally:
            await store.close()


@asynccontextmanager
async def keeping(kept: KeptBackups) -> AsyncGenerator[KeptBackups]:
    """The keeper's backups go on as long as the block lasts."""
    await kept.begin()
    try:
        yield kept
    finally:
        await kept.end()


@asynccontextmanager
async def looking(state: State) -> AsyncGenerator[Connection]:
    """A server on the data folder that a restore has put in place."""
    place = Workplace(
        root=state.root / "look",
        sockets=state.run,
        log=state.logs / "look.log",
        binaries=find_binaries(None),
        durable=True,
    )
    data = state.members / "member-1" / "data"
    place.root.mkdir(mode=0o700)
    place.data.symlink_to(data)

    async def nothing(name: str, path: Path) -> None:
        raise AssertionError(name)

    server = WalServer(nothing, (), frozenset(), data=data, spool=place.root / "wal", told=lambda _: None)
    recovery = Recovery(Programs(state.root, isolation.inside(False)).start, place.scratch, server)
    await recovery.prepare()
    async with recovery.at(None) as connection:
        yield connection
