"""Damaged data, torn logs, faults in a row: nothing acknowledged is lost, and the set mends itself."""

import asyncio
import signal
from collections.abc import Callable

import asyncpg
import pytest

from support.damage import (
    cut_copy_short,
    kill,
    spoil_catalogues,
    spoil_control_file,
    spoil_pages,
    tear,
)
from support.keeping import Keeper, kept, mended
from support.replicas import Cluster
from support.rounds import in_many_rounds, tell
from support.waiting import until
from support.writers import Writers
from troth.core.db import Database
from troth.data.replicas import Member
from troth.data.roles import OWNER
from troth.hosting.motion import working_in
from troth.wiring.power_cut import set_torn_aside

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900), in_many_rounds]

WHOLE_SECONDS = 400.0
"""For a hang alone: half a minute until a member counts as stuck, and a copy, on a busy machine."""

Damage = Callable[[Cluster, Member], None]


def control_file_missing(_: Cluster, member: Member) -> None:
    cut_copy_short(member)


def control_file_rubbish(_: Cluster, member: Member) -> None:
    spoil_control_file(member)


def catalogues_rubbish(_: Cluster, member: Member) -> None:
    spoil_catalogues(member)


def log_torn(cluster: Cluster, member: Member) -> None:
    tear(cluster.replicas.binaries, member.data, 2000)


def last_record_torn(cluster: Cluster, member: Member) -> None:
    tear(cluster.replicas.binaries, member.data, 0)


async def standby_of(cluster: Cluster) -> Member:
    leader = await cluster.leader()
    return next(member for member in cluster.replicas.members if member != leader)


async def damaged(cluster: Cluster, keeper: Keeper, member: Member, damage: Damage) -> None:
    await kill(cluster, member)
    damage(cluster, member)
    keeper.member_died(member)


def told(name: str, writers: Writers) -> str:
    return (
        f"{name}: {writers.longest_pause:.1f} s without a write, "
        f"{len(writers.acknowledged)} acknowledged, 0 lost"
    )


@in_many_rounds
@pytest.mark.parametrize("damage", [control_file_missing, control_file_rubbish, catalogues_rubbish, log_torn])
async def test_a_standby_with_damaged_data_gets_a_new_copy_while_writes_go_on(
    cluster: Cluster, writers: Writers, damage: Damage, capsys: pytest.CaptureFixture[str]
) -> None:
    async with kept(cluster) as keeper:
        standby = await standby_of(cluster)
        await writers.during(damaged(cluster, keeper, standby, damage), after=5)
        await cluster.complete(WHOLE_SECONDS)
        assert await writers.lost() == set()
        assert keeper.failovers == []
    if damage is not log_torn:  # what the leader still has of it is streamed again
        assert any(standby.name in one for one in keeper.mended)
    tell(capsys, told(f"a standby, {damage.__name__}", writers))


@in_many_rounds
@pytest.mark.parametrize(
    "damage",
    [control_file_missing, control_file_rubbish, catalogues_rubbish, log_torn, last_record_torn],
)
async def test_a_leader_with_damaged_data_is_replaced_at_once_and_gets_a_new_copy(
    cluster: Cluster, writers: Writers, damage: Damage, capsys: pytest.CaptureFixture[str]
) -> None:
    async with kept(cluster) as keeper:
        leader = await cluster.leader()
        await writers.during(damaged(cluster, keeper, leader, damage), after=10)
        await cluster.complete(WHOLE_SECONDS)
        assert await writers.lost() == set()
        assert (await cluster.leader()) != leader
        tell(capsys, f"{told(f'the leader, {damage.__name__}', writers)}; {keeper.mended}")


@in_many_rounds
async def test_a_leader_whose_pages_fail_their_checksum_hands_over_and_gets_a_new_copy(
    cluster: Cluster, writers: Writers, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = await Database.open(cluster.target(OWNER), max_size=1)
    await owner.execute(
        "create table troth.large as select repeat('x', 900) as t from generate_series(1, 99000)"
    )
    where = await owner.fetchval("select pg_relation_filepath('troth.large')")
    async with kept(cluster) as keeper:
        leader = await cluster.leader()

        async def spoil_and_read() -> None:
            spoil_pages(leader.data / where, 10, 5)  # far more than fits in memory was read after them
            with pytest.raises(asyncpg.DataCorruptedError, match="invalid page"):
                await owner.fetchval("select count(*) from troth.large")

        await writers.during(spoil_and_read(), after=10)
        await until(lambda: any(leader.name in one and "anew" in one for one in keeper.mended), WHOLE_SECONDS)
        await cluster.complete(WHOLE_SECONDS)
        assert await writers.lost() == set()
        assert "checksum" in keeper.failovers[0].cause
        assert await owner.fetchval("select count(*) from troth.large") == 99000
        await owner.execute("drop table troth.large")
    await owner.close()
    tell(capsys, told("pages of the leader spoiled", writers))


@pytest.mark.parametrize("missing", [2000, pytest.param(0, marks=in_many_rounds)])
async def test_a_power_cut_that_tears_the_leaders_log_loses_nothing(
    cluster: Cluster, writers: Writers, missing: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk said that it had the end of the log, and had not: only the standbys have it."""
    leader = await cluster.leader()
    torn: list[str] = []

    async def look() -> None:
        torn.extend(await set_torn_aside(cluster.replicas, cluster.consensus))

    await writers.during(cluster.stop(signal.SIGKILL), after=0)
    await until(lambda: not any(working_in(one.data) for one in cluster.replicas.members), 30.0)
    others = [one.data for one in cluster.replicas.members if one.name != leader.name]
    tear(cluster.replicas.binaries, leader.data, missing, others)
    cluster.describe()
    await cluster.start(before_members=look)
    assert torn == [leader.name]
    async with mended(cluster):
        await cluster.complete(WHOLE_SECONDS)
    again = await Database.open(cluster.target(OWNER), max_size=1)
    held = {row["id"] for row in await again.fetch("select id from troth.note")}
    await again.close()
    assert writers.acknowledged
    assert writers.acknowledged <= held
    assert (await cluster.leader()).name != leader.name
    tell(
        capsys,
        f"everything killed, {missing} bytes torn off: {len(writers.acknowledged)} acknowledged, 0 lost",
    )


@in_many_rounds
async def test_two_leaders_lost_one_after_the_other_cost_no_write(
    cluster: Cluster, writers: Writers, capsys: pytest.CaptureFixture[str]
) -> None:
    async with kept(cluster) as keeper:

        async def lose_two() -> None:
            first = await cluster.leader()
            cluster.kill_postgres(first)
            await until(lambda: len(keeper.failovers) == 1, 60.0)
            second = cluster.replicas.member(keeper.failovers[0].new)
            cluster.kill_postgres(second)
            await until(lambda: len(keeper.failovers) == 2, 120.0)

        await writers.during(lose_two(), after=10)
        await cluster.complete(WHOLE_SECONDS)
        assert await writers.lost() == set()
    tell(capsys, told("two leaders in a row", writers))


@in_many_rounds
async def test_a_minute_without_the_consensus_store_costs_no_write(
    cluster: Cluster, writers: Writers, capsys: pytest.CaptureFixture[str]
) -> None:
    async with kept(cluster) as keeper:

        async def take_away() -> None:
            await cluster.stop_consensus()
            await asyncio.sleep(60)
            cluster.start_consensus()

        await writers.during(take_away(), after=10)
        await cluster.complete(WHOLE_SECONDS)
        assert await writers.lost() == set()
        assert keeper.mended == []
        assert keeper.fenced == []
    tell(capsys, told("the consensus store away for a minute", writers))


@in_many_rounds
async def test_a_leader_lost_while_the_consensus_store_is_away_stops_writes_and_loses_none(
    cluster: Cluster, writers: Writers, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody may be elected without the store: writes stop until it is back, and go on then."""
    async with kept(cluster) as keeper:
        leader = await cluster.leader()

        async def take_away_and_kill() -> None:
            await cluster.stop_consensus()
            cluster.kill_postgres(leader)
            await asyncio.sleep(10)
            assert keeper.failovers == []
            cluster.start_consensus()

        await writers.during(take_away_and_kill(), after=15)
        await cluster.complete(WHOLE_SECONDS)
        assert await writers.lost() == set()
    tell(capsys, told("the leader lost while the store was away for 10 s", writers))
