"""A restore against a plain copy of the same bytes, and the time of a drill against the database's size.

`python -m bench.restore [MEGABYTES …]`; left out: 10 and 100. With 500 and 2000 it takes minutes, and of 2000
some 20 GB of room. The copy is of the opened data folder, flushed to the disk; ours fetches from a folder,
checks, opens, unpacks and verifies it, and flushes it as well. Memory is the peak of this process in the
restore, against before it.

Nothing is deleted before the last copy: where a thousand files were deleted a moment ago, ext4 takes three
times as long to make new ones (it does not use an inode again for a minute), whoever makes them.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import msgspec
import psutil

from bench.results import Entry, entry, record
from support.backup_site import Site, say_nothing
from troth.core.secret import Secret
from troth.data.backups.fetching import Objects
from troth.data.backups.manifest import WAL
from troth.data.backups.planning import plan_restore
from troth.data.backups.restoring import Restoring, Workplace
from troth.data.postgres import find_binaries
from troth.data.recovery import backup_key
from troth.data.stores.folder import FolderStore
from troth.hosting import isolation
from troth.hosting.programs import Programs

SIZES = (10, 100)
"""Megabytes of rows, half of them random."""

RUNS = 3
RUNS_OF_MANY = 2
"""From MANY megabytes on: a run takes a minute."""

MANY = 1000
AIM = 0.6
MEMORY_AIM = 2.0
DRILL_SECONDS = 120.0
"""A drill must be over long before the next backup: sixty minutes later by default."""

FILL = """
create table troth.filler as
select n, repeat(md5(n::text), 12) || array_to_string(array(
    select md5(random()::text || n::text || m::text) from generate_series(1, 12) as m
), '') as text from generate_series(1, {rows}) as n
"""
_ROWS_OF_A_MEGABYTE = 1250


async def restored(site: Site, run: int) -> tuple[float, int, float]:
    """Seconds until the data folder stands on the disk, its bytes, and by how much memory grew at most."""
    place = Workplace(
        root=site.folder / f"restore-{run}",
        sockets=site.folder / "r",
        log=site.folder / "restore.log",
        binaries=find_binaries(None),
        durable=True,
    )
    objects = Objects(site.store, backup_key(site.recovery))
    plan = plan_restore(await objects.catalogue(), await site.store.list(WAL), None)
    programs = Programs(site.folder, isolation.inside(False))
    process = psutil.Process()
    before, growth = process.memory_info().rss, 1.0
    began = time.perf_counter()
    work = asyncio.create_task(Restoring(programs.start, objects, place, say_nothing).bring(plan))
    while not work.done():
        await asyncio.wait((work,), timeout=0.1)
        growth = max(growth, process.memory_info().rss / before)
    work.result()
    return time.perf_counter() - began, plan.backup.plain, growth


def copied(site: Site, run: int) -> float:
    """Seconds of a plain copy of what was restored, flushed to the disk."""
    source, target = site.folder / f"restore-{run}" / "data", site.folder / f"copy-{run}"
    began = time.perf_counter()
    shutil.copytree(source, target)
    subprocess.run(("sync", "-f", str(target)), check=True)
    return time.perf_counter() - began


async def measure(megabytes: int) -> tuple[Entry, ...]:
    """The three figures for a database of about so many megabytes."""
    with tempfile.TemporaryDirectory(prefix="troth-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        for part in ("server", "keys", "r"):
            (folder / part).mkdir(mode=0o700)
        site = Site(folder, await FolderStore.open(folder / "store"), Secret(os.urandom(32)))
        try:
            await site.prepare(FILL.format(rows=megabytes * _ROWS_OF_A_MEGABYTE))
            pairs, growth, drills = list[tuple[float, float]](), 1.0, list[tuple[float, float]]()
            runs = RUNS if megabytes < MANY else RUNS_OF_MANY
            for run in range(runs):
                seconds, size, grew = await restored(site, run)
                pairs.append((size / 1e6 / seconds, size / 1e6 / copied(site, run)))
                growth = max(growth, grew)
            for _ in range(runs):
                drilled = await site.drill()
                assert drilled.passed, msgspec.to_builtins(drilled)
                drills.append((drilled.seconds, DRILL_SECONDS))
        finally:
            site.server.stop()
    return (
        entry(f"restore.{megabytes}-MB against a plain copy", pairs, aim=AIM, unit="MB/s"),
        entry(f"restore.{megabytes}-MB drill", drills, aim=1.0, unit="s", at_least=False),
        entry(
            f"restore.{megabytes}-MB memory against before",
            [(growth, 1.0)],
            aim=MEMORY_AIM,
            unit="ratio",
            at_least=False,
        ),
    )


async def compare(sizes: tuple[int, ...]) -> tuple[Entry, ...]:
    """One size after the other."""
    return tuple([one for size in sizes for one in await measure(size)])


if __name__ == "__main__":
    record(*asyncio.run(compare(tuple(map(int, sys.argv[1:])) or SIZES)))
