"""A leader whose log lost its end in a power cut, told by a standby that has more of it.

A leader sends a standby only what is on its own disk, so its log is never behind. Is it behind after a crash,
the disk had not kept what it said it had, and acknowledged writes are missing there. Left to itself such a
member would go on as the leader, since it still holds the lead, and the others would follow it into the loss.
"""

import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from troth.data.postgres import Binaries

_SECONDS = 120.0
_CHUNK, _TAIL = 1 << 20, 1 << 16
_STATE = re.compile(r"^Database cluster state:\s+(.+)$", re.MULTILINE)
_REDO = re.compile(r"^Latest checkpoint's REDO location:\s+([0-9A-F]+/[0-9A-F]+)$", re.MULTILINE)
_RECORD = re.compile(rb"\blsn: ([0-9A-F]+)/([0-9A-F]+),")
_SEGMENT = re.compile(r"^([0-9A-F]{8})[0-9A-F]{16}$")


class LogEnd(msgspec.Struct, frozen=True):
    """Where a log ends: its timeline, and the start of its last record that is whole. `led` says whether its
    member was a leader that crashed."""

    timeline: int
    last: int
    led: bool


def find_torn(ends: Mapping[str, LogEnd]) -> tuple[str, ...]:
    """The leaders whose log ends before that of a standby on the same timeline; pure."""
    return tuple(
        name
        for name, end in ends.items()
        if end.led
        and any(not one.led and one.timeline == end.timeline and one.last > end.last for one in ends.values())
    )


def crashed_as_leader(binaries: Binaries, data: Path) -> bool:
    """Whether this member led and did not stop in order."""
    return _led(_control(binaries, data))


def read_log_end(binaries: Binaries, data: Path) -> LogEnd | None:
    """Read the log of a member that does not run; None when it cannot be read."""
    told = _control(binaries, data)
    redo, timeline = _found(_REDO, told), _newest_timeline(data / "pg_wal")
    if not redo or timeline is None:
        return None
    records = _RECORD.findall(_last_records(binaries, data / "pg_wal", timeline, redo))
    if not records:
        return None
    high, low = records[-1]
    return LogEnd(timeline, int(high, 16) << 32 | int(low, 16), led=_led(told))


def _last_records(binaries: Binaries, folder: Path, timeline: int, start: str) -> bytes:
    """The last lines that pg_waldump has on the records from there on: it ends where one is not whole."""
    argv = [binaries.program("pg_waldump"), "-p", str(folder), "-t", str(timeline), "-s", start]
    tail, end = b"", time.monotonic() + _SECONDS
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={"LC_ALL": "C.UTF-8"}
    ) as process:
        assert process.stdout is not None
        while chunk := process.stdout.read(_CHUNK):
            tail = (tail + chunk)[-_TAIL:]
            if time.monotonic() > end:
                process.kill()
                return b""
    return tail


def _led(told: str) -> bool:
    return _found(_STATE, told) == "in production"


def _control(binaries: Binaries, data: Path) -> str:
    try:
        done = subprocess.run(
            [binaries.program("pg_controldata"), "-D", str(data)],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env={"LC_ALL": "C.UTF-8"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _found(pattern: re.Pattern[str], told: str) -> str:
    found = pattern.search(told)
    return found[1].strip() if found else ""


def _newest_timeline(folder: Path) -> int | None:
    found = (_SEGMENT.match(entry.name) for entry in folder.iterdir()) if folder.is_dir() else ()
    return max((int(one[1], 16) for one in found if one), default=None)
