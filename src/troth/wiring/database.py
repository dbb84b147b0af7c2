"""The replica set as a part of the platform: brought up, prepared, looked after, and reported on."""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from troth.core.clock import SystemClock
from troth.core.db import Database
from troth.core.errors import TrothError
from troth.core.leader import DatabaseTarget
from troth.core.migrations import migrate
from troth.core.process import Endpoint
from troth.core.promise import Finding
from troth.core.state import State
from troth.data.consensus import (
    claim_initialized,
    consensus_is_ready,
    consensus_process,
    find_etcd,
    release_leadership,
)
from troth.data.failovers import Failover, describe_failover, keep_failover
from troth.data.outlived import count_outlived, end_outlived
from troth.data.patroni import Command, MemberStatus, describe
from troth.data.postgres import Binaries, find_binaries, system_identifier
from troth.data.replicas import (
    SCOPE,
    Member,
    ReplicaSet,
    clear_stale_pid,
    member_process,
    write_member,
)
from troth.data.roles import OWNER, SUPERUSER, bootstrap
from troth.data.standing import Standing, describe_absence
from troth.hosting.crashes import Exit
from troth.hosting.crashes import describe as describe_exit
from troth.hosting.plan import Step, Tell
from troth.hosting.supervisor import Supervised, Supervisor
from troth.wiring.certificates import Certificates
from troth.wiring.layout import Layout
from troth.wiring.members import Hands, MemberWatch
from troth.wiring.mending import RESTART
from troth.wiring.places import MOST, begin_again, clear_forgotten, finish_first_start, member_names
from troth.wiring.power_cut import forget_torn, set_torn_aside
from troth.wiring.waiting import until

START_SECONDS = 120.0
"""For the members to take writes; the first start copies the database to every member."""

POOL_SECONDS = 3.0
"""A pool notices within a second that its certificate was replaced, and lets go of what rests."""

RESTART_SECONDS = 0.5
"""For etcd to notice that it should end."""

STANDING_SECONDS = 2.0
"""How long the leader may take to tell who confirms its writes."""

_STREAMING = """
select application_name from pg_stat_replication
where state = 'streaming' and sync_state in ('sync', 'quorum')
"""

_log = logging.getLogger(__name__)


def find_programs(binaries: Path | None) -> tuple[Binaries, Path]:
    """PostgreSQL's folder and etcd's program. Raises ConfigError naming what is missing."""
    return find_binaries(binaries), find_etcd()


class DatabasePart:
    """etcd, Patroni and PostgreSQL, and the certificates between them."""

    is_here = True
    """Whether its members run here, and can be commanded."""

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
        self._state = state
        self._certificates = certificates
        self._supervisor = supervisor
        self._processes: list[Supervised] = []
        self._lagging: set[Member] = set()
        self.remarks: dict[str, str] = {}
        """On members that cannot help themselves, see `wiring.mending`."""
        self.before_stop: list[Callable[[], Awaitable[None]]] = []
        binaries, etcd = programs
        self._layout = Layout(state, certificates, ports, member_names(state, max(members, MOST)))
        self.consensus = self._layout.consensus(etcd)
        self.replicas = self._layout.replicas(binaries, member_names(state, members), slots)
        self.command = Command(self.replicas)
        self.watch = MemberWatch(
            self.replicas,
            self.command,
            self.target(SUPERUSER),
            Hands(self.patroni_of, self.fence, self._release, self._note_failover),
            SystemClock(),
        )

    def target(self, role: str) -> DatabaseTarget:
        """How to reach the leader as one of the database's roles, be it a member that is added later."""
        files, hosts = self._layout.files(role), self._layout.hosts
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

    async def standing(self) -> Standing:
        """Who leads, who confirms, and what becomes of the others."""
        reported, streaming = await asyncio.gather(_or_nobody(self.report()), _soon(self.streaming()))
        states = {one.name: one.state for one in reported}
        leader = next((one.name for one in reported if one.role == "leader" and one.is_running), None)
        others = [one.name for one in self.replicas.members if one.name != leader]
        absent = [name for name in others if name not in (streaming or ())]
        return Standing(
            size=len(self.replicas.members),
            leader=None if streaming is None else leader,
            confirming=tuple(name for name in others if name in (streaming or ())),
            absent={name: self.doing(name, states.get(name, "")) for name in absent},
            remarks={name: remark for name, remark in self.remarks.items() if name not in absent},
        )

    def doing(self, name: str, state: str) -> str:
        """What is done about a member that confirms nothing."""
        process = self._process_of(name)
        return self.remarks.get(name) or describe_absence(process.condition if process else None, state)

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
        told = (f"{name} {remark}" for name, remark in self.remarks.items())
        return (*(f"{name} is missing from the set" for name in sorted(missing)), *idle, *told)

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

    def describe_member(self, name: str) -> Member:
        """A member of this name, with a certificate of its own."""
        return self._layout.member(name)

    @property
    def free_names(self) -> tuple[str, ...]:
        """Names of members that could be added."""
        taken = {member.name for member in self.replicas.members}
        return tuple(name for name in self._layout.names if name not in taken)

    async def adopt(self, replicas: ReplicaSet) -> None:
        """The set has other members, or other programs, from now on."""
        for name in {one.name for one in self.replicas.members} - {one.name for one in replicas.members}:
            self._layout.forget(name)
        self.replicas = replicas
        self.command.follow(replicas)
        await self.watch.follow(replicas, self.target(SUPERUSER))

    def start_member(self, member: Member) -> None:
        """Start its Patroni with the configuration that is written now."""
        write_member(self.replicas, member)
        self._processes.append(
            self._supervisor.start(
                member_process(self.replicas, member), restart=RESTART, on_exit=self._note_exit
            )
        )

    async def stop_member(self, name: str) -> None:
        """End its Patroni and its PostgreSQL in order; nothing happens when it does not run."""
        process = self._process_of(name)
        if process is not None:
            self._processes.remove(process)
            await process.stop()

    async def _start_consensus(self, tell: Tell) -> str:
        if not self._supervisor.takes_over:
            begin_again(self._state)
            clear_forgotten(self._state)
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
        if not self._supervisor.takes_over:
            await self._claim_data()
            await set_torn_aside(self.replicas, self.consensus)
        for member in self.replicas.members:
            self.start_member(member)
        tell("waiting for a leader")
        # A restored set begins with the settings its data came with: those of a single member, it may be.
        await self.command.apply_settings(seconds=START_SECONDS)
        await self.command.wait_until_ready(seconds=START_SECONDS)
        finish_first_start(self._state)
        await forget_torn(self.replicas)
        if self._supervisor.takes_over:  # certificates may have been renewed that nobody was told of
            self._lagging = set(self.replicas.members)
        self.watch.start()
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
        if not end.asked:
            self.watch.member_ended(end.name, describe_exit(end.status))

    def _process_of(self, name: str) -> Supervised | None:
        return next((one for one in self._processes if one.spec.name == name), None)

    def patroni_of(self, member: Member) -> int | None:
        """The first process of a member's Patroni, None while there is none."""
        process = self._process_of(member.name)
        return process.pid if process else None

    def fence(self, member: Member) -> None:
        """End a member with SIGKILL; the supervisor ends what is left of it, and starts it again."""
        process = self._process_of(member.name)
        if process is not None:
            process.send(signal.SIGKILL)

    async def _release(self, member: str) -> bool:
        client = self.replicas.consensus_client
        return await release_leadership(self.consensus, client, scope=SCOPE, member=member)

    def _note_failover(self, failover: Failover) -> None:
        keep_failover(self._state.failovers, failover)
        _log.warning("%s", describe_failover(failover))

    async def _stop_members(self) -> None:
        """The standbys first: were the leader first, one of them would take over just to stop as well."""
        await asyncio.gather(*(close() for close in self.before_stop))
        leader = await self._leader()
        await self.watch.close()
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


async def _soon(asked: Awaitable[frozenset[str]]) -> frozenset[str] | None:
    """None when no leader answers in time: who asks for the status does not wait for an election."""
    try:
        return await asyncio.wait_for(asked, STANDING_SECONDS)
    except TimeoutError:
        return None


async def _or_nobody(asked: Awaitable[tuple[MemberStatus, ...]]) -> tuple[MemberStatus, ...]:
    try:
        return await asked
    except TrothError:
        return ()
