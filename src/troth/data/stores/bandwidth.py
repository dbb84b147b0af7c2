"""How fast a backup may leave: a token bucket, so that customers' requests keep their share of the line."""

import asyncio
import time
from collections.abc import Callable

import msgspec


class Bucket(msgspec.Struct, frozen=True):
    """`rate` bytes a second; at `at` (monotonic seconds) `filled` bytes could go at once, no more than one
    second's worth. Below zero it is in debt: that is what the next one waits for."""

    rate: int
    filled: float
    at: float


def take(bucket: Bucket, count: int, now: float) -> tuple[Bucket, float]:
    """The bucket after `count` bytes, and the seconds to wait before they may go; pure.

    A piece larger than the bucket is not refused: it goes into debt, and the rate holds all the same.
    """
    filled = min(float(bucket.rate), bucket.filled + max(0.0, now - bucket.at) * bucket.rate) - count
    return Bucket(bucket.rate, filled, now), max(0.0, -filled / bucket.rate)


class Throttle:
    """One bucket for everything that goes to a store at once; a rate of 0 lets everything pass."""

    def __init__(self, rate: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._bucket = Bucket(rate, float(rate), monotonic())

    async def passing(self, count: int) -> None:
        """Return when `count` bytes may go."""
        if self._bucket.rate <= 0:
            return
        self._bucket, seconds = take(self._bucket, count, self._monotonic())
        if seconds > 0:
            await asyncio.sleep(seconds)
