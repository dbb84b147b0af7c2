"""Three hosts, each in a network of its own, and writers on a fourth: the network is cut, hosts are lost.

In each fault one client roams over all hosts from the fourth, and one on each host knows its own member, as
an application on the wrong side of a cut would. Nothing acknowledged to any of them is lost, and no leader
acknowledges anything once another one has.
"""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from support.host_faults import BOUND_SECONDS, LEASE_SECONDS, others, standby_of, survive
from support.hosts import CLIENT, NUMBERS, Hosts
from support.network import Cut, address, between, network
from support.platform import until
from support.rounds import ROUNDS, in_many_rounds, tell
from troth.core.db import DEADLINE_SECONDS
from troth.core.leader import CONNECT_SECONDS
from troth.core.process import Endpoint

pytestmark = pytest.mark.chaos

full = pytest.mark.skipif(ROUNDS == 1, reason="only with many rounds: make chaos")


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
