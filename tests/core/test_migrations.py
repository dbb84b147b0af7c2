"""Migrations, against a database of their own for each test."""

import asyncio
import re
import secrets
from pathlib import Path

import asyncpg
import pytest

from support.postgres import Server
from troth.core.db import Database, DatabaseTarget
from troth.core.errors import PlatformError
from troth.core.migrations import SCHEMA, Migration, migrate, pending, read_migrations
from troth.data.roles import APP, AUDITOR, OWNER, SUPERUSER


@pytest.fixture
async def empty(postgres: Server, superuser_database: Database) -> DatabaseTarget:
    """A database with an empty schema `troth`, as its owner."""
    name = f"scratch_{secrets.token_hex(4)}"
    await superuser_database.execute(f"create database {name} template template0")
    opened = await Database.open(postgres.target(SUPERUSER, name), max_size=1)
    await opened.execute("create schema troth authorization troth_owner")
    await opened.close()
    return postgres.target(OWNER, name)


def folder_with(path: Path, **files: str) -> Path:
    for name, sql in files.items():
        (path / f"{name.removeprefix('m')}.sql").write_text(sql)
    return path


async def applied(target: DatabaseTarget) -> list[str]:
    database = await Database.open(target, max_size=1)
    try:
        return [row["name"] for row in await database.fetch("select name from troth.migration order by name")]
    finally:
        await database.close()


async def test_each_file_is_applied_once_and_in_order(empty: DatabaseTarget, tmp_path: Path) -> None:
    folder = folder_with(
        tmp_path, m001_table="create table troth.t (a int)", m002_column="alter table troth.t add b int"
    )
    assert await migrate(empty, folder=folder) == ("001_table", "002_column")
    assert await migrate(empty, folder=folder) == ()
    folder_with(folder, m003_more="alter table troth.t add c int")
    assert await migrate(empty, folder=folder) == ("003_more",)


async def test_of_many_processes_one_migrates(empty: DatabaseTarget, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, m001_table="create table troth.t (a int); select pg_sleep(0.3)")
    done = await asyncio.gather(*(migrate(empty, folder=folder) for _ in range(5)))
    assert sorted(done) == [(), (), (), (), ("001_table",)]


async def test_a_file_that_fails_leaves_no_trace(empty: DatabaseTarget, tmp_path: Path) -> None:
    folder = folder_with(
        tmp_path,
        m001_good="create table troth.t (a int)",
        m002_bad="create table troth.u (a int); select 1/0",
    )
    with pytest.raises(PlatformError, match="002_bad failed"):
        await migrate(empty, folder=folder)
    assert await applied(empty) == ["001_good"]
    folder_with(folder, m002_bad="create table troth.u (a int)")
    assert await migrate(empty, folder=folder) == ("002_bad",)


async def test_an_applied_file_that_was_changed_is_refused(empty: DatabaseTarget, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, m001_table="create table troth.t (a int)")
    await migrate(empty, folder=folder)
    folder_with(folder, m001_table="create table troth.t (a bigint)")
    with pytest.raises(PlatformError, match="was changed"):
        await migrate(empty, folder=folder)


async def test_a_database_of_a_newer_troth_is_refused(empty: DatabaseTarget, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, m001_a="select 1", m002_b="select 1")
    await migrate(empty, folder=folder)
    (folder / "002_b.sql").unlink()
    with pytest.raises(PlatformError, match="by a newer Troth"):
        await migrate(empty, folder=folder)


async def test_without_a_leader_nothing_is_migrated(empty: DatabaseTarget, tmp_path: Path) -> None:
    nowhere = DatabaseTarget((), empty.user, empty.ca, empty.certificate, empty.key)
    with pytest.raises(PlatformError, match="no leader"):
        await migrate(nowhere, folder=tmp_path, seconds=0.5)


def test_a_file_numbered_below_an_applied_one_is_refused() -> None:
    known = (Migration("001_a", "select 1"), Migration("002_b", "select 2"))
    with pytest.raises(PlatformError, match="comes before 002_b"):
        pending(known, {"002_b": known[1].sha256})


@pytest.mark.parametrize("name", ["1_short.sql", "001.sql", "001_Upper.sql", "001-dash.sql"])
def test_a_file_without_a_proper_number_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("select 1")
    with pytest.raises(PlatformError, match="NNN_subject"):
        read_migrations(tmp_path)


def test_two_files_of_one_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="number of its own"):
        read_migrations(folder_with(tmp_path, m001_a="select 1", m001_b="select 1"))


def test_the_shipped_files_are_numbered_without_a_gap() -> None:
    numbers = [int(migration.name[:3]) for migration in read_migrations(SCHEMA)]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_row_security_is_forced_on_every_table_that_names_a_tenant(
    superuser_database: Database,
) -> None:
    lax = await superuser_database.fetch(
        "select distinct c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid "
        "where c.relnamespace = 'troth'::regnamespace and c.relkind in ('r', 'p') "
        "and a.attname = 'tenant_id' and not (c.relrowsecurity and c.relforcerowsecurity)"
    )
    # A domain is looked up before any tenant is known, and holds nothing but public facts.
    assert {row["relname"] for row in lax} <= {"domain"}


async def test_the_auditor_writes_nothing(superuser_database: Database) -> None:
    rights = await superuser_database.fetch(
        "select table_name from information_schema.role_table_grants "
        "where grantee = $1 and privilege_type <> 'SELECT'",
        AUDITOR,
    )
    assert rights == []


async def test_the_app_may_not_bypass_row_security(superuser_database: Database) -> None:
    roles = await superuser_database.fetch(
        "select rolname, rolpassword, "
        "rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication as mighty "
        "from pg_authid where rolname = any($1::text[])",
        [APP, OWNER],
    )
    assert {(row["rolname"], row["mighty"], row["rolpassword"]) for row in roles} == {
        (APP, False, None),
        (OWNER, False, None),
    }


async def test_no_function_that_runs_with_its_owners_rights_trusts_the_callers_search_path(
    superuser_database: Database,
) -> None:
    rows = await superuser_database.fetch(
        "select proname, proconfig from pg_proc where pronamespace = 'troth'::regnamespace and prosecdef"
    )
    for row in rows:
        settings = " ".join(row["proconfig"] or [])
        assert re.search(r"search_path=", settings), row["proname"]


async def test_a_refused_statement_names_the_privilege(database: Database) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.execute("delete from troth.migration")
