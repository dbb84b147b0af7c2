"""A replica set whose members each have a small disk of their own, one of which becomes full under load.

Run as `python -m support.full_disk FOLDER WHOSE LEFT` inside `unshare --mount` (and `--user --map-root-user`
for who is not root): the disks are tmpfs, in a mount namespace that is gone with its processes. WHOSE is
`leader` or `standby`, LEFT how many bytes of it stay free. Prints what was seen as JSON.
"""

import asyncio
import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from support.keeping import kept
from support.replicas import Cluster
from support.writers import Writers
from troth.core.db import Database
from troth.data.failovers import Failover
from troth.data.replicas import Member
from troth.data.roles import OWNER
from troth.wiring.mending import free_bytes

SECONDS = 800.0
"""For a hang alone."""

DISK = 512 << 20
_FULL_SECONDS = 15


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen. `whole` is how many seconds it took from when there was room again."""

    member: str
    pause: float
    acknowledged: int
    lost: int
    failovers: tuple[Failover, ...]
    remarks: dict[str, str]
    mended: tuple[str, ...]
    whole: float


def in_a_namespace(folder: Path, whose: str, left: int) -> Report:
    """Run it as whoever we are."""
    own_user = ("--user", "--map-root-user") if os.geteuid() else ()
    argv = ("unshare", "--mount", *own_user, sys.executable, "-m", "support.full_disk")
    done = subprocess.run(
        (*argv, str(folder), whose, str(left)),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Report)


async def fill(folder: Path, whose: str, left: int) -> Report:
    """The whole of it."""
    cluster = Cluster(folder)
    for member in cluster.replicas.members:
        _mount_disk(member.folder)
    try:
        await cluster.start()
        await cluster.prepare()
        owner = await Database.open(cluster.target(OWNER), max_size=4)
        await owner.execute("create table troth.note (id bigint primary key)")
        try:
            return await _fill_under_load(cluster, Writers(owner), whose, left)
        finally:
            await owner.close()
    finally:
        await cluster.stop()


async def _fill_under_load(cluster: Cluster, writers: Writers, whose: str, left: int) -> Report:
    async with kept(cluster) as keeper:
        leader = await cluster.leader()
        chosen = next(one for one in cluster.replicas.members if (one == leader) == (whose == "leader"))

        async def fill_up() -> None:
            _fill_up(chosen, left)

        await writers.during(fill_up(), after=_FULL_SECONDS)
        remarks, failovers = dict(keeper.remarks), tuple(keeper.failovers)
        _filler(chosen).unlink()
        began = time.monotonic()
        await cluster.complete(SECONDS / 2)
        return Report(
            member=chosen.name,
            pause=writers.longest_pause,
            acknowledged=len(writers.acknowledged),
            lost=len(await writers.lost()),
            failovers=failovers,
            remarks=remarks,
            mended=tuple(keeper.mended),
            whole=time.monotonic() - began,
        )


def _filler(member: Member) -> Path:
    return member.folder / "filler"


def _fill_up(member: Member, left: int) -> None:
    with _filler(member).open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free_bytes(member.folder) - left))


def _mount_disk(folder: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={DISK},mode=0700".encode()
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options):
        raise OSError(ctypes.get_errno(), f"no disk for {folder}")


if __name__ == "__main__":
    told = asyncio.run(fill(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
    print(msgspec.json.encode(told).decode())  # noqa: T201 - read by the test
