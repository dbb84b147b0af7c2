"""Bring the database to this Troth's schema: the numbered files of `core/schema`, each once, in order.

One process at a time (a session-level advisory lock); each file in a transaction of its own together with
the row that records it. An applied file is never changed: its SHA-256 is kept and compared.
"""

import hashlib
import re
from pathlib import Path

import asyncpg
import msgspec

from troth import VERSION
from troth.core.errors import PlatformError
from troth.core.leader import LEADER_SECONDS, DatabaseTarget, SecureContext, wait_for_leader

SCHEMA = Path(__file__).parent / "schema"

_LOCK = 0x7407_0001
"""Any fixed number that nothing else in this database uses."""

_NAME = re.compile(r"(\d{3})_[a-z0-9_]+\.sql")

_RECORD_TABLE = """
create table if not exists troth.migration (
    name text primary key,
    sha256 text not null,
    applied_at timestamptz not null default now(),
    applied_by text not null
)
"""


class Migration(msgspec.Struct, frozen=True):
    """One numbered SQL file."""

    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Path = SCHEMA) -> tuple[Migration, ...]:
    """The files in order. Raises PlatformError when a name is not numbered or a number occurs twice."""
    migrations: list[Migration] = []
    numbers: set[str] = set()
    for file in sorted(folder.glob("*.sql")):
        matched = _NAME.fullmatch(file.name)
        if matched is None or matched[1] in numbers:
            raise PlatformError(f"{file} is not named NNN_subject.sql with a number of its own.")
        numbers.add(matched[1])
        migrations.append(Migration(file.stem, file.read_text()))
    return tuple(migrations)


def pending(known: tuple[Migration, ...], applied: dict[str, str]) -> tuple[Migration, ...]:
    """What is left to do, given the names and hashes that the database recorded.

    Raises PlatformError when the database is newer, an applied file was changed, or a new file is numbered
    below an applied one.
    """
    names = {migration.name for migration in known}
    strangers = sorted(set(applied) - names)
    if strangers:
        raise PlatformError(
            f"The database was brought to {strangers[-1]} by a newer Troth.",
            hint="Install that Troth again, or restore a backup made before it.",
        )
    for migration in known:
        if migration.name in applied and applied[migration.name] != migration.sha256:
            raise PlatformError(
                f"The migration {migration.name} was changed after it had been applied.",
                hint="Restore the file and put the change into a new one.",
            )
    left = tuple(migration for migration in known if migration.name not in applied)
    if left and applied and left[0].name < max(applied):
        raise PlatformError(
            f"The migration {left[0].name} comes before {max(applied)}, which has been applied.",
            hint="Give it the next free number.",
        )
    return left


async def migrate(
    owner: DatabaseTarget, *, folder: Path = SCHEMA, seconds: float = LEADER_SECONDS
) -> tuple[str, ...]:
    """Apply what is missing, as the schema's owner. Returns the names of the files applied now.

    Raises PlatformError: see `pending`, and when there is no leader within `seconds` or a file fails, which
    then leaves no trace.
    """
    context = SecureContext.of(owner)
    connection = await wait_for_leader(owner, context, seconds=seconds)
    try:
        # Waiting for another process's migration is bounded; a migration itself takes what it needs.
        await connection.execute("set statement_timeout = 0; set lock_timeout = '60s'")
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        return await _apply_pending(connection, read_migrations(folder))
    except asyncpg.LockNotAvailableError as error:
        raise PlatformError("Another process has been migrating the database for a minute.") from error
    finally:
        await connection.close(timeout=5)  # ends the session and with it the lock


async def _apply_pending(
    connection: "asyncpg.Connection[asyncpg.Record]", known: tuple[Migration, ...]
) -> tuple[str, ...]:
    await connection.execute(_RECORD_TABLE)
    rows = await connection.fetch("select name, sha256 from troth.migration")
    left = pending(known, {row["name"]: row["sha256"] for row in rows})
    for migration in left:
        await _apply(connection, migration)
    return tuple(migration.name for migration in left)


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(
                "insert into troth.migration (name, sha256, applied_by) values ($1, $2, $3)",
                migration.name,
                migration.sha256,
                VERSION,
            )
    except asyncpg.PostgresError as error:
        raise PlatformError(
            f"The migration {migration.name} failed: {error}", hint="Nothing of it was kept."
        ) from error
