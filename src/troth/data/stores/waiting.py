"""The longest that an operation on a store may stand still, and how often it is tried again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from troth.data.stores.store import Unreachable

T = TypeVar("T")


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds without progress after which an operation is given up, and the retries of one that failed
    for a reason which may pass. The wait before a retry doubles from `first` to `longest`."""

    seconds: float = 30.0
    attempts: int = 4
    first: float = 0.25
    longest: float = 8.0


def wait_before(patience: Patience, failures: int, share: float) -> float:
    """Seconds before the next attempt after so many failures; `share` in [0, 1) shortens it by up to half, so
    that many that failed together do not come back together."""
    return min(patience.longest, patience.first * 2.0 ** min(failures - 1, 30)) * (1 - share / 2)


async def within(patience: Patience, what: str, work: Awaitable[T]) -> T:
    """The result of `work`. Raises Unreachable, saying `what`, after `patience.seconds` without one."""
    try:
        async with asyncio.timeout(patience.seconds):
            return await work
    except TimeoutError:
        raise unreachable(what, f"no answer within {patience.seconds:g} s") from None


def unreachable(what: str, why: str) -> Unreachable:
    """The error for a store that does not answer."""
    return Unreachable(
        f"{what}: {why}.",
        hint="Look at the network and at the store itself; Troth tries again by itself.",
    )


async def retried(patience: Patience, work: Callable[[], Awaitable[T]]) -> T:
    """The result of `work`, tried again while it raises Unreachable, at most `patience.attempts` times."""
    for failures in range(1, patience.attempts):
        try:
            return await work()
        except Unreachable:
            await asyncio.sleep(wait_before(patience, failures, random.random()))  # noqa: S311  spreads load
    return await work()
