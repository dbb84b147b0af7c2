"""A leader that another one has superseded and nobody has told: it answers as before, and is not asked."""

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec
import pytest

from support.access import Access, House, furnish
from support.postgres import Server
from support.rounds import in_many_rounds
from support.waiting import until_answered
from troth.access.endings import Feed
from troth.access.errors import NoSession
from troth.access.living import LivingSessions
from troth.access.sessions import Sessions
from troth.core.db import Database
from troth.core.leader import SecureContext, connect
from troth.core.migrations import migrate
from troth.data.postgres import find_binaries
from troth.data.roles import APP, AUDITOR, OWNER, SUPERUSER, bootstrap


@in_many_rounds
@pytest.mark.chaos
async def test_a_session_that_ended_on_the_new_leader_is_over_though_the_old_one_still_opens_it(
    tmp_path: Path,
) -> None:
    old = Server(tmp_path / "old", find_binaries(None), durable=True)
    old.initialise()
    old.start()
    try:
        await ask(old, "select 1")
        await bootstrap(old.target(SUPERUSER, "postgres"))
        await migrate(old.target(OWNER))
        async with living_in(old) as house:
            token = (await house.begin()).token
        old.stop()
        new = twin_of(old, tmp_path / "new")
        old.start()
        try:
            await superseded(old, new, house, token)
        finally:
            new.stop()
    finally:
        old.stop()


async def superseded(old: Server, new: Server, house: House, token: str) -> None:
    both = msgspec.structs.replace(old.target(APP), hosts=(old.endpoint, new.endpoint))
    instance = await Database.open(both)
    feed = Feed(both, instance.follow)
    memory = LivingSessions(instance, feed, house.access.clock)
    sessions = Sessions(instance, house.access.sealer, memory=memory)
    try:
        async with feed.listening():
            assert await feed.until_lively(10)
            assert await sessions.open(house.domain, token)
            # Another member leads on the next timeline, and the old one has no standby left that confirms.
            new.start()
            await ask(new, "select pg_promote()")
            async with living_in(new, house) as there:
                await there.access.sessions.end(house.domain, token)
            await ask(old, "alter system set synchronous_standby_names = 'nobody'")
            await ask(old, "select pg_reload_conf()")
            await until_answered(lambda: is_over(sessions, house, token), 30)
            assert instance.leader is not None
            assert instance.leader.endpoint == new.endpoint
    finally:
        await instance.close()
    async with living_in(old, house) as there:
        assert await there.access.sessions.open(house.domain, token), "the old one never learned of it"


async def is_over(sessions: Sessions, house: House, token: str) -> bool:
    try:
        await sessions.open(house.domain, token)
    except NoSession:
        return True
    return False


def twin_of(server: Server, folder: Path) -> Server:
    """A standby that has everything the server had when it stopped."""
    shutil.copytree(server.folder, folder, symlinks=True)
    twin = Server(folder, server.binaries, durable=True)
    with (folder / "data" / "postgresql.conf").open("a") as file:
        file.write(f"port = {twin.endpoint.port}\n")
    (folder / "data" / "standby.signal").touch()
    return twin


async def ask(server: Server, statement: str) -> None:
    """A statement of the superuser's, of a standby too, once it answers."""
    target = server.target(SUPERUSER, "postgres")
    async with asyncio.timeout(30):
        while True:
            try:
                connection = await connect(target, server.endpoint, SecureContext.of(target))
                break
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.1)
    await connection.execute(statement)
    await connection.close()


@asynccontextmanager
async def living_in(server: Server, house: House | None = None) -> AsyncGenerator[House]:
    """A house, or this one, over one server alone."""
    opened = [await Database.open(server.target(role), max_size=2) for role in (APP, OWNER, AUDITOR)]
    try:
        if house is None:
            yield await furnish(Access(*opened))
        else:
            access = Access(*opened, clock=house.access.clock)
            yield msgspec.structs.replace(house, access=access)
    finally:
        for one in opened:
            await one.close()
