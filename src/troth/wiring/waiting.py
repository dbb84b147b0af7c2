"""Waiting for a part that has just been started to answer."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from troth.core.errors import PlatformError

_GAP = 0.05


async def until(ready: Callable[[], Awaitable[bool]], *, what: str, log: Path, seconds: float = 30.0) -> None:
    """Ask again and again until `ready`. Raises PlatformError after `seconds`, naming the log to read."""
    try:
        async with asyncio.timeout(seconds):
            while not await ready():  # noqa: ASYNC110 - another process sets no event here
                await asyncio.sleep(_GAP)
    except TimeoutError:
        raise PlatformError(
            f"{what} did not answer within {seconds:.0f} s.", hint=f"Its last words are in {log}."
        ) from None
