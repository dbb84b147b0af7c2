"""Faults at a replica set under load: nothing acknowledged is lost, and writes go on soon."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from support.replicas import Cluster
from support.rounds import in_many_rounds
from support.writers import Writers
from troth.core.db import Database, DatabaseTarget
from troth.core.leader import client_context
from troth.data.consensus import release_leadership
from troth.data.replicas import (
    SCOPE,
    Member,
)
from troth.data.roles import OWNER


async def is_lossless(
    cluster: Cluster, writers: Writers, fault: Callable[[Member], Awaitable[object]], after: float
) -> None:
    await writers.during(fault(await cluster.leader()), after=after)
    await cluster.leader()
    assert writers.acknowledged
    assert await writers.lost() == set()


@pytest.mark.chaos
async def test_a_killed_leader_whose_lead_is_released_is_replaced_at_once(
    cluster: Cluster, writers: Writers
) -> None:
    async def kill_and_release(leader: Member) -> None:
        cluster.kill_member(leader)
        assert await release_leadership(
            cluster.consensus, cluster.replicas.consensus_client, scope=SCOPE, member=leader.name
        )
        await asyncio.sleep(3)
        cluster.start_member(leader)

    await is_lossless(cluster, writers, kill_and_release, 5)
    assert writers.longest_pause < 15  # and not the lease of 20 s


@in_many_rounds
@pytest.mark.chaos
async def test_a_killed_leader_is_replaced_when_its_lease_ends(cluster: Cluster, writers: Writers) -> None:
    killed: list[Member] = []

    async def kill(leader: Member) -> None:
        cluster.kill_member(leader)
        killed.append(leader)

    await is_lossless(cluster, writers, kill, 26)
    cluster.start_member(killed[0])
    assert writers.longest_pause < 60


@in_many_rounds
@pytest.mark.chaos
async def test_a_leader_that_hangs_and_comes_back_is_not_believed(cluster: Cluster, writers: Writers) -> None:
    """PostgreSQL and Patroni both stop, as on a machine that freezes, and wake up after another one leads."""

    async def freeze(leader: Member) -> None:
        cluster.freeze(leader)
        await asyncio.sleep(27)
        cluster.thaw(leader)

    await is_lossless(cluster, writers, freeze, 5)
    assert writers.longest_pause < 60


@in_many_rounds
@pytest.mark.chaos
async def test_writes_go_on_while_the_consensus_store_is_away(cluster: Cluster, writers: Writers) -> None:
    async def take_away(_: Member) -> None:
        await cluster.stop_consensus()
        await asyncio.sleep(30)
        cluster.start_consensus()

    await is_lossless(cluster, writers, take_away, 5)
    assert writers.longest_pause < 10


@in_many_rounds
@pytest.mark.chaos
async def test_a_standby_that_hangs_delays_no_write(cluster: Cluster, writers: Writers) -> None:
    async def freeze_one(leader: Member) -> None:
        standby = next(member for member in cluster.replicas.members if member != leader)
        cluster.freeze(standby)
        await asyncio.sleep(8)
        cluster.thaw(standby)

    await is_lossless(cluster, writers, freeze_one, 5)
    assert writers.longest_pause < 10


@in_many_rounds
@pytest.mark.chaos
async def test_the_lead_is_handed_over_on_request(cluster: Cluster, writers: Writers) -> None:
    await is_lossless(cluster, writers, cluster.switch_over, 5)
    assert writers.longest_pause < 20


@pytest.mark.chaos
async def test_everything_killed_at_once_comes_back_with_every_acknowledged_write(
    cluster: Cluster, writers: Writers
) -> None:
    await writers.during(cluster.stop(signal.SIGKILL), after=0)
    cluster.describe()
    await cluster.start()
    again = await Database.open(cluster.target(OWNER), max_size=1)
    kept = {row["id"] for row in await again.fetch("select id from troth.note")}
    await again.close()
    assert writers.acknowledged
    assert writers.acknowledged <= kept


@in_many_rounds
@pytest.mark.chaos
async def test_renewed_certificates_are_served_without_a_restart(cluster: Cluster, writers: Writers) -> None:
    async def renew(_: Member) -> None:
        cluster.renew()
        for member in cluster.replicas.members:
            await cluster.command.reload(member)

    before = [await serials(member, cluster) for member in cluster.replicas.members]
    await is_lossless(cluster, writers, renew, 4)
    after = [await serials(member, cluster) for member in cluster.replicas.members]
    assert all(old != new for old, new in zip(sum(before, ()), sum(after, ()), strict=True))
    assert writers.longest_pause < 8


async def serials(member: Member, cluster: Cluster) -> tuple[str, ...]:
    """Serial numbers of the certificates that PostgreSQL and Patroni show."""
    return await served_by_postgres(cluster.target(OWNER), member), await served_by_rest(member, cluster)


async def served_by_postgres(target: DatabaseTarget, member: Member) -> str:
    context = client_context(target.ca, target.certificate, target.key)
    reader, writer = await asyncio.open_connection(member.postgres.host, member.postgres.port)
    writer.write((8).to_bytes(4) + (80877103).to_bytes(4))  # SSLRequest
    assert await reader.readexactly(1) == b"S"
    await writer.start_tls(context, server_hostname=member.postgres.host)
    serial = str(writer.get_extra_info("peercert")["serialNumber"])
    writer.close()
    return serial


async def served_by_rest(member: Member, cluster: Cluster) -> str:
    leaf = cluster.replicas.consensus_client
    context = client_context(cluster.replicas.server_authority, leaf.certificate, leaf.key)
    _, writer = await asyncio.open_connection(
        member.rest.host, member.rest.port, ssl=context, server_hostname=member.rest.host
    )
    serial = str(writer.get_extra_info("peercert")["serialNumber"])
    writer.close()
    return serial


@in_many_rounds
@pytest.mark.chaos
async def test_one_member_alone_takes_writes(tmp_path: Path) -> None:
    single = Cluster(tmp_path, members=1)
    try:
        await single.start()
        await single.prepare()
        await single.complete(20)
    finally:
        await single.stop()
