"""`/internal/endings`: tells applications' instances what ended, line by line, for as long as they listen.

The edge passes it on from its private listener alone, and `/internal/feed` not at all: there the keeper asks
how this instance itself hears. A line names ids that are in every access token
besides, and no secret. A beat is told only while this instance's own feed is lively: whoever hears none cuts
what it has open.
"""

import asyncio
import math
from collections.abc import AsyncGenerator
from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from troth.access.endings import BEAT_SECONDS, RECENT, Ending, Feed
from troth.core.db import Database
from troth.core.errors import Malformed
from troth.web.answers import NO_STORE, json_response, problems
from troth.web.forms import once, read_query

PATH = "/internal/endings"
FEED_PATH = "/internal/feed"
LONGEST_SECONDS = 24 * 60 * 60
_WAITING = 4096
"""Endings that a listener may be behind; a slower one is cut off and asks again for what it missed."""

_BEAT = msgspec.json.encode(Ending("beat")) + b"\n"


class EndingServices(Protocol):
    """What this route needs."""

    @property
    def database(self) -> Database: ...
    @property
    def feed(self) -> Feed: ...


def routes(services: EndingServices) -> list[Route]:
    """The two routes; the edge serves nothing under /internal to the public."""

    async def endings(request: Request) -> Response:
        since = _read_since(once(read_query(request)).get("since", "0"))
        return StreamingResponse(_lines(services, since), 200, NO_STORE, "application/x-ndjson")

    async def feed(request: Request) -> Response:
        state = services.feed.state()
        silent = state.silent_seconds
        return json_response(
            {"lively": state.lively, "silent_seconds": silent if math.isfinite(silent) else None}
        )

    return [
        Route(PATH, problems(endings), methods=["GET"]),
        Route(FEED_PATH, problems(feed), methods=["GET"]),
    ]


def _read_since(text: str) -> int:
    """Seconds. Raises Malformed."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Malformed("`since` is a number of seconds.")
    return min(int(text), LONGEST_SECONDS)


async def _lines(services: EndingServices, since: int) -> AsyncGenerator[bytes]:
    waiting: asyncio.Queue[Ending] = asyncio.Queue(_WAITING)

    def hear(ending: Ending) -> None:
        if not waiting.full():
            waiting.put_nowait(ending)

    services.feed.subscribe(hear)
    try:
        # Listening comes first, what was missed second: nothing falls between the two.
        for row in await services.database.fetch(RECENT, float(since)):
            yield _line(Ending(row["kind"], row["ref"], row["over"], row["at"]))
        while not waiting.full():
            try:
                yield _line(await asyncio.wait_for(waiting.get(), BEAT_SECONDS))
            except TimeoutError:
                if services.feed.lively:
                    yield _BEAT
    finally:
        services.feed.unsubscribe(hear)


def _line(ending: Ending) -> bytes:
    return msgspec.json.encode(ending) + b"\n"
