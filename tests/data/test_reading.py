"""Reads that travel together stay apart: each has its caller's context, session check and answer."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from uuid_utils.compat import uuid7

from support.documents import EVERYTHING, OWN, Estate, Person
from troth.core.db import Database
from troth.core.errors import Denied, NotFound, Unauthenticated, Unavailable
from troth.data.document import Document
from troth.data.documents import Documents
from troth.data.reading import Asked, ReadQueue


class Watched:
    """The database, with a gate in front and a note of how many reads each call carried."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.open = asyncio.Event()
        self.carried: list[int] = []
        self.fails: Exception | None = None

    async def fetch(self, query: str, *args: Any, idempotent: bool | None = None) -> Sequence[Any]:
        self.carried.append(len(args[0]) if "documents_read" in query else 1)
        await self.open.wait()
        if self.fails is not None:
            raise self.fails
        return await self._database.fetch(query, *args, idempotent=idempotent)


def asked(person: Person, document: Document, *scopes: str) -> Asked:
    caller = person.caller(*(scopes or EVERYTHING))
    return (
        person.session,
        person.house.tenant.id,
        person.id,
        caller.grants.rows,
        "tickets",
        document.id,
        "read",
    )


@pytest.fixture
async def made(estate: Estate, ada: Person) -> Document:
    return await estate.documents.create(ada.caller(*EVERYTHING), "tickets", {"title": "Ada's"})


async def test_reads_that_wait_leave_together(database: Database, ada: Person, made: Document) -> None:
    watched = Watched(database)
    queue = ReadQueue(watched, lanes=2, most=5)
    answers = [queue.ask(asked(ada, made)) for _ in range(14)]
    watched.open.set()
    rows = await asyncio.gather(*answers)
    assert watched.carried == [1, 1, 5, 5, 2]
    assert [row["id"] for row in rows] == [made.id] * 14


async def test_a_lone_read_waits_for_nobody(database: Database, ada: Person, made: Document) -> None:
    watched = Watched(database)
    watched.open.set()
    queue = ReadQueue(watched)
    for _ in range(3):
        assert (await queue.ask(asked(ada, made)))["outcome"] == "row"
    assert watched.carried == [1, 1, 1]


async def test_every_caller_of_a_shared_call_gets_its_own_answer(
    estate: Estate, ada: Person, bob: Person, eve: Person, made: Document
) -> None:
    """All kinds of callers at once, many times over: nobody is served in another's context."""
    documents = estate.documents
    gone = await estate.person(ada.house)
    await gone.sign_out()
    eves = await documents.create(eve.caller(*EVERYTHING), "tickets", {"title": "Eve's"})
    bobs = await documents.create(bob.caller(*OWN), "tickets", {"title": "Bob's"})
    other_session = msgspec.structs.replace(ada.caller(*EVERYTHING), session=eve.session)
    cases: list[tuple[Any, Document, type[Exception] | Document]] = [
        (ada.caller(*EVERYTHING), made, made),
        (ada.caller(*OWN), made, made),
        (ada.caller(*EVERYTHING), bobs, bobs),
        (bob.caller(*OWN), bobs, bobs),
        (bob.caller(*OWN), made, NotFound),
        (eve.caller(*EVERYTHING), eves, eves),
        (eve.caller(*EVERYTHING), made, NotFound),
        (ada.caller(*EVERYTHING), eves, NotFound),
        (gone.caller(*EVERYTHING), made, Unauthenticated),
        (other_session, made, Unauthenticated),
        (ada.caller("tickets:create"), made, Denied),
    ]
    shuffled = [cases[(number * 7) % len(cases)] for number in range(len(cases) * 30)]
    answers = await asyncio.gather(
        *(documents.read(caller, "tickets", document.id) for caller, document, _ in shuffled),
        return_exceptions=True,
    )
    for (_, _, expected), answer in zip(shuffled, answers, strict=True):
        if isinstance(expected, Document):
            assert answer == expected
        else:
            assert isinstance(answer, expected)


async def test_a_logout_counts_for_reads_that_are_still_waiting(
    database: Database, ada: Person, made: Document
) -> None:
    watched = Watched(database)
    queue = ReadQueue(watched, lanes=1)
    answers = [queue.ask(asked(ada, made)) for _ in range(4)]
    await ada.sign_out()
    watched.open.set()
    assert [row["outcome"] for row in await asyncio.gather(*answers)] == ["session_ended"] * 4


async def test_a_caller_that_goes_away_disturbs_nobody(
    database: Database, ada: Person, made: Document
) -> None:
    watched = Watched(database)
    queue = ReadQueue(watched, lanes=1)
    answers = [queue.ask(asked(ada, made)) for _ in range(5)]
    answers[0].cancel()
    answers[2].cancel()
    watched.open.set()
    rows = await asyncio.gather(*(answer for answer in answers if not answer.cancelled()))
    assert [row["id"] for row in rows] == [made.id] * 3


async def test_a_lost_database_is_told_to_each_and_the_next_read_starts_anew(
    database: Database, ada: Person, made: Document
) -> None:
    watched = Watched(database)
    queue = ReadQueue(watched, lanes=1)
    watched.fails = Unavailable("No leader.")
    answers = [queue.ask(asked(ada, made)) for _ in range(3)]
    watched.open.set()
    for answer in answers:
        with pytest.raises(Unavailable):
            await answer
    watched.fails = None
    assert (await queue.ask(asked(ada, made)))["id"] == made.id


async def test_an_outage_is_waited_for_once_not_once_a_batch(
    database: Database, ada: Person, made: Document
) -> None:
    watched = Watched(database)
    queue = ReadQueue(watched, lanes=1, most=2)
    watched.fails = Unavailable("No leader.")
    answers = [queue.ask(asked(ada, made)) for _ in range(50)]
    watched.open.set()
    results = await asyncio.gather(*answers, return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    assert watched.carried == [1], "who waited behind the first is not made to wait again"


async def test_a_read_that_breaks_fails_alone(database: Database, ada: Person, made: Document) -> None:
    broken = uuid7()

    class Damaged(Watched):
        async def fetch(self, query: str, *args: Any, idempotent: bool | None = None) -> Sequence[Any]:
            if args[5] == broken or (isinstance(args[5], tuple) and broken in args[5]):
                raise ValueError("invalid page in block 7")
            return await super().fetch(query, *args, idempotent=idempotent)

    watched = Damaged(database)
    queue = ReadQueue(watched, lanes=1)
    good = asked(ada, made)
    answers = [queue.ask(each) for each in (good, good, (*good[:5], broken, good[6]), good)]
    watched.open.set()
    results = await asyncio.gather(*answers, return_exceptions=True)
    assert [isinstance(result, ValueError) for result in results] == [False, False, True, False]


async def test_an_answer_that_went_astray_opens_nothing(
    estate: Estate, database: Database, ada: Person, made: Document
) -> None:
    """Should the database ever answer with another row of the same tenant, it must not be shown."""

    class Confused(Database):
        async def fetch(self, query: str, *args: Any, idempotent: bool | None = None) -> Any:
            return await database.fetch(query, *args[:5], made.id, *args[6:], idempotent=idempotent)

    wanted = await estate.documents.create(ada.caller(*EVERYTHING), "tickets", {"title": "wanted"})
    confused = Confused.__new__(Confused)
    documents = Documents(confused, estate.ring, {"tickets": estate.documents.collection("tickets")})
    with pytest.raises(Exception, match="could not be opened"):
        await documents.read(ada.caller(*EVERYTHING), "tickets", wanted.id)
    with pytest.raises(NotFound):
        await estate.documents.read(ada.caller(*EVERYTHING), "tickets", uuid7())
