"""What every table holds at one position of the write-ahead log, so that a restore can be held against it.

The digests are taken in a snapshot that is exactly the state at a named restore point: either nothing was
being written when both were made, or writers were held off for the moment in between. A restore to that point
must show the same rows; one that stops a transaction early or late does not.
"""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import asyncpg
import msgspec

from troth.core.errors import PlatformError

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

QUIET_TRIES = 5
LOCK_TRIES = 5
_PAUSE_SECONDS = 0.2

_LOCK_MILLISECONDS = 300
"""How long writers may be held off: a lock that does not come at once is given up and tried again."""

_STEM_LIMIT = 48
"""PostgreSQL's MAXFNAMELEN, less what tells one attempt from another."""

_TABLES = """
select format('%I.%I', n.nspname, c.relname) as name
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence = 'p'
  and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
order by 1
"""

_DIGEST = """
select count(*) as rows,
       coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text as one,
       coalesce(sum(hashtextextended(t::text, 1)::numeric), 0)::text as two
from only {table} t
"""
"""Sums of two hashes of 64 bits: whatever the order in which the rows are read, and in constant memory."""

_WRITING = """
select count(*) from pg_stat_activity where backend_xid is not null and pid <> all ($1::int[])
"""

_SESSION = (
    "set timezone to 'UTC'",
    "set datestyle to 'ISO'",
    "set intervalstyle to 'postgres'",
    "set bytea_output to 'hex'",
    "set extra_float_digits to 1",
    "set default_transaction_read_only to off",
)
"""Both sides have to write a row down the same way."""


class TableDigest(msgspec.Struct, frozen=True):
    """One table: its rows, and 128 bits that depend on each of them."""

    name: str
    rows: int
    digest: str


class Digests(msgspec.Struct, frozen=True, kw_only=True):
    """Every table at the restore point `point`, which lies at `lsn` (as PostgreSQL writes it)."""

    point: str
    lsn: str
    tables: tuple[TableDigest, ...]

    @property
    def rows(self) -> int:
        """Rows in all tables."""
        return sum(table.rows for table in self.tables)


async def take_digests(
    connect: Callable[[], Awaitable[Connection]], stem: str, *, seconds: float = 900.0
) -> Digests:
    """Make a restore point, whose name begins with `stem`, and digest every table as it is there. `connect`
    opens a connection to the leader's database as a role that may read all tables, lock them, and make a
    restore point.

    Writers wait for a fraction of a second, and only where there is no moment in which none of them writes.
    Raises PlatformError when no such moment can be had, when it takes longer than `seconds`, or when the
    leader is lost.
    """
    if len(stem.encode()) > _STEM_LIMIT:
        raise ValueError(f"the name of a restore point begins with at most {_STEM_LIMIT} bytes")
    reader, marker = await connect(), await connect()
    try:
        async with asyncio.timeout(seconds):
            for one in (reader, marker):
                await _prepare(one)
            name, lsn = await _meet(reader, marker, stem)
            tables = await _digest_all(reader)
            await reader.execute("commit")
    except TimeoutError:
        raise PlatformError(f"The tables could not be digested within {seconds:.0f} s.") from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise PlatformError("The tables could not be digested.", detail=str(error)) from error
    finally:
        for one in (reader, marker):
            await one.close(timeout=5)
    return Digests(point=name, lsn=lsn, tables=tables)


async def read_digests(connection: Connection) -> tuple[TableDigest, ...]:
    """Digest every table of the connection's database, in one snapshot."""
    await _prepare(connection)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await _digest_all(connection)


def differences(recorded: tuple[TableDigest, ...], found: tuple[TableDigest, ...]) -> tuple[str, ...]:
    """A sentence for each table that is not what was recorded; nothing when all are alike."""
    before = {table.name: table for table in recorded}
    after = {table.name: table for table in found}
    told = [f"{name} is missing" for name in sorted(before.keys() - after.keys())]
    told += [f"{name} was not there" for name in sorted(after.keys() - before.keys())]
    for name in sorted(before.keys() & after.keys()):
        old, new = before[name], after[name]
        if old.rows != new.rows:
            told.append(f"{name} has {new.rows} rows instead of {old.rows}")
        elif old.digest != new.digest:
            told.append(f"{name} has {new.rows} rows of another content")
    return tuple(told)


async def _prepare(connection: Connection) -> None:
    for statement in _SESSION:
        await connection.execute(statement)
    await connection.execute("set statement_timeout to 0")


async def _meet(reader: Connection, marker: Connection, stem: str) -> tuple[str, str]:
    """Leave `reader` in a transaction whose snapshot is the state at a restore point; returns name and
    position. Each attempt has a name that was never used, since a recovery stops at the first of a name."""
    unlike_any = secrets.token_hex(4)
    names = (f"{stem}-{unlike_any}-{number}" for number in itertools.count(1))
    for attempt in (*[_in_quiet] * QUIET_TRIES, *[_behind_a_lock] * LOCK_TRIES):
        name = next(names)
        lsn = await attempt(reader, marker, name)
        if lsn is not None:
            return name, lsn
        await asyncio.sleep(_PAUSE_SECONDS)
    raise PlatformError(
        "The tables could not be digested: there was no moment between two writes.",
        hint="A transaction that writes has been open for long; end it, or take the backup again.",
    )


async def _in_quiet(reader: Connection, marker: Connection, name: str) -> str | None:
    """The position, if nobody wrote between the snapshot and the restore point.

    A transaction that is in the log already, and only waits for its standby, is in no snapshot yet: it is
    seen by its number in pg_stat_activity.
    """
    await reader.execute("begin isolation level repeatable read read only")
    before = await reader.fetchval("select pg_current_snapshot()::text")
    lsn: str = await marker.fetchval("select pg_create_restore_point($1)::text", name)
    own = [one.get_server_pid() for one in (reader, marker)]
    writing = await marker.fetchval(_WRITING, own)
    after = await marker.fetchval("select pg_current_snapshot()::text")
    if before == after and not writing and _nobody_writes(before):
        return lsn
    await reader.execute("rollback")
    return None


async def _behind_a_lock(reader: Connection, marker: Connection, name: str) -> str | None:
    """The position, if every writer could be held off for a moment: a lock in share mode is granted once
    those before it are done, their wait for a standby included."""
    tables = [row["name"] for row in await marker.fetch(_TABLES)]
    try:
        async with marker.transaction():
            await marker.execute(f"set local lock_timeout to {_LOCK_MILLISECONDS}")
            await marker.execute(f"lock table {', '.join(tables)} in share mode")
            await reader.execute("begin isolation level repeatable read read only")
            await reader.fetchval("select pg_current_snapshot()::text")
            return await marker.fetchval("select pg_create_restore_point($1)::text", name)
    except asyncpg.LockNotAvailableError:
        return None


def _nobody_writes(snapshot: str) -> bool:
    """`xmin:xmax:` with both alike and no transaction between them."""
    oldest, newest, running = snapshot.split(":")
    return oldest == newest and not running


async def _digest_all(connection: Connection) -> tuple[TableDigest, ...]:
    names = [row["name"] for row in await connection.fetch(_TABLES)]
    return tuple([await _digest(connection, name) for name in names])


async def _digest(connection: Connection, name: str) -> TableDigest:
    # The name comes from format('%I.%I') above, so it is quoted where it has to be.
    row: Any = await connection.fetchrow(_DIGEST.format(table=name))
    digest = f"{int(row['one']) % 2**64:016x}{int(row['two']) % 2**64:016x}"
    return TableDigest(name, int(row["rows"]), digest)
