"""A bounded load over mutual TLS, in a process of its own: `python -m bench.load PLAN.json`.

Sends two requests in turn, a fixed number of times each, over a few kept connections, and prints the seconds
that each turn took as JSON: `[[ours, against], …]`. Turns are short and change places, so that whatever else
the machine does falls on both. Any answer but 200 ends it with an error.
"""

import asyncio
import ssl
import sys
import time
from pathlib import Path
from typing import cast

import msgspec
import uvloop


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`ours` and `against` are whole HTTP/1.1 requests; `requests` of each are sent in a turn, after a turn
    that does not count."""

    port: int
    ca: str
    certificate: str
    key: str
    ours: bytes
    against: bytes
    requests: int
    connections: int
    turns: int


class Caller(asyncio.Protocol):
    """One connection: a request, its answer, the next request, while there is any left."""

    def __init__(self, budget: list[int]) -> None:
        self._request = b""
        self._budget = budget
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._ended: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def run(self, request: bytes) -> "asyncio.Future[None]":
        self._request = request
        self._ended = asyncio.get_running_loop().create_future()
        self._next()
        return self._ended

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _next(self) -> None:
        assert self._transport is not None
        assert self._ended is not None
        if self._budget[0] <= 0:
            self._ended.set_result(None)
            return
        self._budget[0] -= 1
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        if len(body) < _length(head):
            return
        self._buffer = b""
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail(ConnectionError(self._buffer.decode() or head.decode()))
            return
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionError("the connection was closed"))

    def _fail(self, error: Exception) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(error)


def _length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.index(b"content-length:") + 15
    return int(lowered[at:].split(b"\r\n", 1)[0])


async def run(plan: Plan) -> list[tuple[float, float]]:
    """Seconds of each turn: ours, against."""
    context = ssl.create_default_context(cafile=plan.ca)
    context.load_cert_chain(plan.certificate, plan.key)
    budget = [0]
    loop = asyncio.get_running_loop()
    callers: list[Caller] = []
    for _ in range(plan.connections):
        _, caller = await loop.create_connection(lambda: Caller(budget), "127.0.0.1", plan.port, ssl=context)
        callers.append(caller)

    async def turn(request: bytes) -> float:
        budget[0] = plan.requests
        started = time.perf_counter()
        await asyncio.gather(*(caller.run(request) for caller in callers))
        return time.perf_counter() - started

    pairs: list[tuple[float, float]] = []
    for number in range(plan.turns + 1):
        if number % 2:
            bare = await turn(plan.against)
            pairs.append((await turn(plan.ours), bare))
        else:
            first = await turn(plan.ours)
            pairs.append((first, await turn(plan.against)))
    for caller in callers:
        caller.close()
    return pairs[1:]


if __name__ == "__main__":
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    print(msgspec.json.encode(uvloop.run(run(plan))).decode())
