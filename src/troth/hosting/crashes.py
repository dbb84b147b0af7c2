"""Logs bounded in size, and what is kept of a process that ended unasked."""

import os
from datetime import datetime
from pathlib import Path
from signal import Signals

import msgspec

from troth.core.clock import to_wire
from troth.core.process import ProcessSpec

LOG_LIMIT = 8 << 20
"""Bytes a log grows to before its older half moves away; there is one older piece."""

TAIL = 32 << 10
"""Bytes of log kept with a crash."""

KEPT = 20
"""Crashes kept for each process."""


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How one run of a process ended. `status` is the exit status, or minus the signal's number.

    `evidence` is the file that keeps the last lines of the log; None when the end was asked for. `cause` is
    what else is known of it.
    """

    name: str
    pid: int
    status: int
    uptime: float
    at: datetime
    asked: bool
    evidence: Path | None = None
    cause: str = ""


def open_log(path: Path) -> int:
    """A descriptor that appends to `path`, readable by the owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def bound_log(path: Path, limit: int = LOG_LIMIT) -> bool:
    """Move what a log holds to `path.1` once it exceeds `limit` bytes; True when that was done.

    The writer keeps its descriptor (opened to append): lines written between the copy and the cut are lost.
    Where the disk has no room for the copy there is none: cutting the log makes room.
    """
    if not path.exists() or path.stat().st_size <= limit:
        return False
    older = path.with_name(f"{path.name}.1")
    try:
        older.touch(mode=0o600)
        older.write_bytes(tail(path, limit))
    except OSError:
        older.unlink(missing_ok=True)
    os.truncate(path, 0)
    return True


def tail(path: Path, size: int) -> bytes:
    """The last `size` bytes of a file, from the start of a line; empty when there is no file."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - size))
        text = file.read(size)
    return text if length <= size else text.partition(b"\n")[2]


def keep_crash(folder: Path, spec: ProcessSpec, end: Exit) -> Path:
    """Write down how a process ended and the last lines of its logs; the oldest crashes make room."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{spec.name}-{end.at:%Y%m%dT%H%M%S.%f}.txt"
    how = f"{tell(end)} after {end.uptime:.1f} s"
    head = f"{to_wire(end.at)} {spec.name}, process {end.pid}, {how}\n"
    command = f"command: {' '.join(spec.argv)}\n\n"
    path.touch(mode=0o600)
    logs = (spec.log, spec.own_log) if spec.own_log is not None else (spec.log,)
    path.write_bytes(head.encode() + command.encode() + b"".join(tail(log, TAIL) for log in logs))
    for old in sorted(folder.glob(f"{spec.name}-*.txt"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def tell(end: Exit) -> str:
    """An end in words, with its cause if one is known."""
    return f"{describe(end.status)} ({end.cause})" if end.cause else describe(end.status)


def describe(status: int) -> str:
    """An exit status in words, e.g. `left with status 3` or `was ended by SIGKILL`."""
    if status >= 0:
        return f"left with status {status}"
    known = -status in {number.value for number in Signals}
    return f"was ended by {Signals(-status).name if known else f'signal {-status}'}"
