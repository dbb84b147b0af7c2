"""How the keeper asks an instance: on one connection for a while, and on a new one when that is no good."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from troth.core.ca import Authority, LeafFiles, Subject, write_leaf
from troth.core.process import Endpoint
from troth.hosting import health
from troth.hosting.health import ReadinessProbe

READY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n"
ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n.\r\n"


class Told:
    """A server over mutual TLS that says `answer` to each question, and counts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.answer = folder, READY
        self.connections = self.questions = 0
        self.writers: list[asyncio.StreamWriter] = []
        now = datetime.now(UTC)
        self.authority = Authority.open(folder, "instances", now=now)
        self.client = self.issue("keeper")
        self.endpoint = Endpoint("127.0.0.1", 0)

    def issue(self, name: str) -> LeafFiles:
        subject = Subject(common_name=name, usage="server" if name == "toy" else "client")
        leaf = self.authority.issue(subject, now=datetime.now(UTC), lifetime=timedelta(days=1))
        return write_leaf(leaf, self.folder, name)

    async def serve(self) -> asyncio.Server:
        own = self.issue("toy")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority.certificate_file)
        context.load_cert_chain(own.certificate, own.key)
        context.verify_mode = ssl.CERT_REQUIRED
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0, ssl=context)
        self.endpoint = Endpoint(*server.sockets[0].getsockname())
        return server

    def probe(self, seconds: float = 5.0) -> ReadinessProbe:
        client = self.client
        return ReadinessProbe(
            self.authority.certificate_file, client.certificate, client.key, seconds=seconds, keeps=True
        )

    async def hang_up(self) -> None:
        for writer in self.writers:
            writer.close()
        self.writers.clear()
        await asyncio.sleep(0.05)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        while await reader.read(1000):
            self.questions += 1
            writer.write(self.answer)
        writer.close()


@pytest.fixture
async def told(tmp_path: Path) -> AsyncGenerator[Told]:
    told = Told(tmp_path)
    server = await told.serve()
    yield told
    await told.hang_up()
    server.close()


async def test_one_connection_is_asked_again_and_again(told: Told) -> None:
    probe = told.probe()
    assert [await probe.is_started(told.endpoint) for _ in range(3)] == [True] * 3
    assert (told.connections, told.questions) == (1, 3)
    probe.close()


async def test_an_instance_that_ended_the_connection_is_asked_on_a_new_one(told: Told) -> None:
    probe = told.probe()
    assert await probe.is_started(told.endpoint)
    await told.hang_up()
    assert await probe.is_started(told.endpoint)
    assert told.connections == 2
    probe.close()


async def test_a_connection_that_is_old_is_not_asked_again(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "KEPT_SECONDS", 0.0)
    probe = told.probe()
    assert await probe.is_started(told.endpoint) and await probe.is_started(told.endpoint)
    assert told.connections == 2, "an instance has to be able to take new ones too"
    probe.close()


async def test_connections_under_a_former_certificate_are_not_asked_again(told: Told) -> None:
    probe = told.probe()
    assert await probe.is_started(told.endpoint)
    told.issue("keeper")
    assert await probe.is_started(told.endpoint)
    assert told.connections == 2
    probe.close()


async def test_a_page_without_end_is_judged_by_its_status(told: Told) -> None:
    told.answer = ENDLESS
    probe = told.probe()
    assert await probe.is_well(told.endpoint, "/") and await probe.is_well(told.endpoint, "/")
    assert told.connections == 2
    probe.close()


async def test_one_that_is_silent_on_a_kept_connection_is_not_ready(told: Told) -> None:
    probe = told.probe(seconds=0.3)
    assert await probe.is_started(told.endpoint)
    told.answer = b""
    answer = await probe.ask(told.endpoint)
    assert (answer.ready, answer.status, answer.detail) == (False, 0, "no answer within 0.3 s")
    probe.close()


async def test_a_late_answer_serves_whoever_takes_one_that_old(told: Told) -> None:
    probe = told.probe()
    first = await probe.ask(told.endpoint, health.STARTED_PATH)
    assert await probe.lately(told.endpoint, health.STARTED_PATH, 60.0) is first
    assert told.questions == 1
    assert (await probe.lately(told.endpoint, health.STARTED_PATH, 0.0)).ready
    assert (await probe.lately(told.endpoint, health.READY_PATH, 60.0)).ready
    assert told.questions == 3
    probe.close()
