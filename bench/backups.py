"""A base backup into a folder, against plain `pg_basebackup` of the same cluster to the same disk.

`python -m bench.backups`. One member under Patroni with a database of about SIZE; both read over TLS, ours
compresses, seals and hashes as well. Memory is that of this process, which does all of it.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import psutil

from bench.results import Entry, entry, record
from support.replicas import Cluster
from support.vaults import SLOT, Backups, running
from troth.data.backups.tool import BASE
from troth.data.stores.folder import FolderStore

RUNS = 5
ROWS = 600_000
"""Of about 800 bytes, half of them random: a database of some 500 MB that compresses as real ones do. What a
backup costs at any size, as its list of files and the wait for its log, is a fifth of a second."""

FILL = """
insert into filler
select n, repeat(md5(n::text), 12) || array_to_string(array(
    select md5(random()::text || n::text || m::text) from generate_series(1, 12) as m
), '') from generate_series(1, 20000) as n
"""
AIM = 0.6
MEMORY_AIM = 1.5
"""Peak memory during a backup, against before it: constant means that the database's size is not in it."""


def plain(backups: Backups, folder: Path) -> None:
    """`pg_basebackup` as one would call it, its tar flushed to the disk."""
    member = backups.cluster.replicas.members[0]
    access = backups.access
    subprocess.run(
        (
            access.binaries.program("pg_basebackup"),
            *("-D", str(folder), "--format=tar", "--wal-method=none", "--checkpoint=fast", "--no-password"),
            *("-d", access.connection((member.postgres,), BASE)),
        ),
        env=access.environment,
        check=True,
        capture_output=True,
    )


async def measure(backups: Backups, folder: Path) -> tuple[list[tuple[float, float]], float]:
    """Megabytes a second of each pair (ours, plain), and by how much memory grew at most."""
    process, pairs, growth = psutil.Process(), list[tuple[float, float]](), 0.0
    await backups.take()  # what is loaded once is loaded by now
    before = process.memory_info().rss
    for run in range(RUNS):
        began = time.perf_counter()
        taking = asyncio.create_task(backups.take())
        while not taking.done():
            await asyncio.wait((taking,), timeout=0.2)
            growth = max(growth, process.memory_info().rss / before)
        ours = time.perf_counter() - began
        size = taking.result().plain / 1e6
        began = time.perf_counter()
        await asyncio.to_thread(plain, backups, folder / f"plain-{run}")
        pairs.append((size / ours, size / (time.perf_counter() - began)))
    return pairs, growth


async def compare() -> tuple[Entry, ...]:
    """Both figures."""
    with tempfile.TemporaryDirectory(prefix="troth-bench-") as name:
        folder = Path(name)
        (folder / "cluster").mkdir()
        cluster = Cluster(folder / "cluster", members=1, slots=(SLOT,))
        try:
            await cluster.start()
            await cluster.prepare()
            store = await FolderStore.open(folder / "store")
            async with running(cluster, store, folder / "spool") as backups:
                await backups.superuser.execute("create table filler (n bigint, text text)")
                for _ in range(ROWS // 20_000):  # each within the time that one statement may take
                    await backups.superuser.execute(FILL)
                pairs, growth = await measure(backups, folder)
        finally:
            await cluster.stop()
    return (
        entry("base backup against plain pg_basebackup", pairs, aim=AIM, unit="MB/s"),
        entry(
            "memory while a base backup is taken, against before it",
            [(growth, 1.0)],
            aim=MEMORY_AIM,
            unit="ratio",
            at_least=False,
        ),
    )


if __name__ == "__main__":
    record(*asyncio.run(compare()))
