"""Faults while backups are taken and the log is shipped: nothing acknowledged is lost, here or in the
store."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.replicas import Cluster
from support.rounds import in_many_rounds
from support.vaults import SLOT, Backups, running
from support.waiting import until_answered
from support.writers import Writers
from troth.core.db import Database
from troth.core.errors import TrothError
from troth.core.leader import SecureContext, connect
from troth.data.backups.manifest import WAL, history_object
from troth.data.backups.planning import plan_restore
from troth.data.backups.tool import RECEIVER
from troth.data.backups.wal import PAGE_BYTES, Segment
from troth.data.confirming import NOBODY
from troth.data.consensus import release_leadership
from troth.data.replicas import SCOPE
from troth.data.roles import OWNER, SUPERUSER
from troth.data.stores.folder import FolderStore

pytestmark = [pytest.mark.chaos, pytest.mark.asyncio]


@pytest_asyncio.fixture
async def backups(tmp_path: Path) -> AsyncIterator[Backups]:
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster", slots=(SLOT,))
    store = await FolderStore.open(tmp_path / "store")
    try:
        await cluster.start()
        await cluster.prepare()
        await cluster.complete()
        async with running(cluster, store, tmp_path / "spool") as backups:
            yield backups
    finally:
        await cluster.stop()


async def no_gap(backups: Backups) -> None:
    """The newest backup and the log behind it lead to everything that was written."""
    written = await backups.caught_up()
    catalogue = (await backups.vault.inventory()).catalogue
    plan = plan_restore(catalogue, await backups.vault.list(WAL), None)
    assert not plan.log.lost
    end = plan.log.files[-1]
    reached = max((piece.end for piece in end.pieces), default=end.segment.end - end.segment.start)
    # A record that ends in zeros is stored without them: behind the last piece there are zeros.
    assert end.segment.start + reached > written - PAGE_BYTES


@in_many_rounds
async def test_a_leader_that_is_killed_during_a_backup_loses_nothing_and_the_log_follows_the_next_one(
    backups: Backups,
) -> None:
    cluster = backups.cluster
    owner = await Database.open(cluster.target(OWNER), max_size=8)
    await owner.execute("create table troth.note (id bigint primary key)")
    writers = Writers(owner)
    try:
        await backups.take()
        leader = await cluster.leader()

        async def fault() -> None:
            backup = asyncio.create_task(backups.take())
            shipping = asyncio.create_task(backups.shipped(1 << 62))
            await asyncio.sleep(0.5)
            cluster.kill_member(leader)
            client = cluster.replicas.consensus_client
            await release_leadership(cluster.consensus, client, scope=SCOPE, member=leader.name)
            (outcome,) = await asyncio.gather(backup, return_exceptions=True)
            assert not isinstance(outcome, BaseException) or isinstance(outcome, TrothError | TimeoutError)
            shipping.cancel()
            await asyncio.gather(shipping, return_exceptions=True)

        await writers.during(fault(), after=5)
        cluster.start_member(leader)
        assert writers.acknowledged
        assert await writers.lost() == set()
        await backups.caught_up()
        names = {entry.name for entry in await backups.vault.list(WAL)}
        assert history_object(2) in names
        assert {segment.timeline for name in names if (segment := _segment(name))} == {1, 2}
        await no_gap(backups)
        backup = await backups.take()
        assert backup.timeline == 2
        await no_gap(backups)
    finally:
        await owner.close()


@in_many_rounds
async def test_what_only_the_lost_leader_had_does_not_hold_the_receiver_up(backups: Backups) -> None:
    cluster = backups.cluster
    owner = await Database.open(cluster.target(OWNER), max_size=2)
    await owner.execute("create table troth.note (id bigint primary key)")
    try:
        await backups.take()
        leader = await cluster.leader()
        others = [one for one in cluster.replicas.members if one.name != leader.name]
        for one in others:
            cluster.freeze(one)
        # Nobody acknowledges these, so they are in the leader's log and in the receiver's hands alone.
        stuck = asyncio.create_task(owner.execute("insert into troth.note select generate_series(1, 99999)"))
        await asyncio.sleep(2)
        await backups.shipper.round()
        cluster.kill_member(leader)
        for one in others:
            cluster.thaw(one)
        client = cluster.replicas.consensus_client
        await release_leadership(cluster.consensus, client, scope=SCOPE, member=leader.name)
        await asyncio.gather(stuck, return_exceptions=True)
        cluster.start_member(leader)
        await cluster.leader()
        await owner.execute("insert into troth.note values (-1)")
        await backups.caught_up()
        await no_gap(backups)
    finally:
        await owner.close()


_RECEIVED = """
select flush_lsn >= $1::text::pg_lsn from pg_stat_replication where application_name = $2
"""

_WAITS = "select true from pg_stat_activity where wait_event = 'SyncRep'"


async def test_a_write_that_the_receiver_has_and_no_member_is_not_acknowledged(backups: Backups) -> None:
    cluster = backups.cluster
    leader = await cluster.leader()
    others = [one for one in cluster.replicas.members if one.name != leader.name]
    target = cluster.target(SUPERUSER)
    context = SecureContext.of(target)
    writer = await connect(target, leader.postgres, context)
    looker = await connect(target, leader.postgres, context)

    async def answers(query: str, *args: object) -> bool:
        return bool(await looker.fetchval(query, *args))

    async def received() -> None:
        """What is written by now is on the receiver's disk, and it has said so."""
        written = await looker.fetchval("select pg_logical_emit_message(false, 'alone', 'more')::text")
        await looker.fetchval("select pg_switch_wal()")
        await until_answered(lambda: answers(_RECEIVED, written, RECEIVER), 60.0)

    try:
        await writer.execute("create table public.alone (id int)")
        for one in others:
            cluster.kill_member(one)
        await until_answered(
            lambda: answers("select current_setting('synchronous_standby_names') = $1", f"ANY 1 ({NOBODY})"),
            60.0,
        )
        waiting = asyncio.create_task(writer.execute("insert into public.alone values (1)"))
        await until_answered(
            lambda: answers("select true from pg_stat_activity where wait_event = 'SyncRep'")
        )
        await received()
        await received()  # had the first sufficed, the write would be acknowledged by now
        assert not waiting.done()
        cluster.start_member(others[0])
        assert await asyncio.wait_for(waiting, 120) == "INSERT 0 1"
    finally:
        writer.terminate()
        looker.terminate()


def _segment(name: str) -> Segment | None:
    return Segment.read(name.removeprefix(WAL).partition(".")[0])
