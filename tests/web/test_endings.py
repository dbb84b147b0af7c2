"""What an instance says of its feed: whether it hears, for how long it has not, and what ended."""

import asyncio
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

import httpx
import msgspec
from starlette.applications import Starlette

from support.postgres import Server
from troth.access.endings import Ending, Feed
from troth.core.db import Database
from troth.core.leader import DatabaseTarget
from troth.data.roles import APP
from troth.web.endings import FEED_PATH, PATH, routes


class Services(msgspec.Struct, frozen=True):
    """What the routes need."""

    database: Database
    feed: Feed


class Crier(Feed):
    """A feed that a test speaks for, to one hearer."""

    def __init__(self, target: DatabaseTarget) -> None:
        super().__init__(target)
        self.heard = asyncio.Event()

    def subscribe(self, hear: Callable[[Ending], None]) -> None:
        self.cry = hear
        self.heard.set()

    def unsubscribe(self, hear: Callable[[Ending], None]) -> None:
        assert hear is self.cry


async def ask(services: Services) -> dict[str, object]:
    transport = httpx.ASGITransport(Starlette(routes=routes(services)))
    async with httpx.AsyncClient(transport=transport, base_url="https://127.0.0.1") as client:
        answer = await client.get(FEED_PATH)
    assert answer.status_code == 200
    assert answer.headers["cache-control"].startswith("no-store")
    return answer.json()


async def test_an_instance_says_whether_its_feed_hears(database: Database, postgres: Server) -> None:
    feed = Feed(postgres.target(APP))
    services = Services(database, feed)
    assert await ask(services) == {"lively": False, "silent_seconds": None}
    async with feed.listening():
        assert await feed.until_lively(10)
        heard = await ask(services)
        assert heard["lively"] is True
        assert isinstance(heard["silent_seconds"], float)
    assert (await ask(services))["lively"] is False


async def test_a_listener_that_does_not_read_is_cut_off_and_costs_no_memory(
    database: Database, postgres: Server
) -> None:
    feed, one = Crier(postgres.target(APP)), Ending("session", "a")
    stands, reads = asyncio.Event(), asyncio.Event()
    lines: list[bytes] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is read of a request without a body")

    async def send(message: MutableMapping[str, Any]) -> None:
        if message.get("body"):
            lines.append(message["body"])
            stands.set()
            await reads.wait()

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": "GET",
        "path": PATH,
        "query_string": b"",
        "headers": [],
    }
    app = Starlette(routes=routes(Services(database, feed)))
    answering = asyncio.create_task(app(scope, receive, send))
    async with asyncio.timeout(30):
        await feed.heard.wait()
        feed.cry(one)
        await stands.wait()
        for _ in range(20_000):
            feed.cry(one)
        assert sys.getrefcount(one) < 5_000
        reads.set()
        await answering
    assert lines == [msgspec.json.encode(one) + b"\n"]
