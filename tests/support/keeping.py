"""The keeper's watch on a test's replica set: what `wiring.database` gives it, without a platform around."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import psutil

from support.replicas import Cluster, postmaster_pid
from troth.core.clock import SystemClock
from troth.data.consensus import release_leadership
from troth.data.failovers import Failover
from troth.data.replicas import SCOPE, Member
from troth.data.roles import SUPERUSER
from troth.wiring.members import Hands, MemberWatch
from troth.wiring.mending import EVERY_SECONDS, Mending, MendingTools
from troth.wiring.places import forget_copy

RESTART_SECONDS = 0.3


class Keeper:
    """Starts members again that it ended or that died, as the supervisor does, and mends those that cannot
    help themselves."""

    def __init__(self, cluster: Cluster) -> None:
        self.failovers: list[Failover] = []
        self.fenced: list[str] = []
        self.mended: list[str] = []
        self.remarks: dict[str, str] = {}
        self._cluster = cluster
        self._tasks: set[asyncio.Task[None]] = set()
        self.watch = MemberWatch(
            cluster.replicas,
            cluster.command,
            cluster.target(SUPERUSER, "postgres"),
            Hands(cluster.patroni_pid, self._fence, self._release, self.failovers.append),
            SystemClock(),
        )
        self._mending = Mending(
            MendingTools(
                members=lambda: cluster.replicas.members,
                report=cluster.command.status,
                server=cluster.patroni_pid,
                damaged=self.watch.damaged,
                copy_anew=self._copy_anew,
                relieve=self._relieve,
                end=self._end,
                remarks=self.remarks,
                is_changing=lambda: False,
            )
        )
        self._looking = asyncio.create_task(self._look())

    def member_died(self, member: Member) -> None:
        """Everything of a member is gone."""
        self.watch.member_ended(member.name, "was killed")
        task = asyncio.create_task(self._start_again(member))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Start what is still to be started and look no more."""
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.gather(*self._tasks)
        await self.watch.close()

    async def _look(self) -> None:
        while True:
            done = await self._mending.work()
            self.mended += [done] if done else []
            await asyncio.sleep(EVERY_SECONDS)

    async def _copy_anew(self, name: str) -> None:
        member = self._cluster.replicas.member(name)
        await self._cluster.stop_member(member)
        await asyncio.to_thread(forget_copy, member.folder)
        self._cluster.start_member(member)

    async def _relieve(self, name: str, successor: str, cause: str) -> None:
        self.watch.expect(cause)
        replicas = self._cluster.replicas
        await self._cluster.command.hand_over(replicas.member(name), replicas.member(successor))

    def _end(self, name: str, cause: str) -> None:
        self.watch.expect(cause)
        self._fence(self._cluster.replicas.member(name))

    def _fence(self, member: Member) -> None:
        if self._cluster.patroni_pid(member) is None:
            return
        self.fenced.append(member.name)
        pid = postmaster_pid(member)
        family = psutil.Process(pid).children(recursive=True) if pid else []
        self._cluster.kill_patroni(member)
        for one in (*([pid] if pid else []), *(child.pid for child in family)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        self.member_died(member)

    async def _release(self, name: str) -> bool:
        client = self._cluster.replicas.consensus_client
        return await release_leadership(self._cluster.consensus, client, scope=SCOPE, member=name)

    async def _start_again(self, member: Member) -> None:
        await asyncio.sleep(RESTART_SECONDS)
        if self._cluster.patroni_pid(member) is None:
            self._cluster.start_member(member)


@asynccontextmanager
async def mended(cluster: Cluster) -> AsyncGenerator[Keeper]:
    """The watch over a set that need not be complete, until the end of the block."""
    keeper = Keeper(cluster)
    keeper.watch.start()
    try:
        yield keeper
    finally:
        await keeper.close()


@asynccontextmanager
async def kept(cluster: Cluster) -> AsyncGenerator[Keeper]:
    """The watch, from a complete set until the end of the block."""
    await cluster.complete()
    async with mended(cluster) as keeper:
        await asyncio.sleep(1.5)  # it has to have seen who leads
        yield keeper
