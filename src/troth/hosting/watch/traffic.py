"""What the edge answered, counted from its access log: by service and class of status, with latencies.

The log is followed like `tail -F`. Everything is bounded: the bytes of a round, the buckets of a minute.
"""

import os
from collections import defaultdict, deque
from itertools import accumulate
from pathlib import Path

import msgspec

WINDOW_SECONDS = 60
"""Ratios and quantiles are of the last minute."""

ROUND_BYTES = 8 << 20
"""The most that is read at once; of a log that grows faster the rest is skipped."""

BOUNDS = tuple(0.001 * 2 ** (step / 2) for step in range(33))
"""Upper ends of the buckets of latencies: from 1 ms to 65 s, each 1.41 times the one before."""

EDGE = "edge"
"""The service of answers that no instance gave: refusals, and requests that found no instance."""


class _Line(msgspec.Struct, frozen=True):
    """The part of a line that is counted."""

    status: int = 0
    duration: float = 0.0
    upstream: str = ""


class Answered(msgspec.Struct, frozen=True):
    """One answer of the edge. `upstream` is the address of the instance that gave it, if one did."""

    upstream: str
    status: int
    seconds: float


class Minute(msgspec.Struct, frozen=True):
    """What one service answered within the last minute."""

    requests: int
    errors: int
    quantiles: dict[str, float]

    @property
    def error_ratio(self) -> float:
        return self.errors / self.requests if self.requests else 0.0


class _Second(msgspec.Struct):
    tick: int
    requests: int = 0
    errors: int = 0
    buckets: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))


def read_line(line: bytes) -> Answered | None:
    """An answer, or None for a line that is none: cut short, or of another kind."""
    try:
        read = msgspec.json.decode(line, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return Answered(read.upstream, read.status, read.duration) if read.status else None


class Traffic:
    """Counts answers. `tick` is in whole seconds and only ever grows."""

    def __init__(self) -> None:
        self.answers: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._minutes: defaultdict[str, deque[_Second]] = defaultdict(deque)

    def count(self, service: str, answered: Answered, tick: int) -> None:
        """Take one answer in."""
        self.answers[service, f"{answered.status // 100}xx"] += 1
        self.seconds[service] += answered.seconds
        seconds = self._minutes[service]
        if not seconds or seconds[-1].tick != tick:
            seconds.append(_Second(tick))
        now = seconds[-1]
        now.requests += 1
        now.errors += answered.status >= 500
        now.buckets[_bucket(answered.seconds)] += 1

    def minute(self, service: str, tick: int) -> Minute:
        """The last minute of a service."""
        seconds = self._minutes[service]
        while seconds and seconds[0].tick <= tick - WINDOW_SECONDS:
            seconds.popleft()
        buckets = [sum(column) for column in zip(*(one.buckets for one in seconds), strict=True)]
        return Minute(
            sum(one.requests for one in seconds),
            sum(one.errors for one in seconds),
            {name: quantile(buckets, share) for name, share in (("0.5", 0.5), ("0.99", 0.99))},
        )


def quantile(buckets: list[int], share: float) -> float:
    """Pure: the upper end of the bucket that holds this share of the answers; 0 when there are none."""
    total = sum(buckets)
    if not total:
        return 0.0
    place = next(index for index, upto in enumerate(accumulate(buckets)) if upto >= share * total)
    return BOUNDS[min(place, len(BOUNDS) - 1)]


def _bucket(seconds: float) -> int:
    return next((index for index, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))


class LogTail:
    """Follows a file that is rolled: what was written to the old one before it was renamed is read too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._rest = b""
        self._begun = False

    def read(self) -> list[bytes]:
        """Whole lines since the last call. The first call begins at the end: the past was another's."""
        if self._file is None:
            self._open(at_end=not self._begun)
        if not self._begun:
            self._begun = True
            return []
        lines = self._lines()
        if self._file is not None and self._was_rolled():
            self.close()
            self._open(at_end=False)
            lines += self._lines()
        return lines

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._rest = None, b""

    def _open(self, *, at_end: bool) -> None:
        try:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        if at_end:
            os.lseek(self._file, 0, os.SEEK_END)

    def _lines(self) -> list[bytes]:
        if self._file is None:
            return []  # rolled, and not yet begun anew
        piece = os.read(self._file, ROUND_BYTES)
        if len(piece) == ROUND_BYTES:
            os.lseek(self._file, 0, os.SEEK_END)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        self._rest = self._rest[-65_536:]
        return lines

    def _was_rolled(self) -> bool:
        assert self._file is not None, "asked only while open"
        try:
            return self._path.stat().st_ino != os.fstat(self._file).st_ino
        except FileNotFoundError:
            return False
