"""Documents over a real database: what is stored, who sees it, and what happens at once."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from support.documents import EVERYTHING, OWN, Estate, Person
from troth.core.db import Database
from troth.core.errors import (
    Denied,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unprocessable,
)
from troth.data.document import Document
from troth.data.sealing import SealError, read_header

TITLE = {"title": "The heating is cold"}


def content(document: Document) -> Any:
    return json.loads(document.content)


def version(number: int) -> frozenset[int]:
    return frozenset({number})


async def test_what_was_created_is_read_back(estate: Estate, ada: Person) -> None:
    made = await estate.documents.create(ada.caller(*EVERYTHING), "tickets", TITLE)
    read = await estate.documents.read(ada.caller(*EVERYTHING), "tickets", made.id)
    assert read == made
    assert json.loads(read.to_wire()) == {
        "_meta": {
            "id": str(made.id),
            "owner": str(ada.id),
            "version": 1,
            "created_at": json.loads(read.to_wire())["_meta"]["created_at"],
            "updated_at": json.loads(read.to_wire())["_meta"]["created_at"],
        },
        **TITLE,
    }


JSON_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | JSON_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(JSON_TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
async def tenant_of_strategies(estate: Estate) -> Person:
    return await estate.person(await estate.house())


@given(extra=st.dictionaries(JSON_TEXT, JSON_VALUES, max_size=5), title=JSON_TEXT.filter(bool))
async def test_any_json_comes_back_unchanged(
    estate: Estate, tenant_of_strategies: Person, extra: dict[str, Any], title: str
) -> None:
    caller = tenant_of_strategies.caller(*EVERYTHING)
    body = {"title": title, "extra": extra}
    made = await estate.documents.create(caller, "tickets", body)
    read = await estate.documents.read(caller, "tickets", made.id)
    assert msgspec.json.decode(read.to_wire())["extra"] == extra
    assert content(read) == body


async def test_no_byte_of_the_content_reaches_the_database(
    estate: Estate, superuser_database: Database, ada: Person
) -> None:
    canary = "canary-5f2b6c1e9a7d"
    made = await estate.documents.create(
        ada.caller(*EVERYTHING), "tickets", {"title": canary}, key=canary.encode()
    )
    row = await superuser_database.fetchrow("select * from troth.document where id = $1", made.id)
    answers = await superuser_database.fetch(
        "select * from troth.idempotency where document_id = $1", made.id
    )
    assert row is not None
    assert answers
    assert canary.encode() not in b"".join(bytes(value) for value in row.values() if isinstance(value, bytes))
    assert canary not in f"{dict(row)} {[dict(answer) for answer in answers]}"
    assert read_header(row["seal"]).cipher == "XAES-256-GCM"


async def test_the_database_refuses_what_is_not_sealed(superuser_database: Database, ada: Person) -> None:
    with pytest.raises(Exception, match="document_sealed_check"):
        await superuser_database.execute(
            "insert into troth.document (tenant_id, collection, id, owner, sealed)"
            " values ($1, 'tickets', $2, $3, $4)",
            ada.house.tenant.id,
            uuid7(),
            ada.id,
            b'{"title": "readable, and long enough to pass for something sealed"}',
        )


@pytest.mark.parametrize("swap", ["sealed", "id", "collection", "version", "tenant"])
async def test_a_sealed_row_that_was_moved_does_not_open(
    estate: Estate, superuser_database: Database, ada: Person, eve: Person, swap: str
) -> None:
    caller = ada.caller(*EVERYTHING, "notices:read")
    one = await estate.documents.create(caller, "tickets", {"title": "one"})
    other = await estate.documents.create(caller, "tickets", {"title": "other"})
    target, where, reader = other.id, "tickets", caller
    changes = {
        "sealed": "sealed = (select sealed from troth.document where id = $1)",
        "version": "version = version + 1",
        "collection": "collection = 'notices'",
        "id": "id = $2",
        "tenant": "tenant_id = $3",
    }
    fresh = uuid7()
    await superuser_database.execute(
        f"update troth.document set {changes[swap]} where id = $4"  # noqa: S608  constants of this test
        " and $1::uuid is not null and $2::uuid is not null and $3::uuid is not null",
        one.id,
        fresh,
        eve.house.tenant.id,
        other.id,
    )
    if swap == "id":
        target = fresh
    if swap == "collection":
        where = "notices"
    if swap == "tenant":
        reader = eve.caller(*EVERYTHING)
    with pytest.raises(SealError):
        await estate.documents.read(reader, where, target)


async def test_nobody_of_another_tenant_reaches_a_document(estate: Estate, ada: Person, eve: Person) -> None:
    made = await estate.documents.create(ada.caller(*EVERYTHING), "tickets", TITLE)
    stranger = eve.caller(*EVERYTHING)
    with pytest.raises(NotFound):
        await estate.documents.read(stranger, "tickets", made.id)
    with pytest.raises(NotFound):
        await estate.documents.replace(stranger, "tickets", made.id, TITLE, version(1))
    with pytest.raises(NotFound):
        await estate.documents.patch(stranger, "tickets", made.id, {"status": "closed"}, None)
    with pytest.raises(NotFound):
        await estate.documents.delete(stranger, "tickets", made.id, None)
    assert (await estate.documents.list(stranger, "tickets")).items == ()


async def test_own_scopes_reach_the_callers_rows_alone(estate: Estate, ada: Person, bob: Person) -> None:
    made = await estate.documents.create(ada.caller(*OWN), "tickets", TITLE)
    mine = await estate.documents.create(bob.caller(*OWN), "tickets", TITLE)
    with pytest.raises(NotFound):
        await estate.documents.read(bob.caller(*OWN), "tickets", made.id)
    with pytest.raises(NotFound):
        await estate.documents.replace(bob.caller(*OWN), "tickets", made.id, TITLE, version(1))
    with pytest.raises(NotFound):
        await estate.documents.delete(bob.caller(*OWN), "tickets", made.id, None)
    assert [item.id for item in (await estate.documents.list(bob.caller(*OWN), "tickets")).items] == [mine.id]


async def test_a_row_that_may_be_read_but_not_changed_is_denied_not_hidden(
    estate: Estate, ada: Person, bob: Person
) -> None:
    made = await estate.documents.create(ada.caller(*EVERYTHING), "tickets", TITLE)
    reader = bob.caller("tickets:read", "tickets:update:own", "tickets:delete:own")
    with pytest.raises(Denied) as caught:
        await estate.documents.replace(reader, "tickets", made.id, TITLE, version(1))
    assert caught.value.scope == "tickets:update"
    with pytest.raises(Denied):
        await estate.documents.patch(reader, "tickets", made.id, {"status": "closed"}, version(1))
    with pytest.raises(Denied):
        await estate.documents.delete(reader, "tickets", made.id, None)


@pytest.mark.parametrize("action", ["create", "read", "update", "delete"])
async def test_without_the_scope_nothing_happens(estate: Estate, ada: Person, action: str) -> None:
    made = await estate.documents.create(ada.caller(*EVERYTHING), "tickets", TITLE)
    lacking = ada.caller(
        *(scope for scope in EVERYTHING if scope != f"tickets:{action}"), f"notices:{action}"
    )
    with pytest.raises(Denied) as caught:
        match action:
            case "create":
                await estate.documents.create(lacking, "tickets", TITLE)
            case "read":
                await estate.documents.read(lacking, "tickets", made.id)
            case "update":
                await estate.documents.replace(lacking, "tickets", made.id, TITLE, version(1))
            case _:
                await estate.documents.delete(lacking, "tickets", made.id, None)
    assert caught.value.scope == f"tickets:{action}"


async def test_every_operation_ends_with_the_session(estate: Estate, ada: Person) -> None:
    caller = ada.caller(*EVERYTHING)
    made = await estate.documents.create(caller, "tickets", TITLE)
    await ada.sign_out()
    documents = estate.documents
    for attempt in (
        lambda: documents.read(caller, "tickets", made.id),
        lambda: documents.list(caller, "tickets"),
        lambda: documents.create(caller, "tickets", TITLE),
        lambda: documents.replace(caller, "tickets", made.id, TITLE, version(1)),
        lambda: documents.patch(caller, "tickets", made.id, TITLE, version(1)),
        lambda: documents.delete(caller, "tickets", made.id, None),
    ):
        with pytest.raises(Unauthenticated) as caught:
            await attempt()
        assert caught.value.error == "invalid_token"


@pytest.mark.parametrize(
    "end",
    [
        "update troth.session set ended_at = now() where id = $1",
        "update troth.session set expires_at = now() where id = $1",
        "update troth.session set seen_at = now() - idle where id = $1",
        "update troth.session set ended_at = now()"
        " where id = (select parent_id from troth.session where id = $1)",
        "update troth.session set expires_at = now()"
        " where id = (select parent_id from troth.session where id = $1)",
        "update troth.client c set disabled = true from troth.session s"
        " where s.id = $1 and c.tenant_id = s.tenant_id and c.id = s.client_id",
        "update troth.person p set disabled = true"
        " from troth.session s where s.id = $1 and p.id = s.person_id",
        "update troth.person p set sessions_from = now() + interval '1 second'"
        " from troth.session s where s.id = $1 and p.id = s.person_id",
        "update troth.tenant t set active = false"
        " from troth.session s where s.id = $1 and t.id = s.tenant_id",
    ],
)
async def test_a_clients_grant_reads_until_anything_it_rests_on_ends(
    estate: Estate, superuser_database: Database, ada: Person, end: str
) -> None:
    made = await estate.documents.create(ada.caller(*EVERYTHING), "tickets", TITLE)
    granted = uuid7()
    await superuser_database.execute(
        "insert into troth.session (id, tenant_id, domain, person_id, parent_id, client_id, idle, expires_at)"
        " select $1, tenant_id, domain, person_id, id, 'ledger', idle, expires_at"
        " from troth.session where id = $2",
        granted,
        ada.session,
    )
    client = msgspec.structs.replace(ada.caller("tickets:read"), session=granted)
    assert await estate.documents.read(client, "tickets", made.id) == made
    with pytest.raises(NotFound):
        await estate.documents.read(client, "tickets", uuid7())
    await superuser_database.execute(end, granted)
    with pytest.raises(Unauthenticated):
        await estate.documents.read(client, "tickets", made.id)
    with pytest.raises(Unauthenticated):
        await estate.documents.list(client, "tickets")


async def test_a_session_of_another_tenant_opens_nothing(estate: Estate, ada: Person, eve: Person) -> None:
    made = await estate.documents.create(ada.caller(*EVERYTHING), "tickets", TITLE)
    mixed = msgspec.structs.replace(ada.caller(*EVERYTHING), session=eve.session)
    with pytest.raises(Unauthenticated):
        await estate.documents.read(mixed, "tickets", made.id)
    unknown = msgspec.structs.replace(ada.caller(*EVERYTHING), session=uuid7())
    with pytest.raises(Unauthenticated):
        await estate.documents.read(unknown, "tickets", made.id)


async def test_fields_of_a_scope_bound_what_is_read_and_written(estate: Estate, ada: Person) -> None:
    full = await estate.documents.create(
        ada.caller(*EVERYTHING), "tickets", {"title": "t", "text": "hidden", "status": "open"}
    )
    caller = ada.caller(
        "tickets:create:own:title", "tickets:read:own:title", "tickets:update:own:status,title"
    )
    assert content(await estate.documents.read(caller, "tickets", full.id)) == {"title": "t"}
    page = await estate.documents.list(caller, "tickets")
    assert [content(item) for item in page.items] == [{"title": "t"}]
    with pytest.raises(Denied) as caught:
        await estate.documents.create(caller, "tickets", {"title": "t", "text": "x"})
    assert caught.value.scope == "tickets:create:own:text"
    with pytest.raises(Denied):
        await estate.documents.patch(caller, "tickets", full.id, {"text": None}, version(1))
    with pytest.raises(Denied, match="text"):
        await estate.documents.replace(caller, "tickets", full.id, {"title": "t"}, version(1))
    changed = await estate.documents.patch(caller, "tickets", full.id, {"status": "closed"}, version(1))
    assert content(changed) == {"title": "t"}, "what may not be read is not shown after a change either"
    whole = await estate.documents.read(ada.caller(*EVERYTHING), "tickets", full.id)
    assert content(whole) == {"title": "t", "text": "hidden", "status": "closed"}


async def test_a_change_without_a_right_to_read_shows_nothing(estate: Estate, ada: Person) -> None:
    made = await estate.documents.create(ada.caller("tickets:create"), "tickets", TITLE)
    assert content(made) == {}
    changed = await estate.documents.patch(
        ada.caller("tickets:update"), "tickets", made.id, {"status": "closed"}, version(1)
    )
    assert content(changed) == {}
    assert changed.version == 2


async def test_content_that_does_not_fit_is_never_stored(estate: Estate, ada: Person) -> None:
    caller = ada.caller(*EVERYTHING)
    made = await estate.documents.create(caller, "tickets", TITLE)
    with pytest.raises(Unprocessable):
        await estate.documents.create(caller, "tickets", {"title": 7})
    with pytest.raises(Unprocessable):
        await estate.documents.replace(caller, "tickets", made.id, {}, version(1))
    with pytest.raises(Unprocessable):
        await estate.documents.patch(caller, "tickets", made.id, {"title": None}, version(1))
    with pytest.raises(Unprocessable):
        await estate.documents.patch(
            caller, "tickets", made.id, {"_meta": {"owner": str(ada.id)}}, version(1)
        )
    grown = {"extra": {"a": "x" * 200_000}}
    await estate.documents.patch(caller, "tickets", made.id, grown, version(1))
    with pytest.raises(TooLarge):
        await estate.documents.patch(caller, "tickets", made.id, {"extra": {"b": "x" * 200_000}}, version(2))
    assert len((await estate.documents.list(caller, "tickets")).items) == 1


async def test_an_unknown_collection_is_nothing(estate: Estate, ada: Person) -> None:
    with pytest.raises(NotFound):
        await estate.documents.read(ada.caller("secrets:read"), "secrets", uuid7())
