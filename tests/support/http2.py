"""HTTP/2 written by hand (RFC 9113, headers by RFC 7541 without compression): what no decent client sends."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import msgspec

from support.edge import RESIDENTS, World
from support.waiting import until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GO_AWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
CANCEL = (8).to_bytes(4, "big")


class Frame(msgspec.Struct, frozen=True):
    """One frame; `payload` is at most 16 KiB."""

    kind: int
    flags: int = 0
    stream: int = 0
    payload: bytes = b""

    def written(self) -> bytes:
        """As it goes over the wire."""
        length = len(self.payload).to_bytes(3, "big")
        return length + bytes((self.kind, self.flags)) + self.stream.to_bytes(4, "big") + self.payload


def header(name: str, value: str) -> bytes:
    """A literal field without indexing, new name (RFC 7541 section 6.2.2)."""
    return b"\x00" + _string(name.encode()) + _string(value.encode())


def head(host: str, path: str, method: str = "GET", **more: str) -> bytes:
    """The block of fields of a request; `_` in a name is a hyphen."""
    fields = {":method": method, ":scheme": "https", ":authority": host, ":path": path}
    fields |= {name.replace("_", "-"): value for name, value in more.items()}
    return b"".join(header(name, value) for name, value in fields.items())


def _string(text: bytes) -> bytes:
    """Its length in seven bits and what is left over (RFC 7541 section 5.1), then the bytes."""
    if len(text) < 127:
        return bytes((len(text),)) + text
    left, length = len(text) - 127, bytearray((127,))
    while left >= 128:
        length.append(left % 128 + 128)
        left //= 128
    length.append(left)
    return bytes(length) + text


class Connection:
    """Takes in whatever comes, and sends what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.frames: list[Frame] = []
        self.ended = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def send(self, *frames: Frame) -> bool:
        """Whether the other side still takes them."""
        return await self.send_bytes(b"".join(frame.written() for frame in frames))

    async def send_bytes(self, data: bytes) -> bool:
        """The same for bytes of any kind."""
        if self.ended.is_set():
            return False
        try:
            self._writer.write(data)
            async with asyncio.timeout(20):
                await self._writer.drain()
        except OSError:
            return False
        return True

    def of(self, kind: int, stream: int | None = None) -> list[Frame]:
        """What has come of one kind."""
        return [one for one in self.frames if one.kind == kind and stream in (None, one.stream)]

    async def answered(self) -> None:
        """Wait until something has been answered or refused, or all is over."""
        await until(lambda: bool(self.of(RESET) or self.of(HEADERS)) or self.ended.is_set())

    async def _read(self) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                begin = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(begin[:3], "big"))
                stream = int.from_bytes(begin[5:], "big") & 0x7FFFFFFF
                self.frames.append(Frame(begin[3], begin[4], stream, payload))
        self.ended.set()

    async def close(self) -> None:
        self._writer.transport.abort()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


@contextlib.asynccontextmanager
async def connection(world: World, *, domain: str = RESIDENTS) -> AsyncGenerator[Connection]:
    """One to the edge that runs, past the first words of both sides."""
    context = world.trust()
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", world.state.https_port, ssl=context, server_hostname=domain
    )
    opened = Connection(reader, writer)
    try:
        await opened.send_bytes(PREFACE + Frame(SETTINGS).written())
        yield opened
    finally:
        await opened.close()
