"""The database's roles and the empty schema: what must exist before the first migration.

Runs as the superuser, whose certificate the keeper alone holds; may be repeated at every start.
"""

from collections.abc import Awaitable, Callable

import asyncpg

from troth.core.errors import PlatformError
from troth.core.leader import LEADER_SECONDS, DatabaseTarget, SecureContext, wait_for_leader

SUPERUSER = "postgres"
OWNER = "troth_owner"
APP = "troth_app"
AUDITOR = "troth_auditor"
REPLICATOR = "replicator"

ROLES: dict[str, str] = {
    OWNER: "nosuperuser nobypassrls nocreaterole nocreatedb noreplication",
    APP: "nosuperuser nobypassrls nocreaterole nocreatedb noreplication",
    AUDITOR: "nosuperuser bypassrls nocreaterole nocreatedb noreplication",
    REPLICATOR: "nosuperuser bypassrls nocreaterole nocreatedb replication",
}
"""Rights of each role. None has a password: a client certificate is the only way in. The replicator copies
the whole database, so it may read it as well: what a backup holds is compared with what there is."""

_CLUSTER = """
revoke all on database template1 from public;
revoke all on database postgres from public;
revoke all on database troth from public;
grant connect on database troth to troth_owner, troth_app, troth_auditor;
grant pg_read_all_stats to troth_auditor;
grant connect on database troth to replicator;
grant pg_read_all_stats, pg_read_all_data, pg_maintain to replicator;
"""

_DATABASE = """
revoke all on schema public from public;
create schema if not exists troth authorization troth_owner;
grant usage on schema troth to troth_app, troth_auditor;
grant execute on function pg_create_restore_point(text) to replicator;
"""


_SEARCH_PATH = "alter role {role} in database troth set search_path = troth, pg_temp"
"""Unqualified names resolve to our schema alone; nothing can be slipped in front of it."""


_REPLICATOR = """
select 'create role replicator login password null'
where not exists (select from pg_roles where rolname = 'replicator') \\gexec
""".strip()
"""Many a set has one already, whose password its members may need."""


def preparation() -> str:
    """The same as SQL for psql(1), where a superuser prepares a PostgreSQL that others run."""
    working = [role for role in ROLES if role != REPLICATOR]
    statements = (
        *(f"create role {role} login {ROLES[role]} password null;" for role in working),
        _REPLICATOR,
        f"alter role {REPLICATOR} {ROLES[REPLICATOR]};",
        "create database troth owner troth_owner template template0;",
        _CLUSTER.strip(),
        "\\connect troth",
        _DATABASE.strip(),
        *(f"{_SEARCH_PATH.format(role=role)};" for role in ROLES),
    )
    return "\n".join(statements)


async def bootstrap(superuser: DatabaseTarget) -> None:
    """Make roles, the database `troth` and its empty schema where they are missing.

    Raises PlatformError when there is no leader or the superuser may not do it.
    """
    try:
        await _run(superuser, "postgres", _make_cluster_objects)
        await _run(superuser, "troth", _make_schema)
    except (asyncpg.PostgresError, OSError) as error:
        raise PlatformError("The database could not be prepared.", detail=repr(error)) from error


async def _run(
    superuser: DatabaseTarget,
    database: str,
    work: "Callable[[asyncpg.Connection[asyncpg.Record]], Awaitable[None]]",
) -> None:
    target = DatabaseTarget(
        superuser.hosts, superuser.user, superuser.ca, superuser.certificate, superuser.key, database
    )
    context = SecureContext.of(target)
    connection = await wait_for_leader(target, context, seconds=LEADER_SECONDS)
    try:
        # CREATE DATABASE copies a template and, replicated, waits for a standby.
        await connection.execute("set statement_timeout = '60s'")
        await work(connection)
    finally:
        await connection.close(timeout=5)


async def _make_cluster_objects(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    present = {row["rolname"] for row in await connection.fetch("select rolname from pg_roles")}
    for role, rights in ROLES.items():
        verb = "alter" if role in present else "create"
        await connection.execute(f"{verb} role {role} login {rights} password null")
    if not await connection.fetchval("select true from pg_database where datname = 'troth'"):
        await connection.execute("create database troth owner troth_owner template template0")
    await connection.execute(_CLUSTER)


async def _make_schema(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.execute(_DATABASE)
    for role in ROLES:
        await connection.execute(_SEARCH_PATH.format(role=role))
