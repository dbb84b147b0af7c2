"""Reading /proc (proc(5)) and signalling without ever hitting a process that took over a number.

Every process of the platform carries a mark in its environment, which its children inherit through double
forks and new sessions: PostgreSQL, started by Patroni in a session of its own, is found by it.
"""

import os
import select
import signal
from collections.abc import Iterable
from pathlib import Path

import msgspec

MARK = "TROTH_PROCESS"
"""The environment variable: `STATE FOLDER|NAME|SERIAL|`."""

_PROC = Path("/proc")


class Process(msgspec.Struct, frozen=True):
    """One row of /proc. `started` (clock ticks since boot) tells it from a later process of its number."""

    pid: int
    parent: int
    group: int
    started: int


def read(pid: int) -> Process | None:
    """The process of this number; None when there is none, or when it is dead and only waits to be reaped."""
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    state, parent, group, *rest = text.rpartition(b")")[2].split()
    return None if state in (b"Z", b"X") else Process(pid, int(parent), int(group), int(rest[16]))


def everything() -> tuple[Process, ...]:
    """Every living process that this one can see."""
    found = (read(int(entry)) for entry in os.listdir(_PROC) if entry.isdigit())  # noqa: PTH208 - half the time
    return tuple(process for process in found if process is not None)


def mark(state: Path, name: str, serial: int) -> str:
    """The value of the mark of one start of one process. Its last bar keeps serial 1 from matching 12."""
    return f"{state}|{name}|{serial}|"


def prefix(state: Path) -> str:
    """What the marks of every process of a platform begin with."""
    return f"{state}|"


def mark_of(process: Process) -> str:
    """The mark it was started with; empty when there is none or it belongs to somebody else."""
    try:
        environment = (_PROC / str(process.pid) / "environ").read_bytes()
    except OSError:
        return ""
    name = f"{MARK}=".encode()
    return next((os.fsdecode(e[len(name) :]) for e in environment.split(b"\0") if e.startswith(name)), "")


def marked(beginning: str, among: Iterable[Process] | None = None) -> tuple[Process, ...]:
    """The processes whose mark begins so, and all of their descendants."""
    rows = tuple(everything() if among is None else among)
    roots = {process.pid for process in rows if mark_of(process).startswith(beginning)}
    return descendants(roots, rows)


def descendants(roots: set[int], rows: Iterable[Process]) -> tuple[Process, ...]:
    """`roots` and everything below them."""
    rows, found = tuple(rows), set(roots)
    while more := {row.pid for row in rows if row.parent in found} - found:
        found |= more
    return tuple(row for row in rows if row.pid in found)


def numbers_from_outside(state: Path) -> dict[int, int]:
    """The platform's number of each of its processes → the number that it has here (NSpid, proc(5)).

    In a PID namespace the keeper knows process 39 of its own; here 39 is somebody else's, and whoever sent it
    a signal would hit that one.
    """
    rows = marked(prefix(state))
    return {inner: row.pid for row in rows if (inner := _innermost_number(row)) is not None}


def leftovers(state: Path) -> tuple[Process, ...]:
    """What an earlier platform on this state folder left running, of the present user alone.

    A person's shell or editor that merely stands in the folder is not one: a process counts by its mark, or
    because it works inside a data folder without a terminal (PostgreSQL's children overwrite their mark).
    """
    own = tuple(row for row in everything() if _is_own(row) and row.pid != os.getpid())
    by_mark = {row.pid for row in marked(prefix(state), own)}
    data = (state / "members", state / "consensus")
    return tuple(row for row in own if row.pid in by_mark or _works_inside(row, data))


def send(process: Process, number: signal.Signals) -> bool:
    """Signal exactly this process: a number reused since it was read is left alone. False when it is gone."""
    descriptor = _open(process)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def wait_until_gone(processes: Iterable[Process], seconds: float) -> tuple[Process, ...]:
    """Block until they have ended; returns those still there after so many seconds for each."""
    return tuple(process for process in processes if not _wait(process, seconds))


def end(processes: Iterable[Process], seconds: float = 5.0) -> tuple[Process, ...]:
    """SIGKILL them and wait; returns those that would not go (stuck in the kernel)."""
    killed = [process for process in processes if send(process, signal.SIGKILL)]
    return wait_until_gone(killed, seconds)


def memory(process: Process) -> int:
    """Its proportional set size in bytes: pages shared by n processes count 1/n. 0 when it cannot be seen."""
    try:
        rollup = (_PROC / str(process.pid) / "smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))


def _innermost_number(process: Process) -> int | None:
    try:
        status = (_PROC / str(process.pid) / "status").read_text()
    except OSError:
        return None
    return next((int(line.split()[-1]) for line in status.splitlines() if line.startswith("NSpid:")), None)


def _wait(process: Process, seconds: float) -> bool:
    descriptor = _open(process)
    if descriptor is None:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def _open(process: Process) -> int | None:
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return None
    now = read(process.pid)
    if now is None or now.started != process.started:
        os.close(descriptor)
        return None
    return descriptor


def _is_own(process: Process) -> bool:
    try:
        return (_PROC / str(process.pid)).stat().st_uid == os.geteuid()
    except OSError:
        return False


def _works_inside(process: Process, folders: tuple[Path, ...]) -> bool:
    try:
        where = (_PROC / str(process.pid) / "cwd").readlink()
    except OSError:
        return False
    return any(where.is_relative_to(folder) for folder in folders) and not _has_terminal(process)


def _has_terminal(process: Process) -> bool:
    try:
        text = (_PROC / str(process.pid) / "stat").read_bytes()
    except OSError:
        return False
    return text.rpartition(b")")[2].split()[4] != b"0"
