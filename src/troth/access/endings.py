"""The feed: what has just ended, told to every instance by the transaction that ended it.

An instance keeps one connection to the leader that does nothing but LISTEN. Twice a second it sends a beat
through the database to itself; notifications arrive in the order of their commits, so a beat that came back
proves that everything committed before it was sent has been heard. Without a beat for `SILENT_SECONDS` the
feed counts as silent, and whoever relies on it asks the database again: it fails closed.

A beat waits for the synchronous standbys like any commit, so a leader that was cut off from them falls
silent. After a lost connection, what was told meanwhile is read from `troth.ending` before the feed is lively
again.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Literal, cast

import asyncpg
import msgspec

from troth.core.connection import LOST
from troth.core.leader import DatabaseTarget, Leader, SecureContext, find_leader
from troth.core.secret import new_token

_log = logging.getLogger(__name__)

CHANNEL = "troth_endings"
BEAT_SECONDS = 0.5
SILENT_SECONDS = 2.0

_SEARCH_PAUSE_SECONDS = 0.1
_OVERLAP_SECONDS = 60
"""The table is read from well before the last beat on: what is told twice does no harm."""


RECENT = (
    "select kind, ref, over, extract(epoch from at)::float8 as at from troth.ending"
    " where at > now() - make_interval(secs => $1) order by id"
)


class Ending(msgspec.Struct, frozen=True):
    """Something ended (`over`), or what is remembered of it is no longer good.

    `ref` is an id, of a client `tenant/client`, of nothing in particular for `all`. `at` is the database's
    time of the change, in seconds since 1970.
    """

    kind: Literal["session", "person", "client", "tenant", "all", "beat"]
    ref: str = ""
    over: bool = False
    at: float = 0.0


EVERYTHING = Ending("all")
"""Told when the feed was lost: nothing that is remembered can be relied on."""


class FeedState(msgspec.Struct, frozen=True):
    """How the feed of an instance is doing: milliseconds of its last beats through the database, and the
    seconds since the last one that came back was sent."""

    lively: bool
    silent_seconds: float
    beats: tuple[float, ...]


Hear = Callable[[Ending], None]


class Feed:
    """One listener. `hear` is called in the order of commits. `found` is told of each leader it finds: one
    is looked for anew whenever the one before confirms nothing, and a superseded one can confirm nothing."""

    def __init__(self, target: DatabaseTarget, found: Callable[[Leader], None] | None = None) -> None:
        self._target = target
        self._found = found
        self._context = SecureContext.of(target)
        self._name = new_token()
        self._hearers: list[Hear] = []
        self._leader: Leader | None = None
        self._sent: dict[str, float] = {}
        self._proved = float("-inf")
        self._heard_until = float("-inf")
        self._beats: deque[float] = deque(maxlen=120)
        self._came = asyncio.Event()

    def subscribe(self, hear: Hear) -> None:
        """From now on `hear` is told of every ending. It must not raise."""
        self._hearers.append(hear)

    def unsubscribe(self, hear: Hear) -> None:
        """Undo `subscribe`."""
        self._hearers.remove(hear)

    @property
    def leader(self) -> Leader | None:
        """The member that is listened to; None while there is none."""
        return self._leader

    @property
    def lively(self) -> bool:
        """Whether everything that was committed until `SILENT_SECONDS` ago has surely been heard."""
        return self._leader is not None and time.monotonic() - self._proved < SILENT_SECONDS

    def state(self) -> FeedState:
        return FeedState(self.lively, time.monotonic() - self._proved, tuple(self._beats))

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """The feed runs during the block."""
        task = asyncio.create_task(self._run(), name="feed of endings")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until_lively(self, seconds: float = SILENT_SECONDS) -> bool:
        """Wait for a beat to come back, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.lively:
                    self._came.clear()
                    await self._came.wait()
        return self.lively

    async def _run(self) -> None:
        while True:
            found = await find_leader(self._target, self._context)
            if found is None:
                await asyncio.sleep(_SEARCH_PAUSE_SECONDS)
                continue
            leader, connection = found
            if self._found is not None:
                self._found(leader)
            try:
                await self._listen(leader, connection)
            except (*LOST, asyncpg.PostgresError) as error:
                _log.warning("the feed of endings was lost: %r", error)
            finally:
                self._leader = None
                connection.terminate()
                self._tell(EVERYTHING)
            await asyncio.sleep(_SEARCH_PAUSE_SECONDS)

    async def _listen(self, leader: Leader, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        # 1. Listen first, read what was missed second: nothing falls between the two.
        await connection.add_listener(CHANNEL, self._receive)
        await self._catch_up(connection)
        # 2. Only now may anybody remember anything on the strength of this connection.
        self._sent.clear()
        self._proved = float("-inf")
        self._leader = leader
        number = 0
        while not (self._context.renewed() or connection.is_closed()):
            number += 1
            await self._beat(connection, f"{self._name}/{number}")
            await asyncio.sleep(BEAT_SECONDS)

    async def _beat(self, connection: "asyncpg.Connection[asyncpg.Record]", name: str) -> None:
        """Cut short after `SILENT_SECONDS`: a member that hangs is left for one that answers."""
        self._sent[name] = time.monotonic()
        async with asyncio.timeout(SILENT_SECONDS):
            await connection.execute("select troth.beat($1)", name)
            while name in self._sent:
                self._came.clear()
                await self._came.wait()

    async def _catch_up(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._tell(EVERYTHING)
        if self._heard_until == float("-inf"):
            return  # nothing was remembered or open before the first connection
        rows = await connection.fetch(
            RECENT,
            time.monotonic() - self._heard_until + _OVERLAP_SECONDS,
        )
        for row in rows:
            self._tell(Ending(row["kind"], row["ref"], row["over"], row["at"]))

    def _receive(self, connection: object, pid: int, channel: str, payload: object) -> None:
        try:
            ending = msgspec.json.decode(cast("str", payload), type=Ending)
        except msgspec.MsgspecError:
            ending = EVERYTHING
        if ending.kind != "beat":
            self._tell(ending)
            return
        sent = self._sent.pop(ending.ref, None)
        if sent is not None:
            self._proved = self._heard_until = sent
            self._beats.append((time.monotonic() - sent) * 1000)
            self._came.set()

    def _tell(self, ending: Ending) -> None:
        for hear in tuple(self._hearers):
            hear(ending)
