"""The keeper's unix socket: one line of JSON asks, one line of JSON answers, and the connection closes.

The socket is the owner's alone (0600 in a 0700 folder), and the peer's user id is checked too (SO_PEERCRED,
unix(7)), for a folder's mode can be loosened by hand.
"""

import asyncio
import logging
import os
import socket
import struct
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from troth.core.errors import PlatformError, TrothError, UsageError
from troth.hosting.wire import encode

REQUEST_LIMIT = 1 << 20
ANSWER_LIMIT = 4 << 20
SECONDS = 10.0
WORK_SECONDS = 180.0
"""The longest that the keeper works on one request; reading it and writing the answer have `SECONDS` each."""
CONNECTIONS = 16

Answer = dict[str, object]
Handler = Callable[[Answer], Awaitable[Answer]]

_CREDENTIALS = struct.Struct("3i")
_log = logging.getLogger(__name__)


class NotRunning(PlatformError):
    """Nobody listens on the socket."""


@asynccontextmanager
async def serve(path: Path, handle: Handler) -> AsyncGenerator[None]:
    """Answer on `path` inside the block. `handle` gets the request; a TrothError becomes `{"error": …}`."""
    slots = asyncio.Semaphore(CONNECTIONS)

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with slots:
                await _converse(reader, writer, handle)
        finally:
            writer.close()

    with bound(path) as listener:
        server = await asyncio.start_unix_server(converse, sock=listener, limit=REQUEST_LIMIT)
        try:
            yield
        finally:
            server.close()
            remove(path)


def ask(path: Path, request: Answer, *, seconds: float = SECONDS) -> Answer:
    """Ask the keeper and wait. Raises NotRunning when it does not listen, PlatformError when it fails,
    UsageError when it was asked for something impossible."""
    with connected(path, seconds) as connection:
        try:
            connection.sendall(encode(request) + b"\n")
            answer = _read_answer(connection)
        except OSError as error:
            raise PlatformError(
                "The keeper does not answer.", hint="Try again, or run: troth down"
            ) from error
    if "error" in answer:
        kind = UsageError if answer.get("usage") else PlatformError
        raise kind(str(answer["error"]), hint=str(answer.get("hint", "")))
    return answer


def ask_soon(path: Path, request: Answer, seconds: float) -> Answer:
    """Like `ask`, of a keeper that may have begun only now: tries for so many seconds to reach it."""
    end = time.monotonic() + seconds
    while True:
        try:
            return ask(path, request)
        except NotRunning:
            if time.monotonic() >= end:
                raise
            time.sleep(0.1)


@contextmanager
def connected(path: Path, seconds: float = SECONDS) -> Generator[socket.socket]:
    """A connection to the keeper; raises NotRunning."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            with _short(path) as name:
                connection.connect(name)
        except PermissionError as error:
            raise PlatformError("The state folder belongs to another user.") from error
        except OSError as error:
            raise NotRunning("No platform runs on this state folder.", hint="Run: troth up") from error
        yield connection


def peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user id at the other end, as this process sees them (across PID namespaces too)."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, user, _ = _CREDENTIALS.unpack(raw)
    return pid, user


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler) -> None:
    if peer(writer.get_extra_info("socket"))[1] != os.geteuid():
        return
    try:
        async with asyncio.timeout(SECONDS):
            line = await reader.readline()
        async with asyncio.timeout(WORK_SECONDS):
            answer = await _answer(line, handle)
        async with asyncio.timeout(SECONDS):
            writer.write(answer + b"\n")
            await writer.drain()
    except (TimeoutError, ValueError, ConnectionError) as error:
        _log.warning("a request on the control socket was dropped: %s", error or type(error).__name__)


async def _answer(line: bytes, handle: Handler) -> bytes:
    try:
        answer = await handle(msgspec.json.decode(line, type=Answer))
    except msgspec.DecodeError:
        answer = {"error": "The request is not a JSON object."}
    except TrothError as error:
        answer = {"error": error.public, "hint": getattr(error, "hint", "")}
        answer["usage"] = isinstance(error, UsageError)
    except Exception as error:  # noqa: BLE001 - a defect: whoever asked has to learn of it too
        _log.exception("a request failed")
        answer = {"error": f"The request failed: {error!r}", "hint": "See: troth logs keeper"}
    return encode(answer)


def _read_answer(connection: socket.socket) -> Answer:
    received = bytearray()
    while not received.endswith(b"\n"):
        piece = connection.recv(65_536)
        if not piece or len(received) > ANSWER_LIMIT:
            raise OSError("the answer was cut short")
        received += piece
    return msgspec.json.decode(received, type=Answer)


def remove(path: Path) -> None:
    """Take the socket's name away."""
    path.unlink(missing_ok=True)


@contextmanager
def bound(path: Path) -> Generator[socket.socket]:
    """A listening unix socket that its owner alone can connect to; gone when the block ends."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with _short(path) as name:
            listener.bind(name)
    finally:
        os.umask(before)
    with listener:
        yield listener


@contextmanager
def _short(path: Path) -> Generator[str]:
    """A name for the socket that fits into sun_path (108 bytes, unix(7)) however deep its folder lies."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
