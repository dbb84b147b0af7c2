"""Three hosts, each in a network of its own, and writers on a fourth: the network is cut, hosts are lost.

In each fault one client roams over all hosts from the fourth, and one on each host knows its own member, as
an application on the wrong side of a cut would. Nothing acknowledged to any of them is lost, and no leader
acknowledges anything once another one has.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from support.hosts import CLIENT, NUMBERS, Hosts, out_of_turn, pause
from support.network import Cut, address, between, network
from support.platform import until
from support.rounds import ROUNDS, in_many_rounds, tell
from troth.core.db import DEADLINE_SECONDS
from troth.core.leader import CONNECT_SECONDS
from troth.core.process import Endpoint

pytestmark = pytest.mark.chaos

LEASE_SECONDS = 20.0
"""Patroni's: nobody can know sooner that a leader which is cut off has stopped."""

BOUND_SECONDS = 90.0
"""For a hang alone: on a busy machine a failover takes its time."""

full = pytest.mark.skipif(ROUNDS == 1, reason="only with many rounds: make chaos")

Fault = Callable[[int], Awaitable[object]]


@pytest.fixture(scope="module")
async def hosts(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Hosts]:
    """A set that takes writes, with a table to write to."""
    with network(CLIENT) as made:
        running = Hosts(tmp_path_factory.mktemp("hosts"), made)
        try:
            for number in NUMBERS:
                running.start(number)
            await running.ready()
            client = await running.client(CLIENT)
            await client.execute("create table troth.note (id bigint primary key)")
            yield running
        finally:
            await running.stop()


class Told:
    """What a fault cost."""

    def __init__(self, seconds: float, whole: float, writes: int) -> None:
        self.pause, self.whole, self.writes = seconds, whole, writes

    def __str__(self) -> str:
        return f"pause {self.pause:.1f} s, whole again {self.whole:.1f} s later, {self.writes} writes, 0 lost"


async def survive(hosts: Hosts, fault: Fault, *, lasting: float, mend: Callable[[int], object]) -> Told:
    """Let a fault happen to the leader's host under load for so many seconds, mend it, and count."""
    await hosts.ready()
    leader = await hosts.leader()
    clients = [await hosts.client(CLIENT), *[await hosts.client(n, n) for n in NUMBERS]]
    for client in clients:
        await client.start()
    await asyncio.sleep(2)
    await fault(leader)
    await asyncio.sleep(lasting)
    mend(leader)
    began = asyncio.get_running_loop().time()
    await hosts.ready()
    whole = asyncio.get_running_loop().time() - began
    await asyncio.sleep(2)
    told = [await client.stop() for client in clients]
    acknowledged = [ack for acks in told for ack in acks]
    kept = await clients[0].kept()
    for client in clients:
        await client.close()
    assert told[0], "nothing was written"
    assert {ack.number for ack in acknowledged} <= kept
    assert out_of_turn(acknowledged) == []
    assert told[0][-1].at - told[0][0].at > lasting, "writes went on to the end"
    return Told(pause(told[0]), whole, len(acknowledged))


@in_many_rounds
async def test_a_leader_cut_off_from_everybody_is_replaced(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    async def cut(leader: int) -> None:
        hosts.network.drop(*between(leader, others(leader)))

    told = await survive(hosts, cut, lasting=LEASE_SECONDS + 8, mend=lambda _: hosts.network.heal())
    tell(capsys, f"leader cut off from everybody: {told}")
    assert told.pause < BOUND_SECONDS


async def test_a_standby_cut_off_delays_no_write(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    async def cut(leader: int) -> None:
        hosts.network.drop(*between(standby_of(leader), others(standby_of(leader))))

    told = await survive(hosts, cut, lasting=8, mend=lambda _: hosts.network.heal())
    tell(capsys, f"standby cut off: {told}")
    assert told.pause < LEASE_SECONDS / 2


@in_many_rounds
async def test_the_keeper_of_the_leaders_host_dies_and_its_member_leads_on(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    led: list[int] = []

    async def kill(leader: int) -> None:
        led.append(leader)
        hosts.kill_keeper(leader)

    async def taken_over() -> bool:
        return await hosts.taken_over(led[0]) == 2

    told = await survive(hosts, kill, lasting=8, mend=lambda _: None)
    await until(taken_over, bool, seconds=60, what="another keeper has taken over etcd and Patroni")
    assert await hosts.leader() == led[0]
    tell(capsys, f"keeper of the leader's host killed: {told}")
    assert told.pause < LEASE_SECONDS / 2


@in_many_rounds
async def test_hosts_that_swallow_every_packet_delay_no_search(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = (CLIENT + 1, CLIENT + 2)
    hosts.network.drop(*(Cut(CLIENT, number) for number in nowhere))
    try:
        client = await hosts.client(CLIENT, and_at=tuple(Endpoint(address(n), 5432) for n in nowhere))
        seconds = min([await client.open() for _ in range(3)])
        await client.close()
    finally:
        hosts.network.heal()
    tell(capsys, f"leader found beside {len(nowhere)} black holes: {seconds:.2f} s")
    assert seconds < CONNECT_SECONDS * 3


@full
async def test_a_call_at_a_leader_that_is_cut_off_is_given_up_within_seconds(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its packets were received; nothing but the kernel's own questions shows that nobody will answer."""
    await hosts.ready()
    leader = await hosts.leader()
    client = await hosts.client(CLIENT, leader)
    await client.open()
    call = asyncio.create_task(client.wait(7.5))
    await asyncio.sleep(1)
    hosts.network.drop(*between(CLIENT, (leader,)))
    try:
        seconds = await call
    finally:
        hosts.network.heal()
        await client.close()
    tell(capsys, f"call given up {seconds - 1:.1f} s after the cut")
    assert seconds < DEADLINE_SECONDS


@full
async def test_a_leader_cut_off_from_the_store_alone_loses_nothing(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own node of the store stays in reach, but has lost the others."""

    async def cut(leader: int) -> None:
        for port in (2379, 2380):
            hosts.network.drop(*between(leader, others(leader), port=port))

    told = await survive(hosts, cut, lasting=LEASE_SECONDS + 8, mend=lambda _: hosts.network.heal())
    tell(capsys, f"leader cut off from the consensus store: {told}")
    assert told.pause < BOUND_SECONDS


@full
@pytest.mark.parametrize("direction", ["to", "from"])
async def test_a_leader_cut_off_in_one_direction_loses_nothing(
    hosts: Hosts, capsys: pytest.CaptureFixture[str], direction: str
) -> None:
    async def cut(leader: int) -> None:
        hosts.network.drop(*between(leader, others(leader), "to" if direction == "to" else "from"))

    told = await survive(hosts, cut, lasting=LEASE_SECONDS + 8, mend=lambda _: hosts.network.heal())
    tell(capsys, f"what goes {direction} the leader is dropped: {told}")
    assert told.pause < BOUND_SECONDS


@full
async def test_the_leaders_host_is_lost_and_comes_back(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    told = await survive(hosts, hosts.lose, lasting=LEASE_SECONDS + 8, mend=hosts.start)
    tell(capsys, f"leader's host lost: {told}")
    assert told.pause < BOUND_SECONDS


@full
@in_many_rounds
async def test_a_lost_node_of_the_store_delays_no_write(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    """All three, one after the other: the one that leads among them is one of these."""

    async def kill(_: int) -> None:
        for number in NUMBERS:
            hosts.kill_store(number)
            await asyncio.sleep(4)

    told = await survive(hosts, kill, lasting=4, mend=lambda _: None)
    tell(capsys, f"each node of the consensus store killed in turn: {told}")
    assert told.pause < LEASE_SECONDS / 2


def others(number: int) -> tuple[int, ...]:
    """Everybody else, the writers' host included."""
    return tuple(n for n in (*NUMBERS, CLIENT) if n != number)


def standby_of(leader: int) -> int:
    return next(n for n in NUMBERS if n != leader)
