"""Everybody else: clients that ask on while somebody attacks, and whom nothing of it may concern."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator

import httpx

from support.edge import World
from support.waiting import until


class Others:
    """What became of their requests. `times` are what each took, `pause` the longest time between two good
    answers, in seconds."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self.times: list[float] = []
        self.pause = 0.0
        self.over = asyncio.Event()
        self._last = time.monotonic()

    @property
    def longest(self) -> float:
        return max(self.times, default=0.0)

    async def answered(self, more: int) -> None:
        """Wait until so many more requests have been answered."""
        wanted = self.statuses.total() + more
        await until(lambda: self.statuses.total() >= wanted, 30.0)

    def _count(self, status: int) -> None:
        self.statuses[status] += 1
        if status == 200:
            now = time.monotonic()
            self.pause, self._last = max(self.pause, now - self._last), now

    async def ask_on(self, world: World, *, new_connections: bool) -> None:
        """One request after the other; nothing is tried again."""
        async with contextlib.AsyncExitStack() as stack:
            browser = await stack.enter_async_context(world.browser())
            while not self.over.is_set():
                began = time.monotonic()
                try:
                    if new_connections:
                        async with world.browser() as fresh:
                            answer = await fresh.get("/api/v1/others")
                    else:
                        answer = await browser.get("/api/v1/others")
                    self._count(answer.status_code)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                self.times.append(time.monotonic() - began)
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def others(world: World) -> AsyncGenerator[Others]:
    """One with a connection that it keeps and one that opens a new one each time, while the block lasts."""
    seen = Others()
    tasks = [asyncio.create_task(seen.ask_on(world, new_connections=new)) for new in (False, True)]
    try:
        await seen.answered(4)
        yield seen
        await seen.answered(4)
    finally:
        seen.over.set()  # each ends the request that it is at
        await asyncio.gather(*tasks)
