"""Faults at a replica set that the keeper watches: writes go on within seconds, none that counted is lost."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from support.keeping import Keeper, kept
from support.replicas import Cluster
from support.rounds import in_many_rounds, tell
from support.writers import Writers
from troth.core.db import Database
from troth.core.errors import Unavailable
from troth.data.replicas import Member
from troth.data.roles import OWNER

Fault = Callable[[Cluster, Keeper, Member], Awaitable[object]]


async def kill_postgres(cluster: Cluster, _: Keeper, leader: Member) -> None:
    cluster.kill_postgres(leader)


async def kill_member(cluster: Cluster, keeper: Keeper, leader: Member) -> None:
    cluster.kill_member(leader)
    keeper.member_died(leader)


async def freeze(cluster: Cluster, _: Keeper, leader: Member) -> None:
    cluster.freeze(leader)


async def freeze_postgres(cluster: Cluster, _: Keeper, leader: Member) -> None:
    """Its Patroni lives, and would keep the lead for ever."""
    cluster.freeze_postgres(leader)


async def switch_over(cluster: Cluster, _: Keeper, leader: Member) -> None:
    await cluster.switch_over(leader)


async def lose_the_leader(
    cluster: Cluster, writers: Writers, fault: Fault, name: str, capsys: pytest.CaptureFixture[str]
) -> Keeper:
    async with kept(cluster) as keeper:
        leader = await cluster.leader()
        await writers.during(fault(cluster, keeper, leader), after=12)
        assert writers.acknowledged
        assert await writers.lost() == set()
        await cluster.complete(90)
    (noted,) = keeper.failovers
    assert noted.old == leader.name
    assert noted.new != leader.name
    acknowledged = len(writers.acknowledged)
    tell(
        capsys, f"{name}: {writers.longest_pause:.1f} s without a write, {acknowledged} acknowledged, 0 lost"
    )
    return keeper


FAULTS = [
    *(
        pytest.param(fault, marks=in_many_rounds)
        for fault in (kill_postgres, freeze, switch_over, freeze_postgres)
    ),
    kill_member,
]


@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", FAULTS)
async def test_the_loss_of_the_leader_is_noticed_at_once(
    cluster: Cluster, writers: Writers, fault: Fault, capsys: pytest.CaptureFixture[str]
) -> None:
    keeper = await lose_the_leader(cluster, writers, fault, fault.__name__, capsys)
    assert writers.longest_pause < 15  # and not the lease of 20 s, nor for ever
    if fault is freeze_postgres:
        return  # its Patroni may notice first and hand the lead over by itself
    if fault is freeze:
        assert "hung" in keeper.failovers[0].cause
    assert bool(keeper.fenced) == (fault not in (kill_member, switch_over))


@in_many_rounds
@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_a_standby_that_hangs_is_ended_and_returns_while_writes_go_on(
    cluster: Cluster, writers: Writers
) -> None:
    async with kept(cluster) as keeper:
        leader = await cluster.leader()
        standby = next(member for member in cluster.replicas.members if member != leader)

        async def freeze_standby() -> None:
            cluster.freeze(standby)

        await writers.during(freeze_standby(), after=6)
        await cluster.complete(90)
        assert await writers.lost() == set()
    assert keeper.fenced == [standby.name]
    assert keeper.failovers == []
    assert writers.longest_pause < 5


@in_many_rounds
@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_a_leader_that_is_only_busy_is_left_alone(cluster: Cluster) -> None:
    """Every connection that it takes is busy, far beyond what the processors can do."""
    async with kept(cluster) as keeper:
        database = await Database.open(cluster.target(OWNER), max_size=40)
        await asyncio.gather(*(_compute(database) for _ in range(160)))
        await database.close()
        await asyncio.sleep(2)
    assert keeper.fenced == []
    assert keeper.failovers == []


async def _compute(database: Database) -> None:
    with contextlib.suppress(Unavailable):  # it says so when it is too busy, which is what is wanted here
        await database.fetchval("select count(*) from generate_series(1, 400000)")
