"""How long nobody can write when the leader is lost, and what it costs that a quorum confirms each write.

`python -m bench.replicas [RUNS]`; left out: 10 of each. Three members under the keeper's watch, and four
writers that never repeat a write, straight to the set; the time is the longest without an acknowledged write.
A lost one ends the run with an error. For the cost the same writers write to three members and to one, in
turns.
"""

import asyncio
import logging
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from bench.results import Entry, entry, record
from support.keeping import Keeper, kept
from support.replicas import Cluster
from support.waiting import until
from support.writers import Writers
from troth.core.db import Database
from troth.data.replicas import Member
from troth.data.roles import OWNER

RUNS = 10
AFTER = 2.0
"""Seconds of writing after writes have come back."""

LONGEST = 180.0
"""Seconds without a write after which the program ends with an error."""

WRITING = 5.0
"""Seconds of each part of a pair."""

QUORUM_AIM = 0.5
"""Writes a second of three members against one that has nobody to wait for."""

_WHOLE = 300.0
_CLIENTS = 4

Fault = Callable[[Cluster, Keeper, Member], Awaitable[None]]


async def kill_postgres(cluster: Cluster, _: Keeper, leader: Member) -> None:
    cluster.kill_postgres(leader)


async def kill_member(cluster: Cluster, keeper: Keeper, leader: Member) -> None:
    cluster.kill_member(leader)
    keeper.member_died(leader)


async def freeze(cluster: Cluster, _: Keeper, leader: Member) -> None:
    cluster.freeze(leader)


async def hand_over(cluster: Cluster, keeper: Keeper, leader: Member) -> None:
    keeper.watch.expect("asked for")
    await cluster.switch_over(leader)


FAULTS: dict[str, tuple[Fault, float]] = {
    "replicas.postgres-killed": (kill_postgres, 3.0),
    "replicas.member-killed": (kill_member, 3.0),
    "replicas.frozen": (freeze, 8.0),
    "replicas.handed-over": (hand_over, 1.5),
}
"""Name → what happens to the leader, and how many seconds it may cost."""


@asynccontextmanager
async def running(folder: Path, members: int) -> AsyncGenerator[tuple[Cluster, Database]]:
    """A set with a table to write to."""
    cluster = Cluster(folder, members=members)
    try:
        await cluster.start()
        await cluster.prepare()
        database = await Database.open(cluster.target(OWNER), max_size=_CLIENTS)
        await database.execute("create table troth.note (id bigint primary key)")
        try:
            yield cluster, database
        finally:
            await database.close()
    finally:
        await cluster.stop()


async def lose(cluster: Cluster, database: Database, fault: Fault) -> float:
    """Seconds without an acknowledged write. Ends the program when an acknowledged one is lost."""
    async with kept(cluster) as keeper:
        writers = Writers(database)
        leader = await cluster.leader()

        async def between_writes() -> None:
            await written(writers)
            writers.longest_pause = 0.0
            await fault(cluster, keeper, leader)
            await until(lambda: keeper.watch.leader not in (None, leader.name), LONGEST)
            await written(writers)

        await writers.during(between_writes(), after=AFTER)
        await cluster.complete(_WHOLE)
        lost = await writers.lost()
    if lost:
        raise SystemExit(f"{len(lost)} of {len(writers.acknowledged)} acknowledged writes were lost.")
    return writers.longest_pause


async def written(writers: Writers) -> None:
    """Wait for the next acknowledged write."""
    before = len(writers.acknowledged)
    await until(lambda: len(writers.acknowledged) > before, LONGEST)


async def write(database: Database) -> float:
    """Acknowledged writes a second."""
    writers = Writers(database)
    await writers.during(asyncio.sleep(0), after=WRITING)
    return len(writers.acknowledged) / (1.0 + WRITING)


async def compare(runs: int) -> tuple[Entry, ...]:
    """All figures."""
    with tempfile.TemporaryDirectory(prefix="troth-bench-") as name:
        folder = Path(name)
        for place in ("three", "one"):
            (folder / place).mkdir()
        async with running(folder / "three", 3) as (cluster, database):
            async with running(folder / "one", 1) as (_, alone):
                await cluster.complete(_WHOLE)
                quorum = [(await write(database), await write(alone)) for _ in range(runs)]
            found = [
                entry("replicas.quorum", quorum, aim=QUORUM_AIM, unit="writes/s"),
            ]
            for what, (fault, aim) in FAULTS.items():
                pauses: list[float] = []
                for _ in range(runs):
                    pauses.append(await lose(cluster, database, fault))
                    print(f"  {what}: {pauses[-1]:.2f} s", flush=True)
                pairs = [(one, aim) for one in pauses]
                found.append(entry(what, pairs, aim=1.0, unit="s", at_least=False))
    return tuple(found)


if __name__ == "__main__":
    # A writer that is stopped leaves calls behind whose end nobody asks for: they are the fault's, and many.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    record(*asyncio.run(compare(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)))
