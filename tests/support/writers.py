"""Writers at a replica set while a fault happens: what was acknowledged, what was lost, the longest pause."""

import asyncio
import itertools
import time
from collections.abc import Awaitable

from troth.core.db import Database
from troth.core.errors import Unavailable


class Writers:
    """Writers that never repeat a write, and remember which ones were acknowledged."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers = itertools.count(time.time_ns())
        self.acknowledged: set[int] = set()
        self.longest_pause = 0.0

    async def during(self, fault: Awaitable[object], *, after: float) -> None:
        """Write for a second, let the fault happen, and go on for `after` seconds."""
        writers = [asyncio.create_task(self._write()) for _ in range(4)]
        watch = asyncio.create_task(self._watch())
        await asyncio.sleep(1)
        await fault
        await asyncio.sleep(after)
        for task in (*writers, watch):
            task.cancel()
        await asyncio.gather(*writers, watch, return_exceptions=True)

    async def lost(self) -> set[int]:
        """Acknowledged writes that are not in the database, once it has a leader again, which on a busy
        machine may take longer than one call waits for it."""
        async with asyncio.timeout(240):
            while True:
                try:
                    rows = await self._database.fetch("select id from troth.note")
                except Unavailable:
                    continue
                return self.acknowledged - {row["id"] for row in rows}

    async def _write(self) -> None:
        for number in self._numbers:
            try:
                await self._database.execute("insert into troth.note values ($1)", number, idempotent=False)
            except Unavailable:
                continue
            self.acknowledged.add(number)

    async def _watch(self) -> None:
        last, since = len(self.acknowledged), time.monotonic()
        while True:
            await asyncio.sleep(0.02)
            if len(self.acknowledged) != last:
                last, since = len(self.acknowledged), time.monotonic()
            self.longest_pause = max(self.longest_pause, time.monotonic() - since)
