"""The replica set as a part of the platform: brought up, prepared, looked after, and reported on."""

import asyncio
import logging
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from troth.core.db import Database
from troth.core.errors import ConfigError, TrothError
from troth.core.leader import DatabaseTarget
from troth.core.migrations import migrate
from troth.core.process import Endpoint
from troth.core.promise import Finding
from troth.core.secret import write_public
from troth.core.state import State
from troth.data.consensus import (
    Consensus,
    claim_initialized,
    consensus_is_ready,
    consensus_process,
    find_etcd,
    release_leadership,
)
from troth.data.outlived import count_outlived, end_outlived
from troth.data.patroni import Command, MemberStatus, describe
from troth.data.postgres import Binaries, find_binaries, system_identifier
from troth.data.replicas import (
    SCOPE,
    Member,
    ReplicaSet,
    clear_stale_pid,
    member_process,
    write_configuration,
)
from troth.data.roles import APP, AUDITOR, OWNER, REPLICATOR, SUPERUSER, bootstrap
from troth.hosting.crashes import Exit
from troth.hosting.plan import Step, Tell
from troth.hosting.supervisor import Supervised, Supervisor
from troth.wiring.certificates import Certificates, Holder
from troth.wiring.waiting import until

START_SECONDS = 120.0
"""For the members to take writes; the first start copies the database to every member."""

POOL_SECONDS = 3.0
"""A pool notices within a second that its certificate was replaced, and lets go of what rests."""

RESTART_SECONDS = 0.5
"""For etcd to notice that it should end."""

_STREAMING = """
select application_name from pg_stat_replication
where state = 'streaming' and sync_state in ('sync', 'quorum')
"""

_log = logging.getLogger(__name__)


def find_programs(binaries: Path | None) -> tuple[Binaries, Path]:
    """PostgreSQL's folder and etcd's program. Raises ConfigError naming what is missing."""
    return find_binaries(binaries), find_etcd()


def check_size(state: State, wanted: int) -> None:
    """Raises ConfigError when the state folder holds more members than are asked for: leaving one out could
    leave out the only one that has the last write."""
    present = sorted(folder.parent.name for folder in state.members.glob("*/data"))
    if len(present) > wanted:
        raise ConfigError(
            f"The state folder holds {len(present)} database members and {wanted} are asked for.",
            key="database.members",
            hint=f"Start it with {len(present)} members, or name another folder with --state FOLDER.",
        )


def begin_again(state: State) -> None:
    """Remove what a first start that was cut short has left. It is no database yet, though Patroni would take
    it for one, and its standbys would wait for ever for roles that were still to be made. Nobody can have
    written to it, for services start later.
    """
    if state.unfinished.exists():
        _log.warning("the first start of the database was cut short; it begins again")
        for entry in (*state.members.iterdir(), *state.consensus.iterdir()):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    if not any(state.members.iterdir()):
        write_public(state.unfinished, b"")


def finish_first_start(state: State) -> None:
    """From now on there may be data: that must be on disk before the first of it is."""
    state.unfinished.unlink(missing_ok=True)
    folder = os.open(state.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class DatabasePart:
    """etcd, Patroni and PostgreSQL, and the certificates between them."""

    def __init__(
        self,
        state: State,
        certificates: Certificates,
        supervisor: Supervisor,
        *,
        members: int,
        programs: tuple[Binaries, Path],
        ports: Iterator[int],
        slots: tuple[str, ...] = (),
    ) -> None:
        self._slots = slots
        self._state = state
        self._certificates = certificates
        self._supervisor = supervisor
        self._processes: list[Supervised] = []
        self._releases: set[asyncio.Task[None]] = set()
        self._lagging: set[Member] = set()
        binaries, etcd = programs
        self.consensus = self._describe_consensus(etcd, ports)
        self.replicas = self._describe_members(binaries, members, ports)
        self.command = Command(self.replicas)

    def target(self, role: str) -> DatabaseTarget:
        """How to reach the leader as one of the database's roles."""
        files = self._certificates.files(_client(role))
        hosts = tuple(member.postgres for member in self.replicas.members)
        return DatabaseTarget(hosts, role, self.replicas.server_authority, files.certificate, files.key)

    def steps(self) -> tuple[Step, ...]:
        """Consensus, members, schema; the last one stands when the database can be used."""
        return (
            Step(
                name="consensus",
                title="Consensus store",
                start=self._start_consensus,
                stop=self._stop_consensus,
            ),
            Step(
                name="members",
                title="Database members",
                start=self._start_members,
                after=("consensus",),
                stop=self._stop_members,
            ),
            Step(name="schema", title="Schema", start=self._prepare_schema, after=("members",)),
        )

    async def report(self) -> tuple[MemberStatus, ...]:
        """The members as the set sees them."""
        return await self.command.status()

    async def streaming(self) -> frozenset[str]:
        """The standbys whose confirmation the leader waits for, as its PostgreSQL sees them this moment.

        What the set reports is a memory: a member that hangs or has lost its PostgreSQL stands in it as
        streaming until its lease of 20 seconds ends. Nobody streams where there is no leader.
        """
        try:
            leader = await Database.open(self.target(SUPERUSER), max_size=1)
        except TrothError:
            return frozenset()
        try:
            rows = await leader.fetch(_STREAMING)
        except TrothError:
            return frozenset()
        finally:
            await leader.close()
        return frozenset(row["application_name"] for row in rows)

    async def judge_elsewhere(self) -> Finding | None:
        """The verdict of data.replicas on a set that does not run here; this one does."""

    async def troubles(self) -> tuple[str, ...]:
        """A sentence for each member that does not do its part."""
        try:
            members = await self.command.status()
        except TrothError as error:
            return (error.public,)
        missing = {one.name for one in self.replicas.members} - {one.name for one in members}
        idle = tuple(f"{one.name} is {one.state}" for one in members if not one.is_running)
        return (*(f"{name} is missing from the set" for name in sorted(missing)), *idle)

    async def renew_certificates(self) -> str:
        """Renew what is due and have every member read it; etcd reads its files at each handshake."""
        due = self._certificates.due(lambda one: one.trust in ("database", "database_clients", "consensus"))
        for holder in due:
            self._certificates.issue(holder)
        if due:
            self._lagging = set(self.replicas.members)
        # Renewed on disk they are not due again for long: each member must be told until it has followed.
        outcomes = await asyncio.gather(*map(self._reload, tuple(self._lagging)), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        ended = await self.end_outlived() if self._certificates.living("database_clients") else 0
        words = f"renewed {len(due)} certificates of the database" if due else ""
        return (
            f"{words}; ended {ended} connections that outlived theirs".removeprefix("; ") if ended else words
        )

    async def follow_authorities(self, *, anew: bool = False) -> None:
        """Have every member read again whose certificates it takes. `anew` gives each a new one of its own,
        for Patroni's REST interface begins to listen again for that alone. Raises PlatformError."""
        if anew:
            for holder in self._certificates.holders(lambda one: one.trust == "database"):
                self._certificates.issue(holder)
        self._lagging = set(self.replicas.members)
        await self.renew_certificates()

    async def restart_consensus(self) -> None:
        """etcd reads whom it trusts when it starts; roles stay meanwhile. Returns once it answers again."""
        for process in self._processes:
            if process.spec.name == self.consensus.name:
                process.send(signal.SIGTERM)
        await asyncio.sleep(RESTART_SECONDS)
        client = self.replicas.consensus_client
        await until(
            lambda: consensus_is_ready(self.consensus, client),
            what="The consensus store",
            log=self.consensus.log,
        )

    async def end_outlived(self, *, patiently: bool = False) -> int:
        """End the connections to each member whose certificate is no longer good; returns how many.
        Patiently, pools first get a moment to let go of theirs by themselves."""
        target, members = self.target(SUPERUSER), [one.postgres for one in self.replicas.members]
        living = self._certificates.living("database_clients")
        end = time.monotonic() + (POOL_SECONDS if patiently else 0.0)
        while time.monotonic() < end:
            counts = await asyncio.gather(*(count_outlived(target, one, living) for one in members))
            if not sum(counts):
                return 0
            await asyncio.sleep(0.2)
        return sum(await asyncio.gather(*(end_outlived(target, one, living) for one in members)))

    async def _reload(self, member: Member) -> None:
        await self.command.reload(member)
        self._lagging.discard(member)

    def ports(self) -> tuple[tuple[str, Endpoint], ...]:
        """Every private port that speaks HTTPS here, with a name; PostgreSQL's own are `replicas.members`."""
        rest = tuple((f"{one.name} Patroni", one.rest) for one in self.replicas.members)
        return (("etcd clients", self.consensus.client), ("etcd peers", self.consensus.peer), *rest)

    def _describe_consensus(self, program: Path, ports: Iterator[int]) -> Consensus:
        server = Holder(trust="consensus", name="etcd", usage="both", dns=("localhost",))
        return Consensus(
            program=program,
            client=Endpoint("127.0.0.1", next(ports)),
            peer=Endpoint("127.0.0.1", next(ports)),
            authority=self._certificates.ca("consensus"),
            server=self._certificates.issue(server),
            data=self._state.consensus,
            log=self._state.logs / "consensus.log",
        )

    def _describe_members(self, binaries: Binaries, count: int, ports: Iterator[int]) -> ReplicaSet:
        for role in (SUPERUSER, REPLICATOR, OWNER, APP, AUDITOR):
            self._certificates.issue(_client(role))
        return ReplicaSet(
            members=tuple(self._describe_member(f"member-{n}", ports) for n in range(1, count + 1)),
            binaries=binaries,
            server_authority=self._certificates.ca("database"),
            client_authority=self._certificates.ca("database_clients"),
            consensus_authority=self._certificates.ca("consensus"),
            superuser=self._certificates.files(_client(SUPERUSER)),
            replicator=self._certificates.files(_client(REPLICATOR)),
            consensus_client=self._certificates.issue(
                Holder(trust="consensus", name="patroni", usage="client")
            ),
            consensus=(self.consensus.client,),
            run=self._state.run,
            logs=self._state.logs,
            slots=self._slots,
        )

    def _describe_member(self, name: str, ports: Iterator[int]) -> Member:
        server = Holder(trust="database", name=name, usage="server", dns=("localhost",))
        return Member(
            name=name,
            postgres=Endpoint("127.0.0.1", next(ports)),
            rest=Endpoint("127.0.0.1", next(ports)),
            folder=self._state.members / name,
            server=self._certificates.issue(server),
        )

    async def _start_consensus(self, tell: Tell) -> str:
        begin_again(self._state)
        clear_stale_pid(self._state.members)
        self._processes.append(self._supervisor.start(consensus_process(self.consensus)))
        client = self.replicas.consensus_client
        await until(
            lambda: consensus_is_ready(self.consensus, client),
            what="The consensus store",
            log=self.consensus.log,
        )
        return f"etcd on {self.consensus.client}, mutual TLS"

    async def _start_members(self, tell: Tell) -> str:
        write_configuration(self.replicas)
        await self._claim_data()
        for member in self.replicas.members:
            self._processes.append(
                self._supervisor.start(member_process(self.replicas, member), on_exit=self._note_exit)
            )
        tell("waiting for a leader")
        await self.command.wait_until_ready(seconds=START_SECONDS)
        await self.command.apply_settings()
        finish_first_start(self._state)
        return describe(await self.command.status())

    async def _claim_data(self) -> None:
        """With data here and none of it known to the consensus store (restored, or the store was lost), an
        empty member must not make a new database before one with data has said that there is one."""
        folders = [one.data for one in self.replicas.members if (one.data / "PG_VERSION").exists()]
        if not folders or self._state.unfinished.exists():
            return
        system = await asyncio.to_thread(system_identifier, self.replicas.binaries, folders[0])
        client = self.replicas.consensus_client
        await claim_initialized(self.consensus, client, scope=SCOPE, system=system)

    async def _prepare_schema(self, tell: Tell) -> str:
        await bootstrap(self.target(SUPERUSER))
        tell("migrating")
        applied = await migrate(self.target(OWNER))
        return f"{len(applied)} migrations applied" if applied else "up to date"

    def _note_exit(self, end: Exit) -> None:
        """A member whose Patroni and PostgreSQL are both gone gives up its lead at once: the others need not
        wait for its lease of 20 seconds."""
        if end.asked:
            return
        task = asyncio.create_task(self._release(end.name), name=f"release {end.name}")
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _release(self, member: str) -> None:
        try:
            client = self.replicas.consensus_client
            if await release_leadership(self.consensus, client, scope=SCOPE, member=member):
                _log.warning("%s led and is gone; its lead was given up on its behalf", member)
        except TrothError as error:
            _log.error("the lead of %s could not be given up: %s", member, error.public)

    async def _stop_members(self) -> None:
        """The standbys first: were the leader first, one of them would take over just to stop as well."""
        leader = await self._leader()
        await self.command.close()
        members = [one for one in self._processes if one.spec.name != self.consensus.name]
        await asyncio.gather(*(one.stop() for one in members if one.spec.name != leader))
        await asyncio.gather(*(one.stop() for one in members if one.spec.name == leader))

    async def _leader(self) -> str | None:
        """None when no member can tell: then there is no order to keep."""
        try:
            members = await self.command.status()
        except TrothError:
            return None
        return next((one.name for one in members if one.role == "leader"), None)

    async def _stop_consensus(self) -> None:
        await asyncio.gather(*(one.stop() for one in self._processes))


def _client(role: str) -> Holder:
    return Holder(trust="database_clients", name=role, usage="client")
