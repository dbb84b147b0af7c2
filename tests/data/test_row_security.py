"""The database's own guard: raw SQL as troth_app, past all of Python, under every context."""

from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from uuid_utils.compat import uuid7

from support.documents import EVERYTHING, Estate, Person
from troth.core.db import Connection, Database

ACTIONS = ("create", "read", "update", "delete")
GRANTS = (
    "",
    "garbage",
    *(
        f"{name}:{action}:{rows}"
        for name in ("tickets", "notices")
        for action in ACTIONS
        for rows in ("any", "own")
    ),
)


class Scene(msgspec.Struct, frozen=True):
    """A document of Ada's; Bob is of the same tenant, Eve of another."""

    tenant: UUID
    other_tenant: UUID
    ada: UUID
    bob: UUID
    document: UUID
    sealed: bytes


@pytest.fixture
async def scene(estate: Estate, superuser_database: Database, ada: Person, bob: Person, eve: Person) -> Scene:
    made = await estate.documents.create(ada.caller(*EVERYTHING), "tickets", {"title": "t"})
    sealed = await superuser_database.fetchval("select sealed from troth.document where id = $1", made.id)
    return Scene(ada.house.tenant.id, eve.house.tenant.id, ada.id, bob.id, made.id, sealed)


async def enter(
    connection: Connection, tenant: UUID | None, principal: UUID | None, grants: str, action: str = ""
) -> None:
    await connection.execute(
        "select set_config('troth.tenant', $1, true), set_config('troth.principal', $2, true),"
        " set_config('troth.grants', $3, true), set_config('troth.action', $4, true)",
        str(tenant or ""),
        str(principal or ""),
        grants,
        action,
    )


class Undo(Exception):
    """Ends a transaction without a trace."""


async def attempt(database: Database, context: tuple[Any, ...], statement: str, *args: object) -> int:
    """How many rows a statement reached under this context; the transaction is rolled back."""
    reached = 0
    try:
        async with database.transaction() as connection:
            await enter(connection, *context)
            reached = int((await connection.execute(statement, *args)).rsplit(" ", 1)[1])
            raise Undo
    except Undo:
        return reached
    except asyncpg.InsufficientPrivilegeError:
        return 0


def allowed(scene: Scene, tenant: UUID | None, principal: UUID | None, grants: str, action: str) -> bool:
    """What the scopes promise, written down a second time."""
    if tenant != scene.tenant:
        return False
    if grants == f"tickets:{action}:any":
        return True
    return grants == f"tickets:{action}:own" and principal == scene.ada


@pytest.mark.parametrize("grants", GRANTS)
async def test_only_tenant_scope_and_owner_together_reach_a_row(
    database: Database, scene: Scene, grants: str
) -> None:
    statements = {
        "read": ("select sealed from troth.document where id = $1", "read"),
        "update": ("update troth.document set version = version + 1 where id = $1", "update"),
        "delete": ("delete from troth.document where id = $1", "delete"),
    }
    for tenant in (None, scene.tenant, scene.other_tenant):
        for principal in (None, scene.ada, scene.bob):
            for action, (statement, declared) in statements.items():
                reached = await attempt(
                    database, (tenant, principal, grants, declared), statement, scene.document
                )
                expected = int(allowed(scene, tenant, principal, grants, action))
                assert reached == expected, (tenant, principal, grants, action)


@pytest.mark.parametrize("grants", GRANTS)
async def test_a_row_is_made_in_ones_own_tenant_and_name_alone(
    database: Database, scene: Scene, grants: str
) -> None:
    insert = (
        "insert into troth.document (tenant_id, collection, id, owner, sealed)"
        " values ($1, 'tickets', $2, $3, $4)"
    )
    may_create = grants in ("tickets:create:any", "tickets:create:own")
    for tenant in (None, scene.tenant, scene.other_tenant):
        for principal in (None, scene.ada, scene.bob):
            for target in (scene.tenant, scene.other_tenant):
                for owner in (scene.ada, scene.bob):
                    reached = await attempt(
                        database, (tenant, principal, grants), insert, target, uuid7(), owner, scene.sealed
                    )
                    expected = may_create and tenant == target and principal == owner
                    assert reached == int(expected), (tenant, principal, target, owner)


@pytest.mark.parametrize("action", ["update", "delete"])
async def test_naming_an_action_gives_no_right_to_it(database: Database, scene: Scene, action: str) -> None:
    """Who declares `update` but may only read sees nothing: the action narrows, it never widens."""
    context = (scene.tenant, scene.ada, "tickets:read:any", action)
    assert (
        await attempt(database, context, "select sealed from troth.document where id = $1", scene.document)
        == 0
    )


async def test_without_a_context_there_is_nothing(database: Database, scene: Scene) -> None:
    for table in ("document", "idempotency", "tenant_key"):
        assert await database.fetchval(f"select count(*) from troth.{table}") == 0  # noqa: S608  constants


async def test_the_context_does_not_outlive_its_transaction(database: Database, scene: Scene) -> None:
    async with database.transaction() as connection:
        await enter(connection, scene.tenant, scene.ada, "tickets:read:any")
        assert await connection.fetchval("select count(*) from troth.document") == 1
    async with database.transaction() as connection:
        assert await connection.fetchval("select count(*) from troth.document") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "update troth.document set owner = gen_random_uuid()",
        "update troth.document set tenant_id = gen_random_uuid()",
        "update troth.document set collection = 'notices'",
        "update troth.document set id = gen_random_uuid()",
        "update troth.document set created_at = now()",
        "truncate troth.document",
        "alter table troth.document disable row level security",
        "alter table troth.document no force row level security",
        "drop policy visible on troth.document",
        "create policy all_of_it on troth.document using (true)",
        "create function troth.session_alive(uuid) returns boolean language sql return true",
        "set role troth_owner",
        "set session authorization postgres",
    ],
)
async def test_the_web_instances_cannot_change_whose_a_row_is_or_the_rules(
    database: Database, scene: Scene, statement: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction() as connection:
            await enter(connection, scene.tenant, scene.ada, " ".join(GRANTS))
            await connection.execute(statement)


async def test_even_the_owner_of_the_schema_is_held_by_the_policies(
    owner_database: Database, scene: Scene
) -> None:
    assert await owner_database.fetchval("select count(*) from troth.document") == 0


async def test_the_auditor_sees_what_is_there_but_not_what_it_says(
    auditor_database: Database, scene: Scene
) -> None:
    row = await auditor_database.fetchrow(
        "select seal, owner, version from troth.document where id = $1", scene.document
    )
    assert row is not None
    assert row["seal"] == scene.sealed[:8]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await auditor_database.fetch("select sealed from troth.document")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await auditor_database.fetch("select * from troth.idempotency")


async def test_every_table_of_the_schema_with_a_tenant_forces_row_security(
    superuser_database: Database,
) -> None:
    rows = await superuser_database.fetch(
        "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'"
        " where n.nspname = 'troth' and c.relkind in ('r', 'p')"
        " and not (c.relrowsecurity and c.relforcerowsecurity) order by 1"
    )
    assert [row["relname"] for row in rows] == ["domain"], "which domain is whose is asked before any context"


async def test_the_answers_of_others_stay_hidden(
    estate: Estate, database: Database, scene: Scene, ada: Person
) -> None:
    await estate.documents.create(ada.caller(*EVERYTHING), "tickets", {"title": "t"}, key=b"k")
    count = "select * from troth.idempotency"
    assert await attempt(database, (scene.tenant, scene.ada, ""), count) == 1
    assert await attempt(database, (scene.tenant, scene.bob, ""), count) == 0
    assert await attempt(database, (scene.other_tenant, scene.ada, ""), count) == 0


async def test_each_functions_result_follows_the_policies_when_its_filters_are_bypassed(
    database: Database, scene: Scene, ada: Person, bob: Person
) -> None:
    """A caller that lies about `p_own` still gets its own rows alone."""
    query = "select * from troth.document_list($1, $2, $3, $4, 'tickets', null, false, 100)"
    lied = await database.fetch(query, bob.session, scene.tenant, scene.bob, "tickets:read:own")
    assert lied == []
    honest = await database.fetch(query, ada.session, scene.tenant, scene.ada, "tickets:read:own")
    assert [row["id"] for row in honest] == [scene.document]
