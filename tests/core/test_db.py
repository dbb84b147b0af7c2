"""The pool to the leader, against a real PostgreSQL that is broken on purpose."""

import asyncio
import contextlib
import signal
import tempfile
import time
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest

from support.losing import losing
from support.postgres import Server, Tenant
from troth.core import connection, db
from troth.core.ca import Authority, Subject, write_leaf
from troth.core.clock import SystemClock
from troth.core.db import Database
from troth.core.errors import OutcomeUnknown, Unavailable
from troth.data.postgres import find_binaries
from troth.data.roles import APP, OWNER, SUPERUSER

_INSERT_THEN_LINGER = """
with written as (
    insert into troth.tenant (id, slug, name) values (gen_random_uuid(), $1, 'written slowly') returning 1
) select pg_sleep($2) from written
"""


@pytest.fixture(scope="module")
async def breakable() -> AsyncGenerator[Server]:
    """A server of its own for tests that pause or restart it."""
    with tempfile.TemporaryDirectory(prefix="troth-breakable-") as folder:
        server = Server(Path(folder), find_binaries(None))
        server.initialise()
        server.start()
        yield server
        server.resume()
        server.stop()


@contextlib.asynccontextmanager
async def opened(server: Server) -> AsyncGenerator[Database]:
    database = await Database.open(server.target(SUPERUSER, "postgres"), max_size=2)
    try:
        yield database
    finally:
        await database.close()


async def slow_tenants(owner: Database, slug: str) -> int:
    return await owner.fetchval("select count(*) from troth.tenant where slug = $1", slug)


async def test_the_app_connects_with_its_certificate_over_tls_1_3(database: Database) -> None:
    row = await database.fetchrow(
        "select current_user as role, ssl, version from pg_stat_ssl where pid = pg_backend_pid()"
    )
    assert row is not None
    assert (row["role"], row["ssl"], row["version"]) == ("troth_app", True, "TLSv1.3")


async def test_a_certificate_opens_the_role_it_names_and_no_other(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "DEADLINE_SECONDS", 0.3)
    claim = msgspec.structs.replace(postgres.target(APP), user=SUPERUSER)
    with pytest.raises(Unavailable) as refused:
        await Database.open(claim)
    assert "certificate authentication failed" in refused.value.detail


async def test_a_server_with_a_certificate_of_another_authority_is_not_trusted(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "DEADLINE_SECONDS", 0.3)
    stranger = Authority.open(tmp_path, "stranger", now=SystemClock().now())
    target = msgspec.structs.replace(postgres.target(APP), ca=stranger.certificate_file)
    with pytest.raises(Unavailable) as refused:
        await Database.open(target)
    assert "CERTIFICATE_VERIFY_FAILED" in refused.value.detail


async def test_a_server_under_an_address_its_certificate_does_not_name_is_not_trusted(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "DEADLINE_SECONDS", 0.3)
    target = postgres.target(APP)
    elsewhere = tuple(msgspec.structs.replace(host, host="localhost") for host in target.hosts)
    with pytest.raises(Unavailable) as refused:
        await Database.open(msgspec.structs.replace(target, hosts=elsewhere))
    assert "Hostname mismatch" in refused.value.detail


async def test_the_app_owns_nothing_and_makes_nothing(
    database: Database, superuser_database: Database
) -> None:
    owned = await superuser_database.fetchval(
        "select count(*) from pg_class where relowner = 'troth_app'::regrole"
    )
    assert owned == 0
    for statement in (
        "create table troth.mine (id int)",
        "create table public.mine (id int)",
        "create schema x",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.execute(statement)


async def test_a_fault_of_the_caller_is_told_as_it_is(database: Database) -> None:
    with pytest.raises(asyncpg.DataError):
        await database.fetchval("select $1::int", "no number")
    with pytest.raises(asyncpg.UndefinedTableError):
        await database.fetch("select * from troth.nothing")


async def test_a_transaction_is_kept_whole_or_not_at_all(owner_database: Database, tenant: Tenant) -> None:
    rename = "update troth.tenant set name = $2 where id = $1"
    name = "select name from troth.tenant where id = $1"
    async with owner_database.transaction() as inside:
        await inside.execute(rename, tenant.id, "kept")
    with pytest.raises(LookupError):
        async with owner_database.transaction() as inside:
            await inside.execute(rename, tenant.id, "dropped")
            raise LookupError
    assert await owner_database.fetchval(name, tenant.id) == "kept"


async def test_a_caller_that_goes_away_does_not_cancel_its_write(
    owner_database: Database, tenant: Tenant
) -> None:
    slug = f"{tenant.slug}-slow"
    write = asyncio.create_task(owner_database.fetchval(_INSERT_THEN_LINGER, slug, 0.3))
    await asyncio.sleep(0.1)
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    async with asyncio.timeout(30):
        while not await slow_tenants(owner_database, slug):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_write_whose_connection_is_lost_is_not_repeated(
    owner_database: Database, superuser_database: Database, tenant: Tenant
) -> None:
    slug = f"{tenant.slug}-lost"
    write = asyncio.create_task(owner_database.fetchval(_INSERT_THEN_LINGER, slug, 30, idempotent=False))
    await sever(superuser_database, slug)
    with pytest.raises(OutcomeUnknown):
        await write
    assert await slow_tenants(owner_database, slug) == 0


async def test_an_idempotent_call_is_repeated_when_its_connection_is_lost(
    owner_database: Database, superuser_database: Database, tenant: Tenant
) -> None:
    slug = f"{tenant.slug}-again"
    write = asyncio.create_task(owner_database.fetchval(_INSERT_THEN_LINGER, slug, 0.5, idempotent=True))
    await sever(superuser_database, slug)
    await write
    assert await slow_tenants(owner_database, slug) == 1


async def test_a_write_that_says_nothing_is_not_repeated(
    owner_database: Database, superuser_database: Database, tenant: Tenant
) -> None:
    slug = f"{tenant.slug}-silent"
    write = asyncio.create_task(owner_database.fetchval(_INSERT_THEN_LINGER, slug, 30))
    await sever(superuser_database, slug)
    with pytest.raises(OutcomeUnknown):
        await write
    assert await slow_tenants(owner_database, slug) == 0


async def test_a_function_with_side_effects_is_not_repeated_unless_its_caller_says_so(
    postgres: Server,
) -> None:
    async with losing(postgres.target(OWNER)) as database:
        beat = "select troth.beat($1)"
        with pytest.raises(OutcomeUnknown), database.lost_after("troth.beat"):
            await database.execute(beat, "nobody")
        with database.lost_after("troth.beat") as lost:
            await database.execute(beat, "nobody", idempotent=True)
        assert lost == [beat]


async def test_what_only_reads_is_repeated_without_saying_so(postgres: Server) -> None:
    async with losing(postgres.target(OWNER)) as database:
        with database.lost_after("troth.roles_of") as lost:
            assert len(await database.fetch("select * from troth.roles_of($1)", None)) >= 0
        assert len(lost) == 1


async def test_after_an_attempt_that_may_have_counted_nothing_is_denied(
    breakable: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call may be repeated, but no leader is left to repeat it on."""
    monkeypatch.setattr(db, "DEADLINE_SECONDS", 0.5)
    async with losing(breakable.target(SUPERUSER, "postgres")) as database:
        with pytest.raises(OutcomeUnknown), database.lost_after("pg_sleep", then=breakable.stop):
            await database.execute("select pg_sleep(0)", idempotent=True)
        breakable.start()


async def test_a_read_that_no_leader_is_left_for_changed_nothing(
    breakable: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with losing(breakable.target(SUPERUSER, "postgres")) as database:
        monkeypatch.setattr(db, "DEADLINE_SECONDS", 0.5)
        with pytest.raises(Unavailable) as told, database.lost_after("select 6", then=breakable.stop):
            await database.fetchval("select 6")
        assert not isinstance(told.value, OutcomeUnknown)
        breakable.start()


async def test_a_transaction_that_is_lost_before_its_commit_changed_nothing(
    owner_database: Database, superuser_database: Database, tenant: Tenant
) -> None:
    with pytest.raises(Unavailable) as told:
        async with owner_database.transaction() as inside:
            await inside.execute("update troth.tenant set name = 'dropped' where id = $1", tenant.id)
            await superuser_database.fetchval(
                "select pg_terminate_backend(pid) from pg_stat_activity where query like '%''dropped''%'"
                " and pid <> pg_backend_pid()"
            )
            await inside.fetchval("select 1")
    assert not isinstance(told.value, OutcomeUnknown)
    assert await slow_tenants(owner_database, tenant.slug) == 1


async def sever(superuser: Database, slug: str) -> None:
    """End the connection that is inserting `slug` right now."""
    async with asyncio.timeout(30):
        while not await superuser.fetchval(  # noqa: ASYNC110
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where query like '%written slowly%' and usename = 'troth_owner' and state = 'active'"
        ):
            await asyncio.sleep(0.01)


async def test_a_statement_that_takes_too_long_is_ended(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "STATEMENT_SECONDS", 1.0)
    async with opened(postgres) as database:
        with pytest.raises(Unavailable, match="too long"):
            await database.execute("select pg_sleep(20)")


async def test_more_callers_than_connections_wait_their_turn(postgres: Server) -> None:
    async with opened(postgres) as database:
        answers = await asyncio.gather(*(database.fetchval("select $1::int", n) for n in range(50)))
    assert answers == list(range(50))


async def test_a_restart_is_bridged_for_idempotent_calls(breakable: Server) -> None:
    async with opened(breakable) as database:
        assert await database.fetchval("select 1") == 1
        breakable.stop(signal.SIGQUIT)
        asking = [asyncio.create_task(database.fetchval("select 2")) for _ in range(10)]
        await asyncio.sleep(0.2)
        breakable.start()
        assert await asyncio.gather(*asking) == [2] * 10


async def test_without_a_leader_calls_fail_within_their_deadline(
    breakable: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(breakable) as database:
        monkeypatch.setattr(db, "DEADLINE_SECONDS", 0.5)
        breakable.stop(signal.SIGQUIT)
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await database.fetchval("select 1")
        assert time.monotonic() - started < 8
        breakable.start()
        monkeypatch.setattr(db, "DEADLINE_SECONDS", 10)
        assert await database.fetchval("select 3") == 3


async def test_a_leader_that_hangs_costs_a_call_its_deadline_and_no_more(
    breakable: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "DEADLINE_SECONDS", 1.5)
    monkeypatch.setattr(connection, "DRAIN_SECONDS", 0.2)
    async with opened(breakable) as database:
        await database.fetchval("select 1")
        breakable.pause()
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await database.fetchval("select 1")
        assert time.monotonic() - started < 8
        breakable.resume()
        assert await database.fetchval("select 4") == 4


async def test_a_renewed_certificate_is_used_without_a_restart(postgres: Server) -> None:
    clients = Authority.open(postgres.folder, "database_clients", now=SystemClock().now())
    target = postgres.target(SUPERUSER, "postgres")
    serial = "select client_serial::text from pg_stat_ssl where pid = pg_backend_pid()"
    async with opened(postgres) as database:
        before = await database.fetchval(serial)
        subject = Subject(common_name=SUPERUSER, usage="client")
        leaf = clients.issue(subject, now=SystemClock().now(), lifetime=timedelta(days=1))
        write_leaf(leaf, target.key.parent, SUPERUSER)
        async with asyncio.timeout(30):
            while await database.fetchval(serial) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def test_a_pool_to_a_superseded_leader_is_given_up_and_not_gone_back_to(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(postgres) as database:
        ours = database.leader
        assert ours is not None
        database.follow(ours)
        assert database.leader is ours
        database.follow(msgspec.structs.replace(ours, timeline=ours.timeline + 1))
        assert database.leader is None
        monkeypatch.setattr(db, "DEADLINE_SECONDS", 0.5)
        with pytest.raises(Unavailable) as told:
            await database.fetchval("select 1")
        assert "left behind" in told.value.detail
        monkeypatch.setattr(db, "SUPERSEDED_SECONDS", 0.0)
        monkeypatch.setattr(db, "DEADLINE_SECONDS", 10.0)
        assert await database.fetchval("select 1") == 1


async def test_a_closed_database_answers_no_more(postgres: Server) -> None:
    async with opened(postgres) as database:
        await database.close()
        with pytest.raises(Unavailable):
            await database.fetchval("select 1")
