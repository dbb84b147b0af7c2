"""A bounded load over mutual TLS, in a process of its own: `python -m bench.load PLAN.json`.

Sends the requests of two sides in turn, a fixed number of each, over a few kept connections, and prints the
seconds that each turn took as JSON: `[[ours, against], …]`. Turns are short and change places, so that
whatever else the machine does falls on both. Any answer but 200 ends it with an error.
"""

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import uvloop


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """A server on loopback and what it is asked: a whole HTTP/1.1 request.

    With `follow`, each connection keeps a chain of its own: `{next}` in the body of the request stands for
    the member of that name in the answer before (a rotated refresh token), beginning with one of `starts`;
    its head then says `content-length: {length}`.
    """

    port: int
    ca: str
    certificate: str
    key: str
    request: bytes
    follow: str = ""
    starts: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`requests` of each side are sent in a turn, after a turn that does not count."""

    ours: Side
    against: Side
    requests: int
    connections: int
    turns: int


class Caller(asyncio.Protocol):
    """One connection: a request, its answer, the next request, while there is any left."""

    def __init__(self, budget: list[int], write: Callable[[bytes], bytes]) -> None:
        self._write = write
        self._budget = budget
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer = b""
        self._ended: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def run(self) -> "asyncio.Future[None]":
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
        self._transport.write(self._write(self._answer))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        if len(body) < _length(head):
            return
        self._buffer, self._answer = b"", body
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail(ConnectionError(f"{head.decode()}\n{body.decode()}"))
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


def writer(side: Side, number: int) -> Callable[[bytes], bytes]:
    """From the last answer to the next request on connection `number`."""
    if not side.follow:
        return lambda _: side.request
    head, _, body = side.request.partition(b"\r\n\r\n")

    def write(answer: bytes) -> bytes:
        token = str(json.loads(answer)[side.follow]) if answer else side.starts[number]
        filled = body.replace(b"{next}", token.encode())
        return head.replace(b"{length}", str(len(filled)).encode()) + b"\r\n\r\n" + filled

    return write


class Loader:
    """Kept connections to one side."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._budget = [0]
        self._callers: list[Caller] = []

    async def connect(self, connections: int) -> None:
        context = ssl.create_default_context(cafile=self._side.ca)
        context.load_cert_chain(self._side.certificate, self._side.key)
        loop = asyncio.get_running_loop()
        for number in range(connections):
            caller = Caller(self._budget, writer(self._side, number))
            await loop.create_connection(lambda one=caller: one, "127.0.0.1", self._side.port, ssl=context)
            self._callers.append(caller)

    async def turn(self, requests: int) -> float:
        """Seconds that so many requests took."""
        self._budget[0] = requests
        started = time.perf_counter()
        await asyncio.gather(*(caller.run() for caller in self._callers))
        return time.perf_counter() - started

    def close(self) -> None:
        for caller in self._callers:
            caller.close()


async def run(plan: Plan) -> list[tuple[float, float]]:
    """Seconds of each turn: ours, against."""
    ours, against = Loader(plan.ours), Loader(plan.against)
    await ours.connect(plan.connections)
    await against.connect(plan.connections)
    pairs: list[tuple[float, float]] = []
    for number in range(plan.turns + 1):
        if number % 2:
            bare = await against.turn(plan.requests)
            pairs.append((await ours.turn(plan.requests), bare))
        else:
            first = await ours.turn(plan.requests)
            pairs.append((first, await against.turn(plan.requests)))
    ours.close()
    against.close()
    return pairs[1:]


if __name__ == "__main__":
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    print(msgspec.json.encode(uvloop.run(run(plan))).decode())
