"""What an application has open for a signed-in person is cut when the session ends, or nobody can tell."""

import asyncio
import base64
import http.client
import os
import ssl
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.stage import Stage
from support.waiting import until
from troth.core.process import Endpoint
from troth.hosting.ports import free_ports
from troth.hosting.streams import SESSION_HEADER, SILENT_SECONDS, Ended, Label
from troth.hosting.wire import encode

APPLICATION = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    assert not any(name == b"x-troth-session" for name, _ in scope["headers"])
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    try:
        if scope["path"] == "/waits":
            print("waits", flush=True)
            await asyncio.Event().wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        if scope["path"] == "/stream":
            await asyncio.Event().wait()
        await send({"type": "http.response.body", "body": b"two"})
    except asyncio.CancelledError:
        print("cancelled " + scope["path"], flush=True)
        raise

def make():
    return app
"""


class Teller:
    """The web service as far as a listener sees it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._writers: list[asyncio.StreamWriter] = []
        self.endpoint = Endpoint("127.0.0.1", free_ports(1)[0])
        self.asked: list[bytes] = []
        self.silent = False

    async def serve(self) -> asyncio.Server:
        own, callers = self._stage.issue(self._stage.instances, "server", "teller"), self._stage.callers
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=callers.certificate_file)
        context.load_cert_chain(own.certificate, own.key)
        context.verify_mode = ssl.CERT_REQUIRED
        return await asyncio.start_server(self._answer, "127.0.0.1", self.endpoint.port, ssl=context)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.write(b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n")
        self._writers.append(writer)
        while not writer.is_closing():
            if not self.silent:
                self._tell(writer, Ended("beat"))
            await asyncio.sleep(0.2)

    def tell(self, ended: Ended) -> None:
        for writer in self._writers:
            self._tell(writer, ended)

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def _tell(self, writer: asyncio.StreamWriter, ended: Ended) -> None:
        if not writer.is_closing():
            writer.write(encode(ended) + b"\n")

    @property
    def environment(self) -> dict[str, str]:
        keeper = self._stage.keeper
        return {
            "TROTH_API_URL": f"https://{self.endpoint}",
            "TROTH_API_CA": str(self._stage.instances.certificate_file),
            "TROTH_API_CERTIFICATE": str(keeper.certificate),
            "TROTH_API_KEY": str(keeper.key),
        }


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncGenerator[Stage]:
    stage = Stage(tmp_path, APPLICATION)
    yield stage
    if stage.process is not None:
        stage.process.kill()
        stage.process.wait()


@pytest.fixture
async def teller(stage: Stage) -> AsyncGenerator[Teller]:
    teller = Teller(stage)
    server = await teller.serve()
    stage.start(**teller.environment)
    await stage.until_ready()
    await until(lambda: bool(teller.asked))
    yield teller
    for writer in _opened:
        writer.transport.abort()
    _opened.clear()
    teller.hang_up()
    server.close()
    await server.wait_closed()


_opened: list[asyncio.StreamWriter] = []
"""Requests of a test that may still be under way at its end."""


def label(name: str, *, began: float = 100.0, vouched: float | None = None) -> Label:
    return Label(f"session-{name}", f"person-{name}", "tenant", began, vouched or time.time())


async def ask(
    stage: Stage, path: str, whose: Label | None, *lines: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context(cafile=stage.instances.certificate_file)
    context.load_cert_chain(stage.keeper.certificate, stage.keeper.key)
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.endpoint.port, ssl=context)
    _opened.append(writer)
    named = [f"{SESSION_HEADER.decode()}: {whose.write()}"] if whose else []
    writer.write("\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *named, *lines, "", ""]).encode())
    return reader, writer


async def begun(stage: Stage, path: str, whose: Label | None) -> asyncio.StreamReader:
    """A stream whose first piece has come."""
    reader, _ = await ask(stage, path, whose)
    await asyncio.wait_for(reader.readuntil(b"one\r\n"), 10)
    return reader


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection is closed."""
    try:
        return await asyncio.wait_for(reader.read(), 15)
    except (ConnectionError, ssl.SSLError):
        return b""


async def test_a_stream_is_cut_with_its_session_and_not_taken_for_whole(stage: Stage, teller: Teller) -> None:
    mine, other = await begun(stage, "/stream", label("a")), await begun(stage, "/stream", label("b"))
    nobodys = await begun(stage, "/stream", None)
    teller.tell(Ended("session", "session-a", True, 200.0))
    assert b"0\r\n\r\n" not in await rest(mine)
    await stage.until_logged("cancelled /stream")
    assert not other.at_eof()
    assert not nobodys.at_eof()
    teller.tell(Ended("person", "person-b", True, 200.0))
    assert b"0\r\n\r\n" not in await rest(other)
    assert not nobodys.at_eof()


async def test_a_request_that_was_not_answered_yet_is_answered_401(stage: Stage, teller: Teller) -> None:
    reader, _ = await ask(stage, "/waits", label("a"))
    await stage.until_logged("waits")
    teller.tell(Ended("tenant", "tenant", True, 200.0))
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 401 ")


async def test_a_websocket_is_closed_with_its_session(stage: Stage, teller: Teller) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    reader, _ = await ask(stage, "/live", label("a"), *upgrade, f"Sec-WebSocket-Key: {key}")
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 101 ")
    teller.tell(Ended("session", "session-a", True, 200.0))
    frame = await rest(reader)
    assert frame[:1] == b"\x88"
    assert int.from_bytes(frame[2:4]) == 1008


async def test_an_ending_that_came_before_the_request_that_was_vouched_for_counts(
    stage: Stage, teller: Teller
) -> None:
    vouched, witness = label("a"), await begun(stage, "/stream", label("b"))
    teller.tell(Ended("session", "session-a", True, 200.0))
    teller.tell(Ended("session", "session-b", True, 200.0))
    await rest(witness)
    reader, _ = await ask(stage, "/stream", vouched)
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 401 ")


async def test_who_signed_in_again_after_a_change_of_password_goes_on(stage: Stage, teller: Teller) -> None:
    fresh = await begun(stage, "/stream", label("a", began=300.0))
    old = await begun(stage, "/stream", label("a", began=100.0))
    teller.tell(Ended("person", "person-a", True, 200.0))
    await rest(old)
    assert not fresh.at_eof()
    await begun(stage, "/stream", label("a", began=300.0))


async def test_what_is_no_longer_remembered_but_not_over_cuts_nothing(stage: Stage, teller: Teller) -> None:
    first, second = await begun(stage, "/stream", label("a")), await begun(stage, "/stream", label("b"))
    teller.tell(Ended("session", "session-a", False, 200.0))
    teller.tell(Ended("all", "", False))
    teller.tell(Ended("session", "session-b", True, 200.0))
    await rest(second)
    assert not first.at_eof()


async def test_while_nobody_can_tell_old_streams_are_cut(stage: Stage, teller: Teller) -> None:
    mine, nobodys = await begun(stage, "/stream", label("a")), await begun(stage, "/stream", None)
    teller.silent = True
    began = time.monotonic()
    await rest(mine)
    assert time.monotonic() - began >= SILENT_SECONDS - 1
    assert not nobodys.at_eof()


async def test_a_listener_that_was_cut_off_asks_for_what_it_missed(stage: Stage, teller: Teller) -> None:
    mine = await begun(stage, "/stream", label("a"))
    teller.hang_up()
    await until(lambda: len(teller.asked) == 2)
    assert teller.asked[1].startswith(b"GET /internal/endings?since=6")
    teller.tell(Ended("session", "session-a", True, 200.0))
    await rest(mine)


async def test_an_answer_that_is_complete_is_nobodys_to_cut(stage: Stage, teller: Teller) -> None:
    connection = stage.connect(stage.keeper)
    connection.request("GET", "/", headers={SESSION_HEADER.decode(): label("a").write()})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"onetwo")
    teller.tell(Ended("session", "session-a", True, 200.0))
    other = await begun(stage, "/stream", label("b"))
    teller.tell(Ended("session", "session-b", True, 200.0))
    await rest(other)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("value", ["", "x", "a/b/c/d/e", "a/b/c/1"])
async def test_a_label_that_cannot_be_read_opens_nothing(stage: Stage, teller: Teller, value: str) -> None:
    connection: http.client.HTTPSConnection = stage.connect(stage.keeper)
    connection.request("GET", "/", headers={SESSION_HEADER.decode(): value})
    assert connection.getresponse().status == 500
    connection.close()
