"""The edge's access log, followed as it is written: what came of the requests to each place.

What is read at once (`hosting.log_file`) and what is remembered are bounded.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from troth.hosting.judging import Errors
from troth.hosting.log_file import Follower

WINDOW_SECONDS = 10
"""The seconds whose answers count as recent."""

REMEMBERED_SECONDS = 180
PLACES = 256
"""At most so many places are remembered; the edge knows no others than it was told of."""

_STEPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_INSTANCE_ERRORS = frozenset({500, 502, 504})


class Answered(msgspec.Struct, frozen=True):
    """One answer of the edge, in `duration` seconds. `upstream` is the place of the instance that gave it; of
    one that the edge gave by itself it is empty, or a placeholder in braces."""

    status: int = 0
    duration: float = 0.0
    upstream: str = ""

    @property
    def is_of_an_instance(self) -> bool:
        return bool(self.upstream) and not self.upstream.startswith("{")


Hear = Callable[[Answered, float], None]
"""Is told of each answer, and when that was read."""

_NONE = Errors()
_decoder = msgspec.json.Decoder(Answered)


class Served(msgspec.Struct):
    """What one place answered in one second: `times` counts by `_STEPS`, the last whatever took longer."""

    second: int
    asked: int = 0
    failed: int = 0
    times: list[int] = msgspec.field(default_factory=lambda: [0] * (len(_STEPS) + 1))


class Ledger:
    """The last minutes of every place, by seconds of the keeper's clock."""

    def __init__(self) -> None:
        self._places: dict[str, list[Served]] = {}
        self.passed_over = 0

    def note(self, place: str, status: int, seconds: float, now: float) -> None:
        """One answer of an instance at this place."""
        rows = self._places.get(place)
        if rows is None:
            if len(self._places) >= PLACES:
                return
            rows = self._places.setdefault(place, [])
        second = int(now)
        if not rows or rows[-1].second != second:
            rows.append(Served(second))
            while rows[0].second < second - REMEMBERED_SECONDS:
                rows.pop(0)
        row = rows[-1]
        row.asked += 1
        row.failed += status in _INSTANCE_ERRORS
        row.times[_step(seconds)] += 1

    def recent(self, place: str, now: float, *, since: float = 0.0) -> Errors:
        """Of the last seconds, at most since a moment of the same clock."""
        return self._sum(place, max(since, now - WINDOW_SECONDS), now)

    def before(self, place: str, now: float, *, since: float = 0.0) -> Errors:
        """Of the minutes before those."""
        return self._sum(place, since, now - WINDOW_SECONDS)

    def slow(self, place: str, now: float, share: float = 0.95) -> float | None:
        """The seconds within which so many of the recent answers came, rounded up; None when there were too
        few to say."""
        rows = [row for row in self._places.get(place, ()) if row.second >= now - WINDOW_SECONDS]
        total = sum(row.asked for row in rows)
        if total < 20:
            return None
        left = total * share
        for number, step in enumerate(_STEPS):
            left -= sum(row.times[number] for row in rows)
            if left <= 0:
                return step
        return _STEPS[-1] * 2

    def _sum(self, place: str, begin: float, end: float) -> Errors:
        known = self._places.get(place)
        if not known or known[-1].second + 1 < begin:  # as it is at rest, for each instance at each look
            return _NONE
        rows = [row for row in known if begin <= row.second + 1 and row.second < end]
        return Errors(sum(row.asked for row in rows), sum(row.failed for row in rows))


class EdgeLog:
    """Follows the file through the edge's own rolling of it. Whoever else wants to hear of each answer is
    among `heard`: the file is read once for all."""

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self.heard: list[Hear] = []
        self._lines, self._ledger = Follower(path), ledger

    def follow(self, now: float) -> int:
        """Take in what was written since; returns how many answers instances gave. Beginning at the end of
        what is there."""
        count = 0
        for answered in _parsed(self._lines.lines()):
            for hear in self.heard:
                hear(answered, now)
            if answered.is_of_an_instance:
                self._ledger.note(answered.upstream, answered.status, answered.duration, now)
                count += 1
        self._ledger.passed_over = self._lines.passed_over
        return count

    def close(self) -> None:
        """Follow no more."""
        self._lines.close()


def _parsed(lines: Iterator[bytes]) -> Iterator[Answered]:
    """Half a line, after some were passed over, is none."""
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            answered = _decoder.decode(line)
            if answered.status:
                yield answered


def _step(seconds: float) -> int:
    return next((number for number, step in enumerate(_STEPS) if seconds <= step), len(_STEPS))
