"""One HTTP/1.1 question (RFC 9112) to a part of this platform, with nothing but the standard library.

The keeper asks many parts every second: a general client costs it ten times as much for each question. What
answers is a program of ours or of a customer's, so that everything it may say is bounded.
"""

import asyncio
import contextlib
from collections.abc import Generator

import msgspec

HEAD_BYTES = 16 << 10
BODY_BYTES = 1 << 20
"""The most that an answer may have; a longer one is an error."""

_CHUNKS = 10_000

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class BadAnswer(ValueError):
    """What came is no answer that this reads, or is longer than it may be."""


class Answer(msgspec.Struct, frozen=True):
    """An answer as a whole. `keeps` says whether the connection can be asked again."""

    status: int
    body: bytes
    keeps: bool


async def ask(streams: Streams, host: str, path: str, headers: str = "", *, keep: bool = False) -> Answer:
    """GET `path`; `headers` are whole lines. Raises BadAnswer, OSError, or EOFError when the connection ends.

    How long it may take is for the caller to say, who also closes the connection unless it `keeps`.
    """
    with _bounded():
        status, fields = await _begin(streams, host, path, headers, keep)
        body, whole = await _read_body(streams[0], status, fields)
        return Answer(status, body, keep and whole and _stays(fields))


async def ask_status(streams: Streams, host: str, path: str) -> Answer:
    """The same for whoever wants the status alone: a body that is long, or has no end, is not waited for, and
    such a connection cannot be asked again. The answer has no body."""
    with _bounded():
        status, fields = await _begin(streams, host, path, "", keep=True)
        told = fields.get(b"content-length", b"")
        short = told.isdigit() and int(told) <= HEAD_BYTES
        if short:
            await streams[0].readexactly(int(told))
        return Answer(status, b"", short and _stays(fields))


def close(streams: Streams) -> None:
    """End a connection without waiting for the other side."""
    with contextlib.suppress(OSError, RuntimeError):  # the event loop may be at its end
        streams[1].close()


@contextlib.contextmanager
def _bounded() -> Generator[None]:
    try:
        yield
    except asyncio.LimitOverrunError as error:
        raise BadAnswer("a part of the answer is too long") from error


async def _begin(
    streams: Streams, host: str, path: str, headers: str, keep: bool
) -> tuple[int, dict[bytes, bytes]]:
    """Ask; the status and the fields of the answer, by their names in small letters."""
    reader, writer = streams
    asked = "" if keep else "Connection: close\r\n"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}{asked}\r\n".encode())
    return _read_head(await reader.readuntil(b"\r\n\r\n"))


def _stays(fields: dict[bytes, bytes]) -> bool:
    return fields.get(b"connection", b"").lower() != b"close"


def _read_head(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    first, *lines = head[:-4].split(b"\r\n")
    version, _, rest = first.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or not code.isdigit() or not 200 <= int(code) <= 599:
        raise BadAnswer("no answer of HTTP/1.1")
    pairs = (line.partition(b":") for line in lines)
    fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if version == b"HTTP/1.0":  # which ends its connection, unless it says otherwise
        fields.setdefault(b"connection", b"close")
    return int(code), fields


async def _read_body(
    reader: asyncio.StreamReader, status: int, fields: dict[bytes, bytes]
) -> tuple[bytes, bool]:
    """The body, and whether its end was told otherwise than by the end of the connection."""
    if status in (204, 304):
        return b"", True
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        return await _read_chunks(reader), True
    told = fields.get(b"content-length")
    if told is None:
        body = await reader.read(BODY_BYTES + 1)
        while len(body) <= BODY_BYTES and (more := await reader.read(BODY_BYTES + 1 - len(body))):
            body += more
        _check(len(body))
        return body, False
    if not told.isdigit():
        raise BadAnswer("a length that is no number")
    _check(int(told))
    return await reader.readexactly(int(told)), True


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    for _ in range(_CHUNKS):
        line = (await reader.readuntil(b"\r\n"))[:-2].partition(b";")[0].strip()
        if not line or len(line) > 8 or line.strip(b"0123456789abcdefABCDEF"):
            raise BadAnswer("a chunk without its length")
        size = int(line, 16)
        _check(len(body) + size)
        if size == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return bytes(body)
        body += (await reader.readexactly(size + 2))[:-2]
    raise BadAnswer("too many chunks")


def _check(size: int) -> None:
    if size > BODY_BYTES:
        raise BadAnswer("the answer is too long")
