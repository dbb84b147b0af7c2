"""Clients that take their time, all at once, before a real edge: who is cut off, and who is not."""

import asyncio
import base64
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from support import http2
from support.edge import RESIDENTS, World, running_world
from support.http2 import END_HEADERS, Frame
from support.others import Others, others
from support.upstream import LARGE
from support.waiting import until
from troth.hosting.edge_limits import Limits

LIMITS = Limits(header=3.0, pause=2.0, rate=500, deaf=2.0, idle=3.0)
OF_EACH = 5
PATIENCE = 25.0
"""For a hang alone."""

SESSION = "Cookie: __Host-troth=good"


class End(msgspec.Struct, frozen=True):
    """When the edge ended a connection, and the last words it had for it. Never: `seconds` is None."""

    seconds: float | None
    words: bytes = b""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What became of everybody."""

    ends: dict[str, list[End]]
    honest: dict[str, bytes]
    others: Others


async def dial(world: World, *, tls: bool = True) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place = ("127.0.0.1", world.state.https_port)
    if not tls:
        return await asyncio.open_connection(*place)
    return await asyncio.open_connection(*place, ssl=world.trust(), server_hostname=RESIDENTS)


def request(line: str, *headers: str) -> bytes:
    return "\r\n".join((f"{line} HTTP/1.1", f"Host: {RESIDENTS}", *headers, "", "")).encode()


async def borne(world: World, first: bytes, drip: bytes = b"", *, tls: bool = True) -> End:
    """How long somebody is borne who says `first`, and `drip` five times a second after it."""
    reader, writer = await dial(world, tls=tls)
    began, words = time.monotonic(), b""
    writer.write(first)
    with contextlib.suppress(OSError):
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    heard = await asyncio.wait_for(reader.read(65_536), 0.2)
                except TimeoutError:
                    writer.write(drip)
                    continue
                if not heard:
                    break
                words += heard
    seconds = time.monotonic() - began
    writer.transport.abort()
    return End(seconds if seconds < PATIENCE else None, words)


async def borne_over_http2(world: World, first: Frame | None, drip: Frame | None) -> End:
    """The same with frames; the end is that of the stream or of the connection."""
    async with http2.connection(world) as connection:
        began = time.monotonic()
        if first is not None:
            await connection.send(first)
        while time.monotonic() - began < PATIENCE and not connection.ended.is_set():
            if connection.of(http2.RESET):
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.ended.wait(), 0.2)
            if drip is not None:
                await connection.send(drip)
        seconds = time.monotonic() - began
        return End(seconds if seconds < PATIENCE else None)


async def deaf(world: World) -> End:
    """Asks for much and takes nothing of it; what it gets afterwards is what was on the way."""
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    own.setblocking(False)
    await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", world.state.https_port))
    reader, writer = await asyncio.open_connection(
        sock=own, ssl=world.trust(), server_hostname=RESIDENTS, limit=4096
    )
    writer.write(request("GET /large", SESSION))
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(LIMITS.deaf * 2)
    with contextlib.suppress(OSError):
        async with asyncio.timeout(PATIENCE):
            left = 0
            while heard := await reader.read(65_536):
                left += len(heard)
                if left >= LARGE:
                    return End(None)
    writer.transport.abort()
    return End(LIMITS.deaf)


LONG = 500_000
"""Short bodies are another matter: see the last test."""


def post(path: str = "/api/v1/slow", *headers: str, length: int = LONG) -> bytes:
    return request(f"POST {path}", f"Content-Length: {length}", *headers)


def opened(**more: str) -> Frame:
    return Frame(http2.HEADERS, END_HEADERS, 1, http2.head(RESIDENTS, "/api/v1/slow", "POST", **more))


BLOCK = http2.head(RESIDENTS, "/api/v1/slow")

ATTACKS: dict[str, Callable[[World], Awaitable[End]]] = {
    "says nothing at all": lambda world: borne(world, b"", tls=False),
    "says nothing after the handshake": lambda world: borne(world, b""),
    "dribbles its headers": lambda world: borne(world, b"GET / HTTP/1.1\r\nX-Slow: ", b"a"),
    "dribbles many headers": lambda world: borne(world, b"GET / HTTP/1.1\r\n", b"X-Slow: a\r\n"),
    "stops within its body": lambda world: borne(world, post() + b"half"),
    "dribbles its body": lambda world: borne(world, post() + b"half", b"a"),
    "dribbles chunks": lambda world: borne(
        world, request("POST /api/v1/slow", "Transfer-Encoding: chunked"), b"1\r\na\r\n"
    ),
    "dribbles its body to an application": lambda world: borne(world, post("/slow", SESSION), b"a"),
    "stops within a short body that nobody wants": lambda world: borne(world, post("/internal", length=500)),
    "asks once and stays": lambda world: borne(world, request("GET /login")),
    "takes nothing of its answer": deaf,
    "says nothing over HTTP/2": lambda world: borne_over_http2(world, None, None),
    "dribbles its headers over HTTP/2": lambda world: borne_over_http2(
        world, Frame(http2.HEADERS, 0, 1, BLOCK), Frame(http2.CONTINUATION, 0, 1, http2.header("x", "a"))
    ),
    "stops within its body over HTTP/2": lambda world: borne_over_http2(world, opened(), None),
    "dribbles its body over HTTP/2": lambda world: borne_over_http2(
        world, opened(), Frame(http2.DATA, 0, 1, b"a")
    ),
}

LASTS = LIMITS.idle + 1.0
"""How long the honest ones take: longer than every limit."""


async def slow_upload(world: World) -> bytes:
    """Slow, and faster than the least."""
    reader, writer = await dial(world)
    pieces = int(LASTS / 0.2)
    writer.write(post(length=pieces * 400))
    for _ in range(pieces):
        await asyncio.sleep(0.2)
        writer.write(bytes(400))
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    writer.transport.abort()
    return answer


async def late_answer(world: World) -> bytes:
    """A whole request whose answer takes its time."""
    reader, writer = await dial(world)
    writer.write(request("POST /stream", SESSION, "Content-Length: 4") + b"body")
    await reader.readuntil(b"one\n")
    await asyncio.sleep(LASTS)
    (world.folder / "release").touch()
    rest = await asyncio.wait_for(reader.readuntil(b"two\n"), PATIENCE)
    writer.transport.abort()
    return rest


async def quiet_socket(world: World) -> bytes:
    """A WebSocket on which nothing is said for a while."""
    reader, writer = await dial(world)
    key = f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}"
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key)
    writer.write(request("GET /live", SESSION, *upgrade))
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(LASTS)
    writer.write(b"\x81\x05hello")
    echo = await asyncio.wait_for(reader.readexactly(7), PATIENCE)
    writer.transport.abort()
    return echo


HONEST = (slow_upload, late_answer, quiet_socket)


@pytest.fixture(scope="module")
async def seen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Seen]:
    async with (
        running_world(tmp_path_factory.mktemp("edge"), limits=LIMITS) as world,
        others(world) as everybody,
    ):
        upload, late, echo = (asyncio.create_task(one(world)) for one in HONEST)
        attacks = {
            name: asyncio.gather(*(attack(world) for _ in range(OF_EACH))) for name, attack in ATTACKS.items()
        }
        ends = {name: await several for name, several in attacks.items()}
        honest = {"upload": await upload, "late": await late, "echo": await echo}
        yield Seen(ends=ends, honest=honest, others=everybody)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_who_is_too_slow_is_cut_off(seen: Seen, attack: str) -> None:
    for end in seen.ends[attack]:
        assert end.seconds is not None, "it was borne for ever"
        assert end.seconds > min(LIMITS.header, LIMITS.pause) - 1.0, "it was given its time"


async def test_everybody_else_is_answered_meanwhile(seen: Seen) -> None:
    assert seen.others.failures == []
    assert set(seen.others.statuses) == {200}
    assert seen.others.statuses.total() > 20


async def test_a_slow_upload_that_goes_on_is_taken(seen: Seen) -> None:
    assert seen.honest["upload"].startswith(b"HTTP/1.1 200 ")


async def test_an_answer_may_come_late_and_in_pieces(seen: Seen) -> None:
    assert seen.honest["late"].endswith(b"two\n")


async def test_a_websocket_may_be_silent(seen: Seen) -> None:
    assert seen.honest["echo"] == b"\x81\x05hello"


async def test_a_short_body_that_stops_is_given_up_and_takes_no_instance(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Go's server waits for the rest of up to 256 KiB before it closes, and nothing ends that but the client:
    what stays is a connection that costs as much as an idle one. The request itself is over."""
    limits = Limits(header=1.0, pause=1.0)
    async with running_world(tmp_path_factory.mktemp("edge"), limits=limits) as world:
        hanging = [await dial(world) for _ in range(OF_EACH)]
        for _, writer in hanging:
            writer.write(post("/api/v1/short", length=5000) + b"half")
        await until(lambda: world.state.access_log.read_text().count("/api/v1/short") == OF_EACH)
        assert not [one for one in world.seen(target="/api/v1/short") if one["phase"] == "body"]
        async with world.browser() as browser:
            assert (await browser.get("/api/v1/x")).status_code == 200
        for _, writer in hanging:
            writer.transport.abort()
