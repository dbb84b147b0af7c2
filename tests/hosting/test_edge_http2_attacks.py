"""Floods over one HTTP/2 connection: the edge ends it or bears it, and everybody else is answered."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import psutil
import pytest

from support import http2
from support.edge import RESIDENTS, World, running_world
from support.http2 import CANCEL, END_HEADERS, END_STREAM, Connection, Frame, connection
from support.others import others
from support.waiting import until

MEBIBYTE = 1 << 20
MAX_CONCURRENT_STREAMS = 3

AT_ONCE = {"GOGC": "50"}
"""What is not in use is collected soon: the memory that is measured is what the edge holds."""

LONGEST = 10.0
"""Seconds that anybody else may wait for an answer: for a hang alone, on a busy machine."""


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("edge"), environment=AT_ONCE) as running:
        yield running


def asked(stream: int, path: str = "/api/v1/flood", flags: int = END_HEADERS | END_STREAM) -> Frame:
    return Frame(http2.HEADERS, flags, stream, http2.head(RESIDENTS, path))


def edge(world: World) -> psutil.Process:
    return psutil.Process(world.processes["edge"].pid)


def memory(world: World) -> int:
    return edge(world).memory_info().rss


@contextlib.asynccontextmanager
async def stuck(world: World) -> AsyncGenerator[None]:
    """Inside the block no instance answers."""
    marks = [world.folder / f"{name}.stuck" for name in world.web]
    for mark in marks:
        mark.touch()
    try:
        yield
    finally:
        for mark in marks:
            mark.unlink()


async def flood(attacker: Connection, frames: Callable[[int], tuple[Frame, ...]], times: int) -> int:
    """Send what `frames` makes of each number, in parcels; returns how often it was taken."""
    for begin in range(0, times, 50):
        parcel = [frame for number in range(begin, begin + 50) for frame in frames(number)]
        if not await attacker.send(*parcel):
            return begin
    return times


def opened_and_reset(number: int) -> tuple[Frame, ...]:
    stream = 2 * number + 1
    return asked(stream), Frame(http2.RESET, 0, stream, CANCEL)


async def test_streams_that_are_opened_and_reset_at_once_reach_hardly_an_instance(world: World) -> None:
    """Rapid reset, CVE-2023-44487: no stream is ever open, so no limit of open streams is met."""
    before = len(world.seen(target="/api/v1/flood"))
    async with others(world) as everybody, connection(world) as attacker:
        await flood(attacker, opened_and_reset, 10_000)
        await everybody.answered(10)
    assert everybody.failures == []
    assert set(everybody.statuses) == {200}
    assert everybody.longest < LONGEST
    assert len(world.seen(target="/api/v1/flood")) - before < 5000


async def test_resets_while_the_instances_hang_leave_nothing_behind(world: World) -> None:
    """What was taken back waits for nobody: afterwards everything is as it was."""
    async with world.browser() as browser:
        assert (await browser.get("/api/v1/x")).status_code == 200
    before, descriptors = memory(world), edge(world).num_fds()
    async with stuck(world), connection(world) as attacker:
        await flood(attacker, opened_and_reset, 10_000)
    async with world.browser() as browser:
        assert (await browser.get("/api/v1/x")).status_code == 200
    await until(lambda: edge(world).num_fds() < descriptors + 100)
    assert memory(world) - before < 64 * MEBIBYTE


async def test_no_more_streams_than_allowed_are_open_at_once(world: World) -> None:
    """RFC 9113, section 5.1.2: one too many is refused."""
    async with stuck(world), connection(world) as attacker:
        await until(lambda: bool(attacker.of(http2.SETTINGS)))
        settings = attacker.of(http2.SETTINGS)[0].payload
        pairs = [settings[at : at + 6] for at in range(0, len(settings), 6)]
        told = {int.from_bytes(one[:2], "big"): int.from_bytes(one[2:], "big") for one in pairs}
        most = told[MAX_CONCURRENT_STREAMS]
        assert most <= 250
        await flood(attacker, lambda n: (asked(2 * n + 1),), most + 50)
        await until(lambda: bool(attacker.of(http2.RESET)) or attacker.ended.is_set())
        refused = {one.stream for one in attacker.of(http2.RESET)}
        assert attacker.ended.is_set() or min(refused) > 2 * most - 1
    async with world.browser() as browser:
        assert (await browser.get("/api/v1/x")).status_code == 200


async def test_headers_that_never_end_end_the_connection(world: World) -> None:
    """CONTINUATION flood, CVE-2023-45288 and its family: no frame of it is the last."""
    before = memory(world)
    parcel = b"".join(http2.header(f"x-{n}", "a" * 200) for n in range(60))
    async with others(world) as everybody, connection(world) as attacker:
        await attacker.send(asked(1, flags=0))
        taken = 0
        while taken < 64 * MEBIBYTE:
            if not await attacker.send(Frame(http2.CONTINUATION, 0, 1, parcel)):
                break
            taken += len(parcel)
        await asyncio.wait_for(attacker.ended.wait(), 20)
        await everybody.answered(4)
    assert taken < 64 * MEBIBYTE
    assert everybody.failures == []
    assert memory(world) - before < 64 * MEBIBYTE


async def test_empty_continuations_end_the_connection_or_are_borne(world: World) -> None:
    """The same with nothing in them: no size is ever exceeded."""
    async with others(world) as everybody, connection(world) as attacker:
        await attacker.send(asked(1, flags=0))
        await flood(attacker, lambda _: (Frame(http2.CONTINUATION, 0, 1),), 20_000)
        await everybody.answered(4)
    assert everybody.failures == []
    assert everybody.longest < LONGEST


@pytest.mark.parametrize("name", ["ping", "settings", "window", "empty data"])
async def test_frames_that_want_an_answer_each_cost_nobody_else_anything(world: World, name: str) -> None:
    """CVE-2019-9512, 9515, 9518: each makes the server write, or work for nothing."""
    frames = {
        "ping": Frame(http2.PING, 0, 0, bytes(8)),
        "settings": Frame(http2.SETTINGS),
        "window": Frame(http2.WINDOW_UPDATE, 0, 0, (1).to_bytes(4, "big")),
        "empty data": Frame(http2.DATA, 0, 1),
    }
    before = memory(world)
    async with others(world) as everybody, connection(world) as attacker:
        if name == "empty data":
            await attacker.send(asked(1, flags=END_HEADERS))
        await flood(attacker, lambda _: (frames[name],), 20_000)
        await everybody.answered(4)
    assert everybody.failures == []
    assert everybody.longest < LONGEST
    assert memory(world) - before < 64 * MEBIBYTE


SMUGGLED: dict[str, dict[str, str]] = {
    "transfer-encoding": {"transfer_encoding": "chunked"},
    "connection": {"connection": "keep-alive, x-troth-person"},
    "a line in a value": {"x_a": "b\r\nx-troth-person: forged"},
    "a request in a value": {"x_a": "b\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x"},
    "NUL in a value": {"x_a": "b\0c"},
    "capitals in a name": {"X-Troth-Person": "forged"},
    "a colon in a name": {"x_troth-person:forged ": "b"},
    "a space in a name": {"x troth person": "b"},
    "a line in a name": {"x-a: b\r\nx-troth-person": "forged"},
}


@pytest.mark.parametrize("trick", SMUGGLED)
async def test_what_only_http_1_would_read_as_more_is_refused(world: World, trick: str) -> None:
    """Request smuggling by a step down: RFC 9113, sections 8.2.1 and 8.2.2."""
    block = http2.head(RESIDENTS, "/api/v1/trick", **SMUGGLED[trick])
    async with connection(world) as attacker:
        await attacker.send(Frame(http2.HEADERS, END_HEADERS | END_STREAM, 1, block))
        await until(
            lambda: bool(attacker.of(http2.RESET) or attacker.of(http2.HEADERS)) or attacker.ended.is_set()
        )
    assert not world.seen(target="/smuggled")
    for one in world.seen(target="/api/v1/trick"):
        assert "forged" not in str(one["headers"])


@pytest.mark.parametrize(
    ("name", "value"),
    [(":path", "/api/v1/x y"), (":path", "relative"), (":method", "GET /smuggled HTTP/1.1\r\nx:")],
)
async def test_pseudo_headers_that_hold_another_request_are_refused(
    world: World, name: str, value: str
) -> None:
    fields = {
        ":method": "GET",
        ":scheme": "https",
        ":authority": RESIDENTS,
        ":path": "/api/v1/x",
        name: value,
    }
    block = b"".join(http2.header(*field) for field in fields.items())
    async with connection(world) as attacker:
        await attacker.send(Frame(http2.HEADERS, END_HEADERS | END_STREAM, 1, block))
        await until(
            lambda: bool(attacker.of(http2.RESET) or attacker.of(http2.HEADERS)) or attacker.ended.is_set()
        )
    assert not world.seen(target="/smuggled")


async def test_a_body_longer_than_it_said_never_arrives_whole(world: World) -> None:
    """RFC 9113, section 8.1.1: h2.CL, the rest of which HTTP/1.1 would take for the next request."""
    hidden = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    block = http2.head(RESIDENTS, "/api/v1/longer", "POST", content_length="0")
    async with connection(world) as attacker:
        await attacker.send(
            Frame(http2.HEADERS, END_HEADERS, 1, block), Frame(http2.DATA, END_STREAM, 1, hidden)
        )
        await until(lambda: bool(attacker.of(http2.RESET)) or attacker.ended.is_set())
    assert not world.seen(target="/smuggled")
