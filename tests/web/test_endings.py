"""What an instance says of its feed: whether it hears, and for how long it has not."""

import httpx
import msgspec
from starlette.applications import Starlette

from support.postgres import Server
from troth.access.endings import Feed
from troth.core.db import Database
from troth.data.roles import APP
from troth.web.endings import FEED_PATH, routes


class Services(msgspec.Struct, frozen=True):
    """What the routes need."""

    database: Database
    feed: Feed


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
