"""Whether processes run, read from /proc (proc(5)), and word of the end of one that is no child of ours."""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from troth.hosting import processes
from troth.hosting.processes import Process

_PROC = Path("/proc")
_HELD = (b"T", b"t")
_RUNNABLE = b"R"


class Activity(msgspec.Struct, frozen=True):
    """Some processes at one moment. `stopped`: one of them is held by SIGSTOP or a debugger. `waiting`: one
    of them runs, or could and has no processor. `counts`: for each the ticks of processor time and the
    switches to it so far, which grow as soon as it runs."""

    stopped: bool
    waiting: bool
    counts: frozenset[tuple[int, int]]


def activity(members: Iterable[Process]) -> Activity:
    """How these processes stand now; those that have ended are left out."""
    rows = [row for row in map(_row, members) if row is not None]
    states = {state for _, _, state in rows}
    counts = frozenset((pid, count) for pid, count, _ in rows)
    return Activity(stopped=not states.isdisjoint(_HELD), waiting=_RUNNABLE in states, counts=counts)


def family(pid: int) -> tuple[Process, ...]:
    """A process and everything below it."""
    return processes.descendants({pid}, processes.everything())


def works_long(pid: int, seconds: float) -> bool:
    """Whether something below this process has lived for so many seconds, and so is more than an attempt."""
    born_before = (time.clock_gettime(time.CLOCK_BOOTTIME) - seconds) * os.sysconf("SC_CLK_TCK")
    return any(one.pid != pid and one.started <= born_before for one in family(pid))


def working_in(folder: Path) -> tuple[Process, ...]:
    """Every process that stands in this very folder, whoever its parent is now."""
    place = folder.resolve()
    return tuple(one for one in processes.everything() if _place(one) == place)


class EndWatch:
    """Calls back at the end of one process, whosever child it is, at once and without polling."""

    def __init__(self, process: Process, on_end: Callable[[], None]) -> None:
        self.process = process
        self._on_end = on_end
        self._descriptor: int | None = os.pidfd_open(process.pid)
        now = processes.read(process.pid)
        if now is None or now.started != process.started:
            self.close()
            raise ProcessLookupError(process.pid)
        asyncio.get_running_loop().add_reader(self._descriptor, self._note)

    def close(self) -> None:
        """Watch no more."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)

    def _note(self) -> None:
        self.close()
        self._on_end()


def _row(process: Process) -> tuple[int, int, bytes] | None:
    folder = _PROC / str(process.pid)
    try:
        stat = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        status = (folder / "status").read_text()
    except OSError:
        return None
    switches = sum(
        int(line.split()[1])
        for line in status.splitlines()
        if line.startswith(("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"))
    )
    return process.pid, int(stat[11]) + int(stat[12]) + switches, stat[0]


def _place(process: Process) -> Path | None:
    try:
        return (_PROC / str(process.pid) / "cwd").readlink()
    except OSError:
        return None
