"""History of the last days: every ten seconds for an hour, each minute for a day, ten minutes for two weeks.

Pure. A point is the mean, the lowest and the highest of what was seen in its step: a chart of two weeks still
shows the second in which nothing answered.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from troth.hosting.watch.metrics import METRICS, Sample

STEPS = (10, 60, 600)
"""In seconds; how long each is kept, the database decides (`020_history.sql`)."""

MOST_SERIES = 400
"""Of one moment. A row has at most these, however much runs."""

_LEFT_OUT = ("troth_watch_look_seconds", "troth_process_open_files", "troth_instance_generation")
"""Nobody draws them."""


class Point(msgspec.Struct, frozen=True, array_like=True):
    """One series within one step."""

    mean: float
    low: float
    high: float


class Row(msgspec.Struct, frozen=True):
    """All series of one step that has ended; `at` is its beginning."""

    step: int
    at: datetime
    points: dict[str, Point]


_Sums = tuple[int, float, float, float]
"""How many, their sum, the lowest and the highest."""


class _Bin(msgspec.Struct):
    begun: int
    sums: dict[str, _Sums] = {}


class Rollup:
    """Gathers samples into steps. What a keeper has gathered of a step ends with it."""

    def __init__(self) -> None:
        self._bins: dict[int, _Bin] = {}

    def add(self, samples: Iterable[Sample], now: datetime) -> tuple[Row, ...]:
        """Take in what was seen now; returns the steps that ended before it."""
        ended = self._end(int(now.timestamp()))
        sums = self._bins[STEPS[0]].sums
        for key, value in _values(samples).items():
            sums[key] = _plus(sums.get(key), (1, value, value, value))
        return ended

    def _end(self, seconds: int) -> tuple[Row, ...]:
        """End the steps that are over. What a shorter one has gathered goes on into the next longer one."""
        ended: list[Row] = []
        gathered: dict[str, _Sums] = {}
        for step in STEPS:
            begun = seconds - seconds % step
            held = self._bins.setdefault(step, _Bin(begun))
            for key, sums in gathered.items():
                held.sums[key] = _plus(held.sums.get(key), sums)
            gathered = {}
            if held.begun != begun:
                gathered = held.sums
                if gathered:
                    ended.append(_row(step, held))
                self._bins[step] = _Bin(begun)
        return tuple(ended)


def _values(samples: Iterable[Sample]) -> dict[str, float]:
    found: dict[str, float] = {}
    for sample in samples:
        if len(found) >= MOST_SERIES:
            break
        if sample.metric in METRICS and sample.metric not in _LEFT_OUT:
            found[sample.key] = float(sample.value)
    return found


def _plus(held: _Sums | None, more: _Sums) -> _Sums:
    if held is None:
        return more
    return (held[0] + more[0], held[1] + more[1], min(held[2], more[2]), max(held[3], more[3]))


def _row(step: int, held: _Bin) -> Row:
    points = {
        key: Point(_short(total / count), _short(low), _short(high))
        for key, (count, total, low, high) in held.sums.items()
    }
    return Row(step, datetime.fromtimestamp(held.begun, UTC), points)


def _short(value: float) -> float:
    """Six digits are more than any chart shows."""
    return float(f"{value:.6g}")
