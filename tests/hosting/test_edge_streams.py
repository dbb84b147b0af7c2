"""WebSockets and streams through a real edge."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator

import pytest

from support.edge import OWNERS, RESIDENTS, World, running_world


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("edge")) as running:
        yield running


async def open_socket(world: World, *lines: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """Begin a WebSocket through the edge; returns what the answer's head says."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", world.state.https_port, ssl=world.trust(), server_hostname=RESIDENTS
    )
    key = base64.b64encode(os.urandom(16)).decode()
    head = [
        "GET /live HTTP/1.1",
        f"Host: {RESIDENTS}:{world.state.https_port}",
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        *lines,
        "",
        "",
    ]
    writer.write("\r\n".join(head).encode())
    return reader, writer, await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)


async def test_a_websocket_of_the_same_site_passes_both_ways(world: World) -> None:
    origin = f"Origin: https://{RESIDENTS}:{world.state.https_port}"
    reader, writer, head = await open_socket(world, "Cookie: __Host-troth=good", origin)
    assert head.startswith(b"HTTP/1.1 101 ")
    writer.write(b"\x81\x05hello")
    assert await asyncio.wait_for(reader.readexactly(7), 5) == b"\x81\x05hello"
    writer.close()
    opened = dict(world.seen(target="/live")[-1]["headers"])
    assert opened["authorization"] == "Bearer token-of-the-session"
    assert "cookie" not in opened
    assert "upgrade" not in dict(world.seen(target="/internal/forward")[-1]["headers"])


async def test_a_websocket_from_another_site_is_refused_before_the_application_sees_it(world: World) -> None:
    before = len(world.seen(target="/live"))
    cookie = "Cookie: __Host-troth=good"
    for origin in (f"https://evil.{RESIDENTS}:{world.state.https_port}", f"https://{OWNERS}", "null"):
        _, writer, head = await open_socket(world, cookie, f"Origin: {origin}")
        assert head.startswith(b"HTTP/1.1 403 ")
        writer.close()
    assert len(world.seen(target="/live")) == before


async def test_a_websocket_without_a_session_is_sent_away(world: World) -> None:
    _, writer, head = await open_socket(world)
    assert head.startswith(b"HTTP/1.1 302 ")
    writer.close()


async def test_a_stream_reaches_the_client_while_it_is_being_made(world: World) -> None:
    async with world.browser(session=True) as browser:
        stream = browser.client.stream("GET", "/stream", extensions=browser.extensions)
        async with stream as answer:
            pieces = answer.aiter_raw()
            assert await asyncio.wait_for(anext(pieces), 5) == b"one\n"
            (world.folder / "release").touch()
            assert await asyncio.wait_for(anext(pieces), 5) == b"two\n"
