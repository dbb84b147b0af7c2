"""A client on one host of a test's network: `python -m support.host_client TARGET`, spoken to in JSON lines.

It writes as an application would, through `core.db`, never repeats a write, and remembers each that was
acknowledged: its number, the timeline that took it, and when.
"""

import asyncio
import itertools
import json
import sys
import time
from typing import Any

import msgspec

from troth.core.db import Database
from troth.core.errors import Unavailable
from troth.core.leader import DatabaseTarget
from troth.hosting.wire import decode

WRITERS = 4

_WRITE = """
insert into troth.note values ($1) returning pg_walfile_name(pg_current_wal_insert_lsn())
"""


class Ack(msgspec.Struct, frozen=True, array_like=True):
    """One acknowledged write. `at` is CLOCK_MONOTONIC, which all processes of a machine share."""

    number: int
    timeline: int
    at: float


class Client:
    """The writers of one host."""

    def __init__(self, target: DatabaseTarget) -> None:
        self._target = target
        self._database = Database(target, min_size=1, max_size=WRITERS)
        self._numbers = itertools.count(time.time_ns())
        self._acks: list[Ack] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def answer(self, asked: dict[str, Any]) -> object:
        match asked["do"]:
            case "execute":
                return await self._database.execute(asked["statement"])
            case "open":
                began = time.monotonic()
                opened = await Database.open(self._target, max_size=1)
                await opened.close()
                return time.monotonic() - began
            case "wait":
                return await self._wait(asked["seconds"])
            case "start":
                self._acks.clear()
                self._tasks = [asyncio.create_task(self._write()) for _ in range(WRITERS)]
                return None
            case "stop":
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                return self._acks
            case "kept":
                return [row["id"] for row in await self._patiently("select id from troth.note")]
            case other:
                raise ValueError(other)

    async def _wait(self, seconds: float) -> float:
        """How long a call that the server would answer after so many seconds takes to be given up."""
        began = time.monotonic()
        try:
            await self._database.fetchval("select pg_sleep($1)", seconds, idempotent=False)
        except Unavailable:
            return time.monotonic() - began
        raise AssertionError("the call was answered")

    async def _patiently(self, query: str) -> list[Any]:
        """On a busy machine a leader may take longer than one call waits for it."""
        async with asyncio.timeout(90):
            while True:
                try:
                    return await self._database.fetch(query)
                except Unavailable:
                    continue

    async def _write(self) -> None:
        for number in self._numbers:
            try:
                file = await self._database.fetchval(_WRITE, number, idempotent=False)
            except Unavailable:
                continue
            self._acks.append(Ack(number, int(file[:8], 16), time.monotonic()))


async def main() -> None:
    """Answer one question after the other, until standard input ends."""
    client = Client(decode(sys.argv[1], DatabaseTarget))
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        try:
            answer: dict[str, object] = {"ok": await client.answer(json.loads(line))}
        except Exception as error:  # noqa: BLE001 - the test is told of it
            answer = {"error": repr(error)}
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    asyncio.run(main())
