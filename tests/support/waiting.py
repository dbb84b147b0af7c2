"""Waiting for what only asking again can tell."""

import asyncio
from collections.abc import Awaitable, Callable

GAP = 0.01


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return once the condition holds; raises TimeoutError."""

    async def ask() -> bool:
        return condition()

    await until_answered(ask, seconds)


async def until_answered(ask: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Return once the answer is yes; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await ask():  # noqa: ASYNC110
            await asyncio.sleep(GAP)
