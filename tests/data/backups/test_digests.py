"""Digests of the tables are those at a restore point, whoever writes meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from support.postgres import Server
from troth.core.db import Database
from troth.core.errors import PlatformError
from troth.core.leader import SecureContext, connect
from troth.data.backups import digests
from troth.data.backups.digests import Connection, TableDigest, differences, read_digests, take_digests
from troth.data.roles import SUPERUSER

ONE = TableDigest("troth.note", 3, "aa")


@pytest.fixture
async def superuser(postgres: Server) -> AsyncGenerator[Database]:
    """A database with a table of notes."""
    database = await Database.open(postgres.target(SUPERUSER), max_size=4)
    await database.execute("create table if not exists public.note (id bigserial primary key, body text)")
    yield database
    await database.execute("drop table public.note")
    await database.close()


async def opened(postgres: Server) -> Connection:
    target = postgres.target(SUPERUSER)
    return await connect(target, target.hosts[0], SecureContext.of(target))


async def test_digests_are_the_same_until_a_row_changes(postgres: Server, superuser: Database) -> None:
    await superuser.execute("insert into public.note (body) values ('a'), ('b')")
    first = await take_digests(lambda: opened(postgres), "troth-test-one")
    connection = await opened(postgres)
    assert differences(first.tables, await read_digests(connection)) == ()
    await superuser.execute("update public.note set body = 'c' where body = 'b'")
    (told,) = differences(first.tables, await read_digests(connection))
    assert told == "public.note has 2 rows of another content"
    await superuser.execute("delete from public.note where body = 'c'")
    (told,) = differences(first.tables, await read_digests(connection))
    assert told == "public.note has 1 rows instead of 2"
    await connection.close()


async def test_the_order_of_rows_does_not_matter(postgres: Server, superuser: Database) -> None:
    connection = await opened(postgres)
    await superuser.execute("insert into public.note (id, body) values (101, 'a'), (102, 'b')")
    before = await read_digests(connection)
    await superuser.execute("delete from public.note")
    await superuser.execute("insert into public.note (id, body) values (102, 'b'), (101, 'a')")
    assert differences(before, await read_digests(connection)) == ()
    await connection.close()


@contextlib.asynccontextmanager
async def writing(database: Database) -> AsyncGenerator[None]:
    """Three writers that never pause: there is hardly a moment in which none of them is in a transaction."""

    async def write() -> None:
        while True:
            await database.execute("insert into public.note (body) select repeat('x', 20)")

    writers = [asyncio.create_task(write()) for _ in range(3)]
    try:
        yield
    finally:
        for one in writers:
            one.cancel()
        await asyncio.gather(*writers, return_exceptions=True)


async def test_busy_writers_are_held_off_for_the_moment_of_the_snapshot(
    postgres: Server, superuser: Database
) -> None:
    async with writing(superuser):
        taken = await take_digests(lambda: opened(postgres), "troth-test-busy")
    (note,) = [one for one in taken.tables if one.name == "public.note"]
    rows = await superuser.fetchval("select count(*) from public.note")
    assert 0 < note.rows <= rows
    assert taken.point.startswith("troth-test-busy-")


async def test_a_transaction_that_does_not_end_is_told(
    postgres: Server, superuser: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "QUIET_TRIES", 2)
    monkeypatch.setattr(digests, "LOCK_TRIES", 2)
    holder = await opened(postgres)
    await holder.execute("begin")
    await holder.execute("insert into public.note (body) values ('open')")
    with pytest.raises(PlatformError, match="no moment between two writes"):
        await take_digests(lambda: opened(postgres), "troth-test-held")
    await holder.execute("rollback")
    await holder.close()


def test_tables_that_came_or_went_are_told() -> None:
    assert differences((ONE,), ()) == ("troth.note is missing",)
    assert differences((), (ONE,)) == ("troth.note was not there",)
    assert differences((ONE,), (ONE,)) == ()


async def test_no_restore_point_has_the_name_of_an_earlier_one(postgres: Server, superuser: Database) -> None:
    taken = [await take_digests(lambda: opened(postgres), "troth-test-again") for _ in range(2)]
    assert taken[0].point != taken[1].point
