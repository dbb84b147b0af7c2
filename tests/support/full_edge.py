"""An edge, or instances, whose state and logs lie on a small disk that becomes full under load.

Run as `python -m support.full_edge WHAT FOLDER` (`edge` or `instances`) inside `unshare --mount` (and `--user
--map-root-user` for who is not root): the disk is a tmpfs, in a mount namespace that is gone with its
processes. Prints what was seen.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from support.edge import World
from support.others import Others, others
from support.waiting import until
from support.ward import open_ward
from troth.hosting import isolation
from troth.hosting.supervisor import Supervisor
from troth.hosting.watch.rules import judge
from troth.wiring.watching import MachineWatch

SECONDS = 200.0
"""For a hang alone."""

DISK = 16 << 20


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen. `back`: how many seconds after its death who was killed served again, the disk still
    full; `written_afterwards`: whether the access log went on once there was room; `deeds`: what was done
    about instances that seemed ill."""

    asked_while_full: int
    lost_while_full: int
    back: float
    alarms: tuple[str, ...] = ()
    written_afterwards: bool = False
    deeds: tuple[str, ...] = ()


def in_a_namespace(folder: Path, what: str) -> Report:
    """Run it as whoever we are."""
    own_user = ("--user", "--map-root-user") if os.geteuid() else ()
    argv = ("unshare", "--mount", *own_user, sys.executable, "-m", "support.full_edge", what, str(folder))
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=Path(__file__).parents[1]
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Report)


async def run(what: str, folder: Path) -> Report:
    """The whole of it."""
    disk = folder / "disk"
    disk.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", 0, f"size={DISK},mode=0700".encode()):
        raise OSError(ctypes.get_errno(), f"no disk for {disk}")
    return await (fill_the_edges if what == "edge" else fill_the_instances)(disk)


async def fill_the_edges(disk: Path) -> Report:
    """The edge serves while it is full, is killed, and serves again."""
    world = World(disk)
    supervisor = Supervisor(disk, disk / "crashes", isolation.probe())
    try:
        await world.start(edge=False)
        edge = supervisor.start(world.spec)
        await world.edge_listens()
        async with others(world) as before:
            await before.answered(20)
        filler = _fill_up(disk)
        async with others(world) as seen:
            await seen.answered(200)
            alarms = await _alarms(disk)
        edge.send(signal.SIGKILL)
        began = time.monotonic()
        await until(lambda: edge.restarts >= 1)
        await world.edge_listens()
        back = time.monotonic() - began
        async with others(world) as again:
            await again.answered(20)
        filler.unlink()
        size = world.state.access_log.stat().st_size
        async with others(world) as after:
            await after.answered(50)
        await until(lambda: world.state.access_log.stat().st_size > size)
        return Report(
            asked_while_full=_asked(seen) + _asked(again),
            lost_while_full=_lost(seen) + _lost(again),
            alarms=alarms,
            back=back,
            written_afterwards=True,
        )
    finally:
        await supervisor.stop_all()
        await world.stop()


async def fill_the_instances(disk: Path) -> Report:
    """Instances serve while it is full, one is killed and comes back."""
    async with open_ward(disk) as ward:
        before = len(ward.answers)
        _fill_up(disk)
        await ward.served(300)
        deeds = tuple(f"{one.name} {one.done}: {one.why}" for one in ward.tender.deeds)
        began = ward.send(signal.SIGKILL, ward.fleet.instances[0])
        back = await ward.whole() - began
        await ward.served(100)
        return Report(
            asked_while_full=len(ward.answers) - before,
            lost_while_full=len(ward.lost()),
            back=back,
            deeds=deeds,
        )


async def _alarms(disk: Path) -> tuple[str, ...]:
    look = await MachineWatch(disk, {"state": disk}).source().look()
    return tuple(sorted({fault.rule for fault in judge(look.samples) if "disk" in fault.rule}))


def _asked(seen: Others) -> int:
    return seen.statuses.total() + len(seen.failures)


def _lost(seen: Others) -> int:
    return _asked(seen) - seen.statuses[200]


def _fill_up(disk: Path) -> Path:
    """Nothing is left; returns what has to go for there to be room."""
    for note in disk.glob("*.jsonl"):  # what the upstreams of a test write is no part of the platform
        note.unlink()
        note.symlink_to(os.devnull)
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12):  # others write meanwhile, so that nobody knows how much is left
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
    return filler


if __name__ == "__main__":
    told = asyncio.run(run(sys.argv[1], Path(sys.argv[2])))
    print(msgspec.json.encode(told).decode())  # noqa: T201 - read by the test
