"""What the database's roles may do with the tables of access: forced row-level security, narrow grants."""

import re

import asyncpg
import pytest

from support.access import Access, House, furnish
from troth.core.db import Database

TABLES = (
    "role",
    "person",
    "client",
    "session",
    "consent",
    "authorization_code",
    "signing_key",
    "client_secret",
    "spent_assertion",
    "pushed_request",
    "refresh_family",
    "spent_proof",
    "device_request",
    "device_guess",
    "initial_access_token",
    "client_registration",
)

OWNERS_ALONE = ("initial_access_token", "client_registration")


async def test_row_level_security_is_forced_on_every_table_and_troth_app_owns_none(
    superuser_database: Database,
) -> None:
    rows = await superuser_database.fetch(
        "select relname, relrowsecurity, relforcerowsecurity, pg_get_userbyid(relowner) as owner"
        " from pg_class where relnamespace = 'troth'::regnamespace and relname = any ($1)",
        list(TABLES),
    )
    assert {row["relname"] for row in rows} == set(TABLES)
    assert all(row["relrowsecurity"] and row["relforcerowsecurity"] for row in rows)
    assert {row["owner"] for row in rows} == {"troth_owner"}


WITH_THE_OWNERS_RIGHTS = {
    "reset_password",
    "change_password",
    "register_person",
    "confirm_email",
    "invited_scopes",
    "register_client",
    "manages_client",
    "managed_client",
    "replace_client",
    "remove_client",
    "refuse_ended_epoch",
    "write_history",
}
"""Each checks a link, a token or a living session itself before it changes anything, save two: one is a
trigger, and one writes down what was measured. Those of administration, `admin_…`, begin with
`troth.administer`."""

OF_THE_KEEPER = {"write_history"}


async def test_functions_work_with_their_callers_rights(superuser_database: Database) -> None:
    definers = await superuser_database.fetch(
        "select proname, proconfig, prosrc from pg_proc"
        " where pronamespace = 'troth'::regnamespace and prosecdef"
    )
    others = {row["proname"] for row in definers if not row["proname"].startswith("admin_")}
    assert others <= WITH_THE_OWNERS_RIGHTS
    unguarded = [
        row["proname"]
        for row in definers
        if row["proname"].startswith("admin_") and "troth.administer(" not in row["prosrc"]
    ]
    assert not unguarded
    assert all(row["proconfig"] == ["search_path=pg_catalog, pg_temp"] for row in definers)


async def test_only_the_web_instances_may_call_functions_but_for_the_keepers_history(
    superuser_database: Database,
) -> None:
    open_to_others = await superuser_database.fetch(
        "select proname from pg_proc where pronamespace = 'troth'::regnamespace"
        " and (has_function_privilege('troth_auditor', oid, 'execute')"
        "      or has_function_privilege('replicator', oid, 'execute'))"
    )
    assert {row["proname"] for row in open_to_others} == OF_THE_KEEPER


@pytest.mark.parametrize("table", sorted({*TABLES} - {*OWNERS_ALONE}))
async def test_without_a_context_nothing_is_seen(house: House, table: str) -> None:
    await house.begin()
    await house.access.keys.ring(house.domain)
    platform = " where tenant_id is not null" if table == "role" else ""
    for reader in (house.access.database, house.access.owner):
        assert await reader.fetchval(f"select count(*) from troth.{table}{platform}") == 0  # noqa: S608


async def test_one_tenants_context_shows_nothing_of_another(access: Access, house: House) -> None:
    other = await furnish(access)
    begun = await other.begin()
    async with access.database.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        assert not await connection.fetchval("select troth.session_alive($1)", begun.session.id)
        seen = await connection.fetch("select distinct tenant_id from troth.person")
        assert [row["tenant_id"] for row in seen] == [house.tenant.id]


async def test_a_row_cannot_be_put_into_another_tenant(access: Access, house: House) -> None:
    other = await furnish(access)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with access.database.transaction() as connection:
            await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
            await connection.execute(
                "insert into troth.person (id, tenant_id, email_index, profile)"
                " values (gen_random_uuid(), $1, 'x', 'x')",
                other.tenant.id,
            )


@pytest.mark.parametrize(
    "column",
    ["person.profile", "person.email_index", "person.password_hash", "session.token_hash",
     "signing_key.private_key", "client_secret.secret_hash", "spent_assertion.jti_hash",
     "refresh_family.secret_hash", "spent_proof.proof_hash", "device_request.device_hash",
     "device_request.user_code_index",
     "pushed_request.parameters", "initial_access_token.token_hash", "client_registration.token_hash",
     "authorization_code.code_hash", "authorization_code.challenge"],
)  # fmt: skip
async def test_the_auditor_sees_nothing_sealed_and_no_hash_that_opens_anything(
    auditor_database: Database, column: str
) -> None:
    table, name = column.split(".")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await auditor_database.fetch(f"select {name} from troth.{table}")  # noqa: S608


async def test_the_auditor_reads_how_passwords_are_hashed_in_all_tenants_and_no_hash(
    house: House, auditor_database: Database
) -> None:
    stored = await auditor_database.fetchval(
        "select password_shape from troth.person where id = $1", house.person
    )
    assert re.fullmatch(r"pbkdf2-sha256\$600000\$[\w-]{22}\$", stored)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await auditor_database.execute("update troth.person set disabled = true")


@pytest.mark.parametrize(
    "statement",
    ["delete from troth.person", "update troth.client set disabled = false",
     "update troth.client set registration = '{}'", "delete from troth.client_secret",
     "select 1 from troth.initial_access_token", "select 1 from troth.client_registration",
     "insert into troth.client_secret (tenant_id, client_id, secret_hash) values (null, 'x', 'x')",
     "update troth.spent_assertion set jti_hash = 'x'", "update troth.spent_proof set proof_hash = 'x'",
     "update troth.refresh_family set secret_hash = 'x'", "delete from troth.refresh_family",
     "update troth.refresh_family set idle = '10 years'",
     "update troth.refresh_family set confirmation = null",
     "update troth.device_request set expires_at = 'infinity'",
     "update troth.device_request set client_id = 'x'",
     "insert into troth.role (name, scopes) values ('x', '{}')", "delete from troth.signing_key",
     "update troth.signing_key set private_key = 'x'", "truncate troth.session",
     "delete from troth.audit_event", "update troth.audit_event set event = 'x'", "drop table troth.session",
     "update troth.person set roles = '{manager}'", "update troth.person set disabled = false",
     "update troth.person set sessions_from = '-infinity'",
     "update troth.session set expires_at = 'infinity'", "update troth.session set person_id = id",
     "update troth.consent set client_id = 'x'",
     "insert into troth.person (id, tenant_id) select id, tenant_id from troth.person",
     "update troth.authorization_code set expires_at = 'infinity', redeemed_at = null",
     "select troth.add_person(null, null, null, null, null, null)",
     "select troth.set_password(null, null, null)", "select troth.set_disabled(null, null, false)"],
)  # fmt: skip
async def test_the_web_instances_may_do_no_more_than_they_need(database: Database, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.execute(statement)


async def test_a_session_that_ended_cannot_be_opened_again(house: House) -> None:
    begun = await house.begin()
    await house.access.sessions.end(house.domain, begun.token)
    async with house.access.database.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        assert await connection.execute("update troth.session set ended_at = null") == "UPDATE 0"


async def test_only_what_is_long_over_can_be_deleted(house: House) -> None:
    begun, old = await house.begin(), await house.begin()
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "update troth.session set expires_at = now() - interval '8 days' where id = $1", old.session.id
        )
    async with house.access.database.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        assert await connection.execute("delete from troth.session") == "DELETE 1"
    await house.access.sessions.open(house.domain, begun.token)


async def test_signing_in_sweeps_what_is_long_over(house: House) -> None:
    old = await house.begin()
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute("update troth.session set expires_at = now() - interval '8 days'")
    await house.begin()
    kept = await house.access.auditor.fetchval(
        "select count(*) from troth.session where id = $1", old.session.id
    )
    assert kept == 0
