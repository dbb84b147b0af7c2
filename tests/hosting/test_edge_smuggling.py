"""Requests that two programs could read in two ways: the edge reads them in one, or refuses them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from support.edge import RESIDENTS, World, running_world

HIDDEN = b"GET /internal/forward?smuggled HTTP/1.1\r\nHost: residents.localhost\r\n\r\n"
"""What no client may ask: it must never reach an instance as a request of its own."""


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("edge")) as running:
        yield running


async def say(world: World, data: bytes, *, answers: int = 0) -> bytes:
    """What the edge answers to these bytes: so many answers, or all of a moment or until it ends the
    connection."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", world.state.https_port, ssl=world.trust(), server_hostname=RESIDENTS
    )
    writer.write(data)
    heard = b""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(20 if answers else 0.3):
            while not answers or heard.count(b"HTTP/1.1 ") < answers:
                more = await reader.read(65_536)
                if not more:
                    break
                heard += more
    writer.transport.abort()
    return heard


def head(*lines: bytes, method: bytes = b"POST") -> bytes:
    host = RESIDENTS.encode()
    return b"\r\n".join((method + b" /api/v1/outer HTTP/1.1", b"Host: " + host, *lines, b"", b""))


CHUNKED = b"Transfer-Encoding: chunked"

REFUSED: dict[str, bytes] = {
    "two lengths": head(b"Content-Length: 0", b"Content-Length: 70") + HIDDEN,
    "two lengths in one": head(b"Content-Length: 0, 70") + HIDDEN,
    "a length with a sign": head(b"Content-Length: +70") + HIDDEN,
    "a negative length": head(b"Content-Length: -1") + HIDDEN,
    "a length in hexadecimal": head(b"Content-Length: 0x46") + HIDDEN,
    "an unknown coding": head(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n" + HIDDEN,
    "two codings": head(b"Transfer-Encoding: identity, chunked") + b"0\r\n\r\n" + HIDDEN,
    "a coding said twice": head(CHUNKED, b"Transfer-Encoding: identity") + b"0\r\n\r\n" + HIDDEN,
    "a space before the colon": head(b"Transfer-Encoding : chunked") + b"0\r\n\r\n" + HIDDEN,
    "a tab before the colon": head(b"Content-Length\t: 70") + HIDDEN,
    "a vertical tab before the coding": head(b"Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n" + HIDDEN,
    "a carriage return within a value": head(b"X-A: b\rContent-Length: 70") + HIDDEN,
    "NUL within a value": head(b"X-A: b\0c"),
    "a name that is none": head(b"Content-\xc3\xa4: 1"),
    "no name": head(b": b"),
    "a line without a colon": head(b"X-A"),
    "a first line that is folded": b"POST /api/v1/outer\r\n HTTP/1.1\r\nHost: x\r\n\r\n",
    "a folded line before any field": b"GET /api/v1/outer HTTP/1.1\r\n X-A: b\r\nHost: x\r\n\r\n",
    "two hosts": head(b"Host: owners.localhost"),
    "no host": b"GET /api/v1/outer HTTP/1.1\r\n\r\n",
    "an unknown version": b"GET /api/v1/outer HTTP/3.7\r\nHost: residents.localhost\r\n\r\n",
    "HTTP/0.9": b"GET /api/v1/outer\r\n\r\n",
}


@pytest.mark.parametrize("trick", REFUSED)
async def test_what_cannot_be_read_in_one_way_reaches_nobody(world: World, trick: str) -> None:
    before = len(world.seen())
    answer = await say(world, REFUSED[trick])
    assert not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 302")), answer[:200]
    assert answer.count(b"HTTP/1.1 ") <= 1, "what follows is not read"
    assert len(world.seen()) == before


READ_IN_ONE_WAY: dict[str, bytes] = {
    "a length and chunks": head(b"Content-Length: 70", CHUNKED) + b"0\r\n\r\n" + HIDDEN,
    "chunks and a length": head(CHUNKED, b"Content-Length: 4") + b"46\r\n" + HIDDEN + b"\r\n0\r\n\r\n",
    "a body of GET": head(b"Content-Length: %d" % len(HIDDEN), method=b"GET") + HIDDEN,
    "a folded field": head(
        b"X-A: b", b"\tX-Troth-Person: forged", b" Content-Length: 70", b"Content-Length: 0"
    ),
    "lines that end in LF alone": head(b"X-A: b\nX-Troth-Person: forged\nContent-Length: 0"),
    "an extension of a chunk": head(CHUNKED) + b"1;a=b\r\nx\r\n0\r\n\r\n",
    "a trailer": head(CHUNKED, b"Trailer: X-Troth-Person") + b"1\r\nx\r\n0\r\nX-Troth-Person: forged\r\n\r\n",
    "another request behind": head(b"Content-Length: 0") + HIDDEN,
    "chunk sizes that end in LF alone": head(CHUNKED) + b"1\nx\r\n0\r\n\r\n" + HIDDEN,
    "an extension that ends in LF alone": head(CHUNKED) + b"1;\nx\r\n0\r\n\r\n" + HIDDEN,
    "a chunk's size with much before it": head(CHUNKED) + b"0" * 60 + b"1\r\nx\r\n0\r\n\r\n" + HIDDEN,
}


@pytest.mark.parametrize("trick", READ_IN_ONE_WAY)
async def test_what_instances_get_is_what_the_edge_read(world: World, trick: str) -> None:
    """Each request as the edge understood it, written anew: one framing, no folded line, nothing forged."""
    await say(world, READ_IN_ONE_WAY[trick])
    assert not world.seen(target="/internal/forward?smuggled"), "a hidden path is hidden in every position"
    for one in world.seen(target="/api/v1/outer"):
        names = [name for name, _ in one["headers"]]
        assert len({"content-length", "transfer-encoding"} & set(names)) <= 1
        assert names.count("content-length") <= 1
        assert "x-troth-person" not in names
        assert not any("\n" in value or "\r" in value for _, value in one["headers"])


PATHS = {
    b"/api/v1/outer": "the limit of the path is passed",
    b"/api/v1/early": "an instance answers before the body",
    b"/page": "the visitor is sent to sign in",
    b"/internal/x": "there is nothing",
}


def with_a_body(path: bytes, size: int, *, chunked: bool) -> bytes:
    """A request whose body is made of requests, of which any that is read as one is answered."""
    begin = b"POST " + path + b" HTTP/1.1\r\nHost: " + RESIDENTS.encode()
    inner = b"GET /health HTTP/1.1\r\nHost: " + RESIDENTS.encode() + b"\r\n\r\n"
    body = (inner * (size // len(inner) + 1))[:size]
    if not chunked:
        return begin + b"\r\nContent-Length: %d\r\n\r\n" % size + body
    pieces = (body[at : at + 65_536] for at in range(0, size, 65_536))
    chunks = b"".join(b"%x\r\n" % len(piece) + piece + b"\r\n" for piece in pieces)
    return begin + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


@pytest.mark.parametrize("path", PATHS, ids=PATHS.values())
async def test_what_is_left_of_a_body_is_never_read_as_the_next_request(world: World, path: bytes) -> None:
    """Caddy 2.11 by itself keeps the connection when a body is left half-way. A page of another site could
    then put requests of its own on a visitor's connection, past every rule about origins."""
    sizes = (200, 99_999, 100_000, 262_145, 1_048_577, 3_000_000)
    requests = [with_a_body(path, size, chunked=chunked) for size in sizes for chunked in (False, True)]
    for answer in await asyncio.gather(*(say(world, one) for one in requests)):
        assert answer.count(b"HTTP/1.1 ") <= 1, answer
    assert not world.seen(target="/health")


async def test_a_connection_goes_on_after_a_short_body(world: World) -> None:
    short = head(b"Content-Length: 5") + b"short"
    answer = await say(world, short + short, answers=2)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert b"Connection: close" not in answer


@pytest.mark.parametrize("size", [40_000, 4_000_000])
async def test_headers_beyond_the_limit_end_the_connection(world: World, size: int) -> None:
    answer = await say(world, head(b"X-Filler: " + b"a" * size) + HIDDEN)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    assert answer.count(b"HTTP/1.1 ") <= 1


async def test_many_headers_beyond_the_limit_end_the_connection(world: World) -> None:
    answer = await say(world, head(*(b"X-%d: a" % number for number in range(20_000))))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


async def test_a_path_beyond_the_limit_ends_the_connection(world: World) -> None:
    answer = await say(world, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: residents.localhost\r\n\r\n")
    assert answer == b"" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 414 "))
