"""A real replica set for tests: etcd and members under Patroni, every hop mutual TLS, all on loopback."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import httpx
import psutil

from support.postgres import AS_OTHER_USER
from troth.core.ca import Authority, LeafFiles, Subject, Usage, write_leaf
from troth.core.clock import SystemClock
from troth.core.db import DatabaseTarget
from troth.core.leader import client_context
from troth.core.migrations import migrate
from troth.core.process import Endpoint, ProcessSpec
from troth.data.consensus import Consensus, consensus_is_ready, consensus_process, find_etcd
from troth.data.patroni import Command, MemberStatus
from troth.data.postgres import find_binaries
from troth.data.replicas import (
    Member,
    ReplicaSet,
    clear_stale_pid,
    member_process,
    write_configuration,
)
from troth.data.roles import OWNER, SUPERUSER, bootstrap
from troth.hosting.ports import free_ports

PATIENCE = 180.0
"""Seconds for a hang alone: on a machine that is busy with other things a first start takes over a minute."""

_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM", "--")


def postmaster_pid(member: Member) -> int | None:
    """The process id of this member's PostgreSQL if it lives, else None. An id alone says nothing, since
    another process may have it by now: it counts when that process stands in the folder."""
    try:
        pid = int((member.data / "postmaster.pid").read_text().split("\n", 1)[0])
        stands_in = Path(f"/proc/{pid}/cwd").readlink()
    except (OSError, ValueError):
        return None
    return pid if stands_in == member.data.resolve() else None


class Cluster:
    """Members and their consensus store in one folder. `start` it, break it, `stop` it, `start` it again."""

    def __init__(self, folder: Path, *, members: int = 3, slots: tuple[str, ...] = ()) -> None:
        self._slots = slots
        self.folder = folder
        self._now = SystemClock().now()
        self._authorities = {
            name: Authority.open(folder / "authorities", name, now=self._now)
            for name in ("database", "database_clients", "consensus")
        }
        for name in ("run", "logs", "members", "consensus"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        self._size = members
        self._issued: set[tuple[str, str, Usage]] = set()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.describe()

    def describe(self) -> None:
        """Choose ports and write certificates and configuration anew, as each start of the platform does."""
        self.consensus = Consensus(
            program=find_etcd(),
            client=_endpoint(),
            peer=_endpoint(),
            authority=self._authorities["consensus"].certificate_file,
            server=self._leaf("consensus", "consensus", "both"),
            data=self.folder / "consensus",
            log=self.folder / "logs" / "consensus.log",
        )
        self.replicas = ReplicaSet(
            members=tuple(self._member(f"database-{letter}") for letter in "abcde"[: self._size]),
            binaries=find_binaries(None),
            server_authority=self._authorities["database"].certificate_file,
            client_authority=self._authorities["database_clients"].certificate_file,
            consensus_authority=self._authorities["consensus"].certificate_file,
            superuser=self._leaf("database_clients", SUPERUSER, "client"),
            replicator=self._leaf("database_clients", "replicator", "client"),
            consensus_client=self._leaf("consensus", "patroni", "client"),
            consensus=(self.consensus.client,),
            run=self.folder / "run",
            logs=self.folder / "logs",
            slots=self._slots,
        )
        write_configuration(self.replicas)
        self.command = Command(self.replicas)

    def target(self, role: str, database: str = "troth") -> DatabaseTarget:
        """How `role` reaches the leader."""
        files = self._leaf("database_clients", role, "client")
        return DatabaseTarget(
            hosts=tuple(member.postgres for member in self.replicas.members),
            user=role,
            ca=self.replicas.server_authority,
            certificate=files.certificate,
            key=files.key,
            database=database,
        )

    async def start(self, before_members: Callable[[], Awaitable[object]] | None = None) -> None:
        """Start everything and wait until a write would be acknowledged by a standby."""
        clear_stale_pid(self.folder / "members")
        self.start_consensus()
        async with asyncio.timeout(10):
            while not await consensus_is_ready(self.consensus, self.replicas.consensus_client):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        if before_members is not None:
            await before_members()
        for member in self.replicas.members:
            self.start_member(member)
        await self.command.wait_until_ready(seconds=PATIENCE)

    async def prepare(self) -> None:
        """Roles, schema and migrations."""
        await bootstrap(self.target(SUPERUSER, "postgres"))
        await migrate(self.target(OWNER))

    def start_member(self, member: Member) -> None:
        self._spawn(member_process(self.replicas, member))

    def kill_postgres(self, member: Member) -> None:
        """PostgreSQL dies, its Patroni lives."""
        pid = postmaster_pid(member)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def kill_member(self, member: Member) -> None:
        """Patroni and PostgreSQL die at once."""
        self.kill_patroni(member)
        self.kill_postgres(member)

    def kill_patroni(self, member: Member) -> None:
        """Patroni dies, if it lives; its PostgreSQL is left to itself."""
        process = self._processes.pop(member.name, None)
        if process is not None:
            process.kill()
            process.wait(10)

    async def stop_member(self, member: Member) -> None:
        """Patroni ends its PostgreSQL and itself, in order."""
        process = self._processes.pop(member.name, None)
        if process is not None:
            process.terminate()
            await _ended(process)

    def patroni_pid(self, member: Member) -> int | None:
        """Patroni's process, None while there is none."""
        process = self._processes.get(member.name)
        return process.pid if process else None

    def start_consensus(self) -> None:
        self._spawn(consensus_process(self.consensus))

    async def stop_consensus(self) -> None:
        process = self._processes.pop(self.consensus.name)
        process.kill()
        await _ended(process)

    def freeze(self, member: Member) -> None:
        """Patroni, PostgreSQL and all its children stop where they are."""
        self._signal(member, signal.SIGSTOP)

    def freeze_postgres(self, member: Member) -> None:
        """PostgreSQL and all its children stop where they are; their Patroni goes on."""
        for one in self._family(member):
            os.kill(one, signal.SIGSTOP)

    def thaw(self, member: Member) -> None:
        """They go on as if no time had passed."""
        self._signal(member, signal.SIGCONT)

    def renew(self) -> None:
        """Replace all certificates on disk by new ones of the same names."""
        for domain, name, usage in self._issued.copy():
            self._leaf(domain, name, usage)

    def _signal(self, member: Member, how: signal.Signals) -> None:
        for one in (self._processes[member.name].pid, *self._family(member)):
            os.kill(one, how)

    def _family(self, member: Member) -> list[int]:
        pid = postmaster_pid(member)
        assert pid is not None
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]

    async def leader(self) -> Member:
        """The member that leads now."""
        members = await self.command.wait_until_ready(seconds=PATIENCE)
        return self.replicas.member(next(member.name for member in members if member.role == "leader"))

    async def complete(self, seconds: float = PATIENCE) -> tuple[MemberStatus, ...]:
        """The members, once all of them run on one timeline and acknowledge writes."""
        async with asyncio.timeout(seconds):
            while not self._is_complete(seen := await self.command.wait_until_ready(seconds=seconds)):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return seen

    def _is_complete(self, seen: tuple[MemberStatus, ...]) -> bool:
        running = [member for member in seen if member.is_running]
        acknowledging = [member for member in running if member.role == "quorum_standby"]
        one_timeline = len({member.timeline for member in running}) == 1
        return one_timeline and (len(running), len(acknowledging)) == (self._size, self._size - 1)

    async def switch_over(self, leader: Member) -> None:
        """Ask a living leader to hand its lead over."""
        client = self.replicas.consensus_client
        trust = client_context(self.replicas.server_authority, client.certificate, client.key)
        async with httpx.AsyncClient(verify=trust, timeout=30, trust_env=False) as http:
            answer = await http.post(f"https://{leader.rest}/switchover", json={"leader": leader.name})
        assert answer.status_code == 200, answer.text

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End every process that was started, PostgreSQL included."""
        await self.command.close()
        store = self._processes.pop(self.consensus.name, None)
        for process in self._processes.values():
            process.send_signal(how)
        for process in self._processes.values():
            await _ended(process)
        self._processes.clear()
        for member in self.replicas.members:
            pid = postmaster_pid(member)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        if store is not None:
            store.send_signal(how)
            await _ended(store)

    def memory(self) -> dict[str, float]:
        """Proportional set size of each part, in MB."""
        sizes: dict[str, float] = {}
        for name, process in self._processes.items():
            sizes[name] = _pss(process.pid)
        for member in self.replicas.members:
            pid = postmaster_pid(member)
            if pid is not None:
                family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
                sizes[f"{member.name} postgres"] = sum(_pss(one) for one in family)
        return sizes

    def _member(self, name: str) -> Member:
        folder = self.folder / "members" / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return Member(
            name=name,
            postgres=_endpoint(),
            rest=_endpoint(),
            folder=folder,
            server=self._leaf("database", name, "server"),
        )

    def _leaf(self, domain: str, name: str, usage: Usage) -> LeafFiles:
        self._issued.add((domain, name, usage))
        subject = Subject(common_name=name, dns=() if usage == "client" else ("localhost",), usage=usage)
        leaf = self._authorities[domain].issue(subject, now=self._now, lifetime=timedelta(days=1))
        return write_leaf(leaf, self.folder / "run", f"{domain}.{name}")

    def _spawn(self, spec: ProcessSpec) -> None:
        prefix = (*AS_OTHER_USER, *_DIE_WITH_PARENT) if spec.as_other_user else _DIE_WITH_PARENT
        with spec.log.open("ab") as log:
            self._processes[spec.name] = subprocess.Popen(
                [*prefix, *spec.argv],
                env=spec.environment,
                cwd=spec.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


async def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        await asyncio.to_thread(process.wait, 30)
    except subprocess.TimeoutExpired:
        process.kill()
        await asyncio.to_thread(process.wait, 10)


def _pss(pid: int) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).memory_full_info().pss / 2**20
    return 0.0


def _endpoint() -> Endpoint:
    return Endpoint("127.0.0.1", free_ports(1)[0])
