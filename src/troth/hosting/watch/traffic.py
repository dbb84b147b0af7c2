"""What the edge answered, counted by service and class of status, with latencies: `EdgeLog` tells of each."""

from collections import defaultdict, deque
from itertools import accumulate

import msgspec

WINDOW_SECONDS = 60
"""Ratios and quantiles are of the last minute."""

BOUNDS = tuple(0.001 * 2 ** (step / 2) for step in range(33))
"""Upper ends of the buckets of latencies: from 1 ms to 65 s, each 1.41 times the one before."""

EDGE = "edge"
"""The service of answers that no instance gave: refusals, and requests that found no instance."""


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


class Traffic:
    """Counts answers. `tick` is in whole seconds and only ever grows."""

    def __init__(self) -> None:
        self.answers: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._minutes: defaultdict[str, deque[_Second]] = defaultdict(deque)

    def count(self, service: str, status: int, duration: float, tick: int) -> None:
        """Take one answer in; `duration` is in seconds."""
        self.answers[service, f"{status // 100}xx"] += 1
        self.seconds[service] += duration
        seconds = self._minutes[service]
        if not seconds or seconds[-1].tick != tick:
            seconds.append(_Second(tick))
        now = seconds[-1]
        now.requests += 1
        now.errors += status >= 500
        now.buckets[_bucket(duration)] += 1

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
