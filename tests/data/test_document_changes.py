"""Changing documents: versions, races, repeated requests, merge patches; and walking over them."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest

from support.documents import EVERYTHING, OWN, Estate, Person
from troth.core.db import Database
from troth.core.errors import (
    Malformed,
    NotFound,
    PreconditionFailed,
)
from troth.data.document import Document, merge
from troth.data.documents import IdempotencyKeyReused

TITLE = {"title": "The heating is cold"}


def content(document: Document) -> Any:
    return json.loads(document.content)


def version(number: int) -> frozenset[int]:
    return frozenset({number})


async def test_an_update_counts_up_and_the_old_version_is_refused(estate: Estate, ada: Person) -> None:
    caller = ada.caller(*EVERYTHING)
    made = await estate.documents.create(caller, "tickets", TITLE)
    changed = await estate.documents.replace(caller, "tickets", made.id, {"title": "new"}, version(1))
    assert (changed.version, changed.owner, changed.created_at) == (2, ada.id, made.created_at)
    with pytest.raises(PreconditionFailed, match="version 2"):
        await estate.documents.replace(caller, "tickets", made.id, TITLE, version(1))
    with pytest.raises(PreconditionFailed):
        await estate.documents.patch(caller, "tickets", made.id, TITLE, frozenset())
    with pytest.raises(PreconditionFailed):
        await estate.documents.delete(caller, "tickets", made.id, version(1))
    again = await estate.documents.replace(caller, "tickets", made.id, TITLE, frozenset({1, 2}))
    assert again.version == 3
    assert (await estate.documents.replace(caller, "tickets", made.id, TITLE, None)).version == 4
    assert content(await estate.documents.read(caller, "tickets", made.id)) == TITLE


async def test_of_twenty_updates_at_once_exactly_one_wins(estate: Estate, ada: Person) -> None:
    caller = ada.caller(*EVERYTHING)
    made = await estate.documents.create(caller, "tickets", TITLE)
    results = await asyncio.gather(
        *(
            estate.documents.replace(caller, "tickets", made.id, {"title": f"by {number}"}, version(1))
            for number in range(20)
        ),
        return_exceptions=True,
    )
    won = [result for result in results if isinstance(result, Document)]
    assert len(won) == 1
    assert sum(isinstance(result, PreconditionFailed) for result in results) == 19
    assert content(await estate.documents.read(caller, "tickets", made.id)) == content(won[0])


async def test_an_update_that_is_sent_again_by_the_driver_counts_once(estate: Estate, ada: Person) -> None:
    caller = ada.caller(*EVERYTHING)
    made = await estate.documents.create(caller, "tickets", TITLE)
    query = "select * from troth.document_update($1, $2, $3, $4, $5, $6, $7, $8)"
    keys = await estate.ring.keys(ada.house.tenant.id)
    sealed = keys.seal("document", b"{}", b"tickets", made.id.bytes, (2).to_bytes(8, "big"))
    args = (ada.session, ada.house.tenant.id, ada.id, caller.grants.rows, "tickets", made.id, 1, sealed)
    first = await estate.database.fetchrow(query, *args)
    second = await estate.database.fetchrow(query, *args)
    assert first == second
    assert first is not None
    assert (first["outcome"], first["version"]) == ("row", 2)


async def test_a_deleted_document_is_gone(estate: Estate, ada: Person) -> None:
    caller = ada.caller(*EVERYTHING)
    made = await estate.documents.create(caller, "tickets", TITLE)
    await estate.documents.delete(caller, "tickets", made.id, version(1))
    for _ in range(2):
        with pytest.raises(NotFound):
            await estate.documents.delete(caller, "tickets", made.id, None)


async def test_a_repeated_request_gets_the_first_answer(
    estate: Estate, superuser_database: Database, ada: Person
) -> None:
    caller = ada.caller(*EVERYTHING)
    answers = await asyncio.gather(
        *(estate.documents.create(caller, "tickets", TITLE, key=b"once") for _ in range(20))
    )
    assert len({answer.to_wire() for answer in answers}) == 1
    stored = "select count(*) from troth.document where tenant_id = $1"
    assert await superuser_database.fetchval(stored, ada.house.tenant.id) == 1
    reordered = await estate.documents.create(caller, "tickets", dict(reversed(TITLE.items())), key=b"once")
    assert reordered.id == answers[0].id


async def test_a_repeated_request_gets_the_first_answer_after_the_document_changed(
    estate: Estate, ada: Person
) -> None:
    caller = ada.caller(*EVERYTHING)
    first = await estate.documents.create(caller, "tickets", TITLE, key=b"once")
    await estate.documents.delete(caller, "tickets", first.id, None)
    assert await estate.documents.create(caller, "tickets", TITLE, key=b"once") == first


async def test_a_key_that_comes_with_other_content_is_refused(estate: Estate, ada: Person) -> None:
    caller = ada.caller(*EVERYTHING, "notices:create")
    await estate.documents.create(caller, "tickets", TITLE, key=b"once")
    with pytest.raises(IdempotencyKeyReused):
        await estate.documents.create(caller, "tickets", {"title": "other"}, key=b"once")
    with pytest.raises(IdempotencyKeyReused):
        await estate.documents.create(caller, "notices", TITLE, key=b"once")


async def test_two_people_may_use_the_same_key(estate: Estate, ada: Person, bob: Person) -> None:
    one = await estate.documents.create(ada.caller(*EVERYTHING), "tickets", TITLE, key=b"once")
    other = await estate.documents.create(bob.caller(*EVERYTHING), "tickets", TITLE, key=b"once")
    assert one.id != other.id


async def test_a_key_is_forgotten_after_a_day_and_swept_away(
    estate: Estate, superuser_database: Database, ada: Person
) -> None:
    caller = ada.caller(*EVERYTHING)
    first = await estate.documents.create(caller, "tickets", TITLE, key=b"once")
    await estate.documents.create(caller, "tickets", TITLE, key=b"another")
    await superuser_database.execute(
        "update troth.idempotency set expires_at = now() where tenant_id = $1", ada.house.tenant.id
    )
    second = await estate.documents.create(caller, "tickets", {"title": "other"}, key=b"once")
    assert second.id != first.id
    left = "select count(*) from troth.idempotency where tenant_id = $1"
    assert await superuser_database.fetchval(left, ada.house.tenant.id) == 1


async def test_a_list_is_walked_from_the_newest_to_the_oldest(
    estate: Estate, ada: Person, bob: Person
) -> None:
    made = [await estate.documents.create(ada.caller(*OWN), "tickets", {"title": str(n)}) for n in range(7)]
    await estate.documents.create(bob.caller(*OWN), "tickets", TITLE)
    walked: list[UUID] = []
    after: str | None = None
    for _ in range(3):
        page = await estate.documents.list(ada.caller(*OWN), "tickets", after=after, limit=3)
        walked += [item.id for item in page.items]
        after = page.after
    assert after is None
    assert walked == [document.id for document in reversed(made)]
    everybody = await estate.documents.list(bob.caller(*EVERYTHING), "tickets", limit=8)
    assert len(everybody.items) == 8
    assert everybody.after is None


@pytest.mark.parametrize("cursor", ["", "x", "ä", "AAAA", "A" * 500, "../../etc"])
async def test_a_made_up_cursor_is_refused(estate: Estate, ada: Person, cursor: str) -> None:
    with pytest.raises(Malformed):
        await estate.documents.list(ada.caller(*OWN), "tickets", after=cursor)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        # RFC 7396 appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_as_the_rfc_says(target: object, patch: object, result: object) -> None:
    assert merge(target, patch) == result
