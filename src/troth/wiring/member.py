"""One host of several as a plan for the keeper: a node of the consensus store and a database member."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from troth.core.clock import Clock, to_wire
from troth.core.errors import PlatformError, TrothError
from troth.core.leader import DatabaseTarget
from troth.core.state import State
from troth.data.backups.tool import SLOT
from troth.data.consensus import Consensus, find_etcd
from troth.data.enrolment import STORE, Membership, authority_file, ends, leaf_files, read_membership
from troth.data.hosts import Host
from troth.data.patroni import Command, MemberStatus, describe
from troth.data.postgres import Binaries, find_binaries
from troth.data.replicas import Member, ReplicaSet, clear_stale_pid, member_process, write_member
from troth.data.roles import REPLICATOR, SUPERUSER, bootstrap
from troth.hosting.crashes import Exit
from troth.hosting.plan import Duty, Launch, Plan, Step, Summary, Tell
from troth.hosting.supervisor import Supervised, Supervisor
from troth.wiring.certificates import Held
from troth.wiring.host_residency import HostResidency
from troth.wiring.host_store import (
    OTHERS_SECONDS,
    HostStore,
    OwnNode,
    StoreElsewhere,
    release_anywhere,
    store_nodes,
)
from troth.wiring.mending import RESTART, MendingTools, mending_duty
from troth.wiring.places import forget_copy
from troth.wiring.residency import EVERY_SECONDS as SAMPLE_SECONDS

LOOK_SECONDS = 5.0
"""Between two looks at whether the roles are made and whether certificates were brought anew."""

LATE = timedelta(days=14)
"""A certificate that ends within this, and has not been replaced, is a trouble."""


async def build_member(launch: Launch, supervisor: Supervisor) -> Plan:
    """Everything that `troth member up` brings up. Raises PlatformError when the host is not enrolled."""
    state = State(launch.state)
    return HostPart(state, read_membership(state.membership), supervisor, find_binaries(None)).plan()


class HostPart:
    """etcd, unless somebody else runs it, Patroni and PostgreSQL of this host, with the certificates that it
    was enrolled with."""

    def __init__(
        self, state: State, membership: Membership, supervisor: Supervisor, binaries: Binaries
    ) -> None:
        self._state = state
        self._supervisor = supervisor
        self._clock: Clock = supervisor.clock
        self._releases: set[asyncio.Task[None]] = set()
        self._prepared = False
        self._patroni: Supervised | None = None
        self._remarks: dict[str, str] = {}
        # A keeper that takes over does not know what the member was last told of.
        self._stamp = () if supervisor.takes_over else self._stamp_now()
        self.replicas = describe_members(state, membership, binaries)
        self.store = self._describe_store(membership)
        self._residency = HostResidency(state, membership.set, self._clock)
        self.member = self.replicas.member(membership.name)
        self.command = Command(self.replicas)

    def _describe_store(self, membership: Membership) -> HostStore:
        if membership.set.consensus is None:
            consensus = describe_consensus(self._state, membership, find_etcd())
            return OwnNode(consensus, self.replicas.consensus_client, self._supervisor)
        client = self.replicas.store_client
        assert client is not None, "described with the set"
        return StoreElsewhere(store_nodes(self.replicas), client)

    def plan(self) -> Plan:
        """For the keeper."""
        return Plan(
            platform=self.member.name,
            steps=(
                Step(name="consensus", title="Consensus store", start=self._start_consensus),
                Step(
                    name="member",
                    title="Database member",
                    start=self._start_member,
                    after=("consensus",),
                    stop=self._stop,
                ),
                Step(name="roles", title="Roles", start=self._start_roles, after=("member",)),
            ),
            summary=self._summarize,
            duties=(
                Duty(name="roles", every=LOOK_SECONDS, work=self._prepare),
                Duty(name="certificates", every=LOOK_SECONDS, work=self._take_up),
                mending_duty(self._mending_tools()),
                Duty(name="outgoing connections", every=SAMPLE_SECONDS, work=self._residency.work),
            ),
            status={
                "members": self._report,
                "certificates": self._report_certificates,
                "residency": self._residency.report,
            },
            troubles=self._find_troubles,
            resumable=True,
        )

    async def _start_consensus(self, tell: Tell) -> str:
        if not self._supervisor.takes_over:
            clear_stale_pid(self._state.members)
        return await self.store.start(tell)

    async def _start_member(self, tell: Tell) -> str:
        write_member(self.replicas, self.member)
        self._start_patroni()
        tell("waiting for a leader and a standby")
        return describe(await self.command.wait_until_ready(seconds=OTHERS_SECONDS))

    def _start_patroni(self) -> None:
        process = member_process(self.replicas, self.member)
        self._patroni = self._supervisor.start(process, restart=RESTART, on_exit=self._note_exit)

    def _mending_tools(self) -> MendingTools:
        return MendingTools(
            members=lambda: (self.member,),
            report=self.command.status,
            server=lambda _: self._patroni.pid if self._patroni else None,
            damaged=set(),
            copy_anew=self._copy_anew,
            remarks=self._remarks,
            is_changing=lambda: False,
        )

    async def _copy_anew(self, name: str) -> None:
        """See `Changes`; of this host's member alone."""
        if not await self.store.is_ready() or name in await self._leaders() or self._patroni is None:
            raise PlatformError(f"There is nobody whom {name} could copy now; it keeps what it has.")
        await self._patroni.stop()
        try:
            await asyncio.to_thread(forget_copy, self.member.folder)
        finally:
            self._start_patroni()

    async def _start_roles(self, _: Tell) -> str:
        return await self._prepare() or "the leader's host makes them"

    async def _prepare(self) -> str:
        """Where the leader is, the roles and the empty database are made: no platform is the superuser."""
        if self._prepared or self.member.name not in await self._leaders():
            return ""
        await self.command.apply_settings()
        await bootstrap(self._superuser())
        self._prepared = True
        return "made"

    def _superuser(self) -> DatabaseTarget:
        files = self.replicas.superuser
        return DatabaseTarget(
            (self.member.postgres,), SUPERUSER, self.replicas.server_authority, files.certificate, files.key
        )

    async def _leaders(self) -> tuple[str, ...]:
        try:
            return tuple(one.name for one in await self.command.status() if one.role == "leader")
        except TrothError:
            return ()

    async def _take_up(self) -> str:
        """Have the member read certificates that were brought anew; etcd reads its own at each handshake."""
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return ""
        await self.command.reload(self.member)
        self._stamp = stamp
        return "new certificates are in use"

    def _stamp_now(self) -> tuple[int, ...]:
        return tuple(file.stat().st_mtime_ns for file in sorted(self._state.membership.glob("*.pem")))

    async def _report(self) -> tuple[MemberStatus, ...]:
        return await self.command.status()

    async def _report_certificates(self) -> tuple[Held, ...]:
        found = ends(self._state.membership)
        return tuple(Held("enrolled", use, to_wire(end)) for use, end in found.items())

    async def _find_troubles(self) -> tuple[str, ...]:
        late = late_certificates(ends(self._state.membership), self._clock.now())
        others = (*await self.store.troubles(), *self._residency.troubles(), *late)
        try:
            members = await self.command.status()
        except TrothError as error:
            return (error.public, *others)
        missing = {one.name for one in self.replicas.members} - {one.name for one in members}
        idle = tuple(f"{one.name} is {one.state}" for one in members if not one.is_running)
        told = (f"{name} {remark}" for name, remark in self._remarks.items())
        return (*(f"{name} is missing from the set" for name in sorted(missing)), *idle, *told, *others)

    async def _summarize(self) -> Summary:
        warning = self.replicas.binaries.warning
        return Summary(platform=self.member.name, addresses=(), notes=(warning,) if warning else ())

    def _note_exit(self, end: Exit) -> None:
        """Patroni and PostgreSQL of this host are gone: the other hosts need not wait for the lease."""
        if end.asked:
            return
        task = asyncio.create_task(release_anywhere(self.replicas, end.name), name=f"release {end.name}")
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _stop(self) -> None:
        """The member first: it hands its lead over through the store."""
        await self.command.close()
        if self._patroni is not None:
            await self._patroni.stop()
        await self.store.stop()


def late_certificates(found: dict[str, datetime], now: datetime) -> tuple[str, ...]:
    """A sentence for each certificate that ends soon."""
    return tuple(
        f"the certificate {use} ends on {end.astimezone(UTC).date()}: enrol this host again"
        for use, end in found.items()
        if end - now < LATE
    )


def describe_consensus(state: State, membership: Membership, program: Path) -> Consensus:
    """This host's node of the store."""
    own, folder = membership.own, state.membership
    return Consensus(
        program=program,
        client=own.at(own.etcd),
        peer=own.at(own.etcd_peers),
        authority=authority_file(folder, "consensus"),
        server=leaf_files(folder, "etcd"),
        data=state.consensus,
        log=state.logs / "consensus.log",
        node=own.name,
        cluster={host.name: host.at(host.etcd_peers) for host in membership.set.hosts},
    )


def describe_members(state: State, membership: Membership, binaries: Binaries) -> ReplicaSet:
    """The whole set as this host sees it; its own folder and certificate are the only ones that are here."""
    folder, own = state.membership, membership.own
    nodes = sorted(membership.set.hosts, key=lambda host: host.name != own.name)  # its own node first
    replicas = ReplicaSet(
        members=tuple(_member(state, host) for host in membership.set.hosts),
        binaries=binaries,
        server_authority=authority_file(folder, "database"),
        client_authority=authority_file(folder, "database_clients"),
        consensus_authority=authority_file(folder, "consensus"),
        superuser=leaf_files(folder, SUPERUSER),
        replicator=leaf_files(folder, REPLICATOR),
        consensus_client=leaf_files(folder, "patroni"),
        consensus=tuple(host.at(host.etcd) for host in nodes),
        run=state.run,
        logs=state.logs,
        clients=membership.set.clients,
        places=membership.set.places,
        slots=(SLOT,) if membership.set.backups else (),
    )
    store = membership.set.consensus
    if store is None:
        return replicas
    return msgspec.structs.replace(
        replicas,
        consensus=store.nodes,
        store_authority=authority_file(folder, STORE),
        store_client=leaf_files(folder, STORE),
        scope=store.name,
    )


def _member(state: State, host: Host) -> Member:
    return Member(
        name=host.name,
        postgres=host.at(host.postgres),
        rest=host.at(host.patroni),
        folder=state.members / host.name,
        server=leaf_files(state.membership, "server"),
    )
