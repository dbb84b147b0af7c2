"""A member whose clock jumps by an hour, and back: nothing acknowledged is lost, and writes go on."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.clocks import find_library, give_clocks, jump
from support.keeping import kept
from support.replicas import Cluster
from support.rounds import in_many_rounds, tell
from support.writers import Writers
from troth.core.db import Database
from troth.data.roles import OWNER

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900), in_many_rounds]

HOUR = timedelta(hours=1)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncGenerator[Cluster]:
    """Three members, each with a clock of its own."""
    library = find_library()
    if library is None:
        pytest.skip("libfaketime is missing: make faketime")
    running = Cluster(tmp_path)
    give_clocks(running, library)
    try:
        await running.start()
        await running.prepare()
        owner = await Database.open(running.target(OWNER), max_size=1)
        await owner.execute("create table troth.note (id bigint primary key)")
        await owner.close()
        yield running
    finally:
        await running.stop()


@pytest.mark.parametrize("whose", ["leader", "standby"])
async def test_a_clock_that_jumps_an_hour_ahead_and_back_costs_no_write(
    cluster: Cluster, writers: Writers, whose: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with kept(cluster) as keeper:
        leader = await cluster.leader()
        chosen = next(one for one in cluster.replicas.members if (one == leader) == (whose == "leader"))
        database = await Database.open(cluster.target(OWNER), max_size=1)

        async def jump_there_and_back() -> None:
            jump(chosen, HOUR)
            await asyncio.sleep(8)
            if whose == "leader" and not keeper.failovers:
                ahead = await database.fetchval(
                    "select extract(epoch from clock_timestamp() - $1)", datetime.now(UTC)
                )
                assert ahead > 3000  # the clock did jump
            jump(chosen, timedelta())
            await asyncio.sleep(8)

        await writers.during(jump_there_and_back(), after=5)
        await cluster.complete()
        assert await writers.lost() == set()
        await database.close()
        tell(
            capsys,
            f"clock of the {whose} an hour ahead and back: {writers.longest_pause:.1f} s without a write, "
            f"{len(writers.acknowledged)} acknowledged, 0 lost; {[one.cause for one in keeper.failovers]}, "
            f"ended {keeper.fenced}, mended {keeper.mended}",
        )
