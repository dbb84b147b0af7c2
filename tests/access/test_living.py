"""Sessions that are vouched for without the database: no interleaving lets one outlive its end."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from uuid_utils.compat import uuid7

from support.access import HeldClock, House
from support.postgres import Server
from support.waiting import until
from troth.access.endings import EVERYTHING, Ending, Feed, Hear
from troth.access.errors import NoSession
from troth.access.living import KEEP, LivingSessions
from troth.access.sessions import Mark, Session, Sessions, token_hash
from troth.core.db import Database
from troth.core.leader import Leader
from troth.core.process import Endpoint
from troth.data.roles import APP

FIRST, SECOND = Leader(Endpoint("127.0.0.1", 1), 1), Leader(Endpoint("127.0.0.1", 2), 2)
KEY = ("a.example", b"hash")


class Watched(Database):
    """Counts questions, and holds answers back while `gate` is closed."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.asked = self.answered = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetchrow(self, query: str, *args: object, idempotent: bool | None = None) -> Any:
        self.asked += 1
        row = await super().fetchrow(query, *args, idempotent=idempotent)
        self.answered += 1
        await self.gate.wait()
        return row


class Instance:
    """A web instance as far as sessions go."""

    def __init__(self, house: House, database: Watched, feed: Feed) -> None:
        self.house, self.database, self.feed = house, database, feed
        self.heard: list[Ending] = []
        self.memory = LivingSessions(database, feed, house.access.clock)
        self.sessions = Sessions(database, house.access.sealer, memory=self.memory)
        feed.subscribe(lambda ending: self.heard.append(msgspec.structs.replace(ending, at=0.0)))

    async def open(self, token: str) -> Session:
        return await self.sessions.open(self.house.domain, token)

    async def end_elsewhere(self, token: str, session: Session) -> None:
        await self.house.access.sessions.end(self.house.domain, token)
        await until(lambda: Ending("session", str(session.id), True) in self.heard)


@pytest.fixture
async def instance(postgres: Server, house: House) -> AsyncGenerator[Instance]:
    database = await Watched.open(postgres.target(APP), max_size=4)
    assert isinstance(database, Watched)
    feed = Feed(postgres.target(APP))
    async with feed.listening():
        assert await feed.until_lively(10)
        yield Instance(house, database, feed)
    await database.close()


async def test_a_session_is_asked_about_once_while_the_feed_is_lively(instance: Instance) -> None:
    begun = await instance.house.begin()
    opened = [await instance.open(begun.token) for _ in range(5)]
    assert opened == [begun.session] * 5
    assert instance.database.asked == 1


async def test_an_end_on_another_instance_is_an_end_here(instance: Instance) -> None:
    begun = await instance.house.begin()
    await instance.open(begun.token)
    await instance.sessions.open_by_id(instance.house.domain, begun.session.id)
    await instance.end_elsewhere(begun.token, begun.session)
    with pytest.raises(NoSession):
        await instance.open(begun.token)
    with pytest.raises(NoSession):
        await instance.sessions.open_by_id(instance.house.domain, begun.session.id)


async def test_an_end_between_the_question_and_its_keeping_is_not_lost(instance: Instance) -> None:
    begun = await instance.house.begin()
    instance.database.gate.clear()
    late = asyncio.create_task(instance.open(begun.token))
    await until(lambda: instance.database.answered == 1)
    await instance.end_elsewhere(begun.token, begun.session)
    instance.database.gate.set()
    assert (await late).id == begun.session.id  # it was asked before the end
    with pytest.raises(NoSession):
        await instance.open(begun.token)


async def test_a_silent_feed_vouches_for_nothing(instance: Instance, postgres: Server) -> None:
    begun = await instance.house.begin()
    await instance.open(begun.token)
    assert instance.memory.vouch((instance.house.domain.name, token_key(begun.token))) is not None
    postgres.pause()
    try:
        await until(lambda: not instance.feed.lively)
        assert instance.memory.vouch((instance.house.domain.name, token_key(begun.token))) is None
        assert instance.memory.mark() is None
    finally:
        postgres.resume()
    assert await instance.feed.until_lively(20)


async def test_use_is_still_noted(instance: Instance) -> None:
    house, begun = instance.house, await instance.house.begin()
    await instance.open(begun.token)
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "update troth.session set seen_at = now() - interval '2 minutes' where id = $1", begun.session.id
        )
    await instance.open(begun.token)
    assert instance.database.asked == 1
    house.access.clock.advance(seconds=KEEP.total_seconds() + 0.1)
    await instance.open(begun.token)
    assert instance.database.asked == 2
    minutes = "select now() - seen_at < interval '1 minute' from troth.session where id = $1"
    assert await house.access.auditor.fetchval(minutes, begun.session.id)


def token_key(token: str) -> bytes:
    return token_hash(token)


class FakeFeed:
    """A feed that a test drives."""

    def __init__(self) -> None:
        self.leader: Leader | None = FIRST
        self.lively = True
        self.hearers: list[Hear] = []

    def subscribe(self, hear: Hear) -> None:
        self.hearers.append(hear)

    def tell(self, ending: Ending) -> None:
        for hear in self.hearers:
            hear(ending)


class FakePool:
    """The leader that questions go to."""

    leader: Leader | None = FIRST


def living_session(clock: HeldClock) -> Session:
    now = clock.now()
    return Session(
        id=uuid7(),
        tenant=uuid7(),
        domain="a.example",
        person=uuid7(),
        profile=b"",
        person_scopes=(),
        authenticated_at=now,
        created_at=now,
        expires_at=now + timedelta(hours=12),
    )


class Interleavings(RuleBasedStateMachine):
    """Questions, answers, endings, deliveries, lost feeds and failovers in any order.

    The database is two booleans: what the leader says, and what a leader that was replaced still says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.feed, self.pool = HeldClock(), FakeFeed(), FakePool()
        self.memory = LivingSessions(self.pool, self.feed, self.clock, capacity=8)
        self.session = living_session(self.clock)
        self.alive = True
        self.stale_says_alive = True
        self.answers: list[tuple[Mark | None, bool]] = []
        self.undelivered: list[Ending] = []

    @rule()
    def ask(self) -> None:
        mark = self.memory.mark()
        truth = self.alive if self.pool.leader == SECOND or self.feed.leader != SECOND else True
        self.answers.append((mark, truth))

    @precondition(lambda self: self.answers)
    @rule()
    def answer(self) -> None:
        mark, alive = self.answers.pop(0)
        if alive:
            self.memory.keep(mark, KEY, self.session)

    @precondition(lambda self: self.answers)
    @rule()
    def answer_the_latest(self) -> None:
        self.answers.append(self.answers.pop(0))
        mark, alive = self.answers.pop()
        if alive:
            self.memory.keep(mark, KEY, self.session)

    @precondition(lambda self: self.alive)
    @rule()
    def end(self) -> None:
        self.alive = False
        self.undelivered.append(Ending("session", str(self.session.id), True))

    @precondition(lambda self: self.undelivered and self.feed.leader is not None)
    @rule()
    def deliver(self) -> None:
        self.feed.tell(self.undelivered.pop(0))

    @rule()
    def something_else_ends(self) -> None:
        if self.feed.leader is not None:
            self.feed.tell(Ending("session", str(uuid7()), True))

    @precondition(lambda self: self.feed.leader is not None)
    @rule()
    def lose_the_feed(self) -> None:
        self.feed.leader, self.feed.lively = None, False
        self.undelivered.clear()
        self.feed.tell(EVERYTHING)

    @precondition(lambda self: self.feed.leader is None)
    @rule()
    def hear_the_next_leader(self) -> None:
        self.feed.leader, self.feed.lively = SECOND, True

    @rule()
    def the_pool_follows(self) -> None:
        self.pool.leader = self.feed.leader

    @invariant()
    def what_was_heard_of_is_not_vouched_for(self) -> None:
        if not self.alive and not self.undelivered:
            assert self.memory.vouch(KEY) is None


Interleavings.TestCase.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)
TestInterleavings = Interleavings.TestCase


def test_more_endings_than_are_remembered_keep_nothing() -> None:
    clock, feed = HeldClock(), FakeFeed()
    memory, session = LivingSessions(FakePool(), feed, clock), living_session(clock)
    mark = memory.mark()
    feed.tell(Ending("session", str(session.id), True))
    for _ in range(300):
        feed.tell(Ending("session", str(uuid7()), True))
    memory.keep(mark, KEY, session)
    assert memory.vouch(KEY) is None


@pytest.mark.parametrize("kind", ["session", "person", "client", "tenant", "all"])
def test_each_kind_of_ending_is_about_what_it_names_and_nothing_else(kind: Any) -> None:
    clock, feed = HeldClock(), FakeFeed()
    memory, session = LivingSessions(FakePool(), feed, clock), living_session(clock)
    names = {
        "session": str(session.id),
        "person": str(session.person),
        "client": f"{session.tenant}/None",
        "tenant": str(session.tenant),
        "all": "",
    }
    memory.keep(memory.mark(), KEY, session)
    if kind != "all":
        feed.tell(Ending(kind, str(uuid7()), True))
        assert memory.vouch(KEY) is not None
    feed.tell(Ending(kind, names[kind], True))
    assert memory.vouch(KEY) is None


def test_a_session_is_vouched_for_no_longer_than_it_lasts() -> None:
    clock, feed = HeldClock(), FakeFeed()
    memory, session = LivingSessions(FakePool(), feed, clock), living_session(clock)
    memory.keep(memory.mark(), KEY, session)
    clock.advance(hours=12)
    assert memory.vouch(KEY) is None
