"""A power cut after which the leader's disk has lost the end of its log, on a platform of its own."""

import asyncio

import pytest

from support.damage import tear
from support.platform import Troth, ended, state_folder
from support.rounds import in_many_rounds
from support.waiting import until
from troth.core.db import Database
from troth.data.postgres import find_binaries
from troth.data.roles import SUPERUSER
from troth.hosting import processes

ROWS = 200


@pytest.mark.chaos
@pytest.mark.timeout(900)
@in_many_rounds
async def test_a_leader_whose_log_was_torn_does_not_lead_again_and_every_write_is_there() -> None:
    with state_folder() as root:
        platform = Troth(root, members=3)
        with ended(platform):
            await _up(platform)
            leader = await platform.leader()
            await _write(platform)
            await asyncio.to_thread(processes.end, platform.living())
            await until(lambda: not platform.living(), 30.0)
            others = [one / "data" for one in (root / "members").iterdir() if one.name != leader]
            tear(find_binaries(None), root / "members" / leader / "data", 3000, others)
            await _up(platform)
            said = (platform.state.logs / "keeper.log").read_text()
            assert f"the log of {leader} ends before that of a standby" in said
            assert await platform.leader() != leader
            assert await _count(platform) == ROWS
            await platform.whole(seconds=300)
            assert [one.name for one in (root / "members" / leader).iterdir() if one.is_dir()] == ["data"]


async def _up(platform: Troth) -> None:
    done = await asyncio.to_thread(platform.up, "--detach")
    assert done.status == 0, done.output + done.errors
    await platform.whole(seconds=300)


async def _write(platform: Troth) -> None:
    database = await Database.open(platform.database(SUPERUSER), max_size=1)
    await database.execute("create table troth.torn (id bigint primary key)")
    for number in range(ROWS):
        await database.execute("insert into troth.torn values ($1)", number, idempotent=False)
    await database.close()


async def _count(platform: Troth) -> int:
    database = await Database.open(platform.database(SUPERUSER), max_size=1)
    try:
        return await database.fetchval("select count(*) from troth.torn")
    finally:
        await database.close()
