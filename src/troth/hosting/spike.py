"""A bounded flood of requests to one address of the edge, to see what the platform does under it."""

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from troth.core.reach import PublicFace

_HEAD_LIMIT = 64 << 10
_ANSWER_SECONDS = 30.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class Flood(msgspec.Struct):
    """What came of it. `failed` counts answers of 429 and of 5xx, and requests without an answer."""

    sent: int = 0
    failed: int = 0
    fault: str = ""

    def fail(self, fault: str) -> None:
        """One request was not served."""
        self.failed += 1
        self.fault = self.fault or fault


@asynccontextmanager
async def flood(
    face: PublicFace, domain: str, path: str, clients: int, *, pause: float = 0.0
) -> AsyncGenerator[Flood]:
    """Inside the block so many clients ask one after the other, over HTTP/1.1 as a browser's pages do, with a
    pause of so many seconds in between. Each finishes the request it is at when the block ends."""
    seen, over = Flood(), asyncio.Event()
    context = ssl.create_default_context(cafile=str(face.ca))
    askers = [_Client(face, domain, path, context) for _ in range(clients)]
    tasks = [asyncio.create_task(one.ask(seen, over, pause)) for one in askers]
    try:
        yield seen
    finally:
        over.set()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Client:
    """One connection, made anew whenever it was closed. Bare, for a hundred of them share one core with what
    they load."""

    def __init__(self, face: PublicFace, domain: str, path: str, context: ssl.SSLContext) -> None:
        self._face, self._domain, self._context = face, domain, context
        authority = face.origin(domain).removeprefix("https://")
        self._request = f"GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, seen: Flood, over: asyncio.Event, pause: float) -> None:
        while not over.is_set():
            await asyncio.sleep(pause)
            seen.sent += 1
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    status = await self._ask_once()
            except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
                self._close()
                seen.fail(f"no answer: {error or type(error).__name__}")
                continue
            if status == 429 or status >= 500:
                seen.fail(f"status {status}")
        self._close()

    async def _ask_once(self) -> int:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                self._face.address,
                self._face.https_port,
                ssl=self._context,
                server_hostname=self._domain,
                limit=_HEAD_LIMIT,
            )
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        await self._skip_body(head)
        if _CLOSES.search(head):
            self._close()
        return int(head.split(b" ", 2)[1])

    async def _skip_body(self, head: bytes) -> None:
        length = _LENGTH.search(head)
        if length is not None:
            await self._reader.readexactly(int(length[1]))
            return
        while size := int(await self._reader.readline(), 16):
            await self._reader.readexactly(size + 2)
        await self._reader.readline()

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
