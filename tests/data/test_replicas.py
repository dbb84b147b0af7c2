"""The replica set: as described, and for real with three members on loopback."""

import asyncio
import itertools
import os
import signal
import ssl
import subprocess
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import asyncpg
import httpx
import msgspec
import pytest

from support.replicas import Cluster
from troth.core.db import Database, DatabaseTarget
from troth.core.errors import PlatformError, Unavailable
from troth.core.leader import client_context
from troth.core.process import Endpoint
from troth.data.consensus import release_leadership
from troth.data.patroni import Command, is_ready, read_cluster
from troth.data.replicas import (
    SCOPE,
    Member,
    ReplicaSet,
    clear_stale_pid,
    member_process,
    member_settings,
    postmaster_pid,
    shared_settings,
)
from troth.data.roles import APP, OWNER, SUPERUSER


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Cluster]:
    """Three members with roles, schema and a table to write to."""
    running = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        await running.start()
        await running.prepare()
        owner = await Database.open(running.target(OWNER), max_size=1)
        await owner.execute("create table troth.note (id bigint primary key)")
        await owner.close()
        yield running
    finally:
        await running.stop()


class Load:
    """Writers that never repeat a write, and remember which ones were acknowledged."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers = itertools.count(time.time_ns())
        self.acknowledged: set[int] = set()
        self.longest_pause = 0.0

    async def during(self, fault: Awaitable[object], *, after: float) -> None:
        """Write for a second, let the fault happen, and go on for `after` seconds."""
        writers = [asyncio.create_task(self._write()) for _ in range(4)]
        watch = asyncio.create_task(self._watch())
        await asyncio.sleep(1)
        await fault
        await asyncio.sleep(after)
        for task in (*writers, watch):
            task.cancel()
        await asyncio.gather(*writers, watch, return_exceptions=True)

    async def lost(self) -> set[int]:
        """Acknowledged writes that are not in the database."""
        rows = await self._database.fetch("select id from troth.note")
        return self.acknowledged - {row["id"] for row in rows}

    async def _write(self) -> None:
        for number in self._numbers:
            try:
                await self._database.execute("insert into troth.note values ($1)", number, idempotent=False)
            except Unavailable:
                continue
            self.acknowledged.add(number)

    async def _watch(self) -> None:
        last, since = len(self.acknowledged), time.monotonic()
        while True:
            await asyncio.sleep(0.02)
            if len(self.acknowledged) != last:
                last, since = len(self.acknowledged), time.monotonic()
            self.longest_pause = max(self.longest_pause, time.monotonic() - since)


@pytest.fixture
async def load(cluster: Cluster) -> AsyncGenerator[Load]:
    await cluster.command.wait_until_complete(seconds=60)
    database = await Database.open(cluster.target(OWNER), max_size=4)
    yield Load(database)
    await database.close()


# --- described -----------------------------------------------------------------------------------------


@pytest.fixture
def described(tmp_path: Path) -> ReplicaSet:
    return Cluster(tmp_path).replicas


def alone(replicas: ReplicaSet) -> ReplicaSet:
    return msgspec.structs.replace(replicas, members=replicas.members[:1])


def test_a_write_waits_for_a_quorum_unless_there_is_nobody_to_wait_for(described: ReplicaSet) -> None:
    three, one = shared_settings(described), shared_settings(alone(described))
    assert (three["synchronous_mode"], three["synchronous_mode_strict"]) == ("quorum", True)
    assert (one["synchronous_mode"], one["synchronous_mode_strict"]) == ("off", False)


def test_no_password_stands_in_any_configuration_or_command_line(described: ReplicaSet) -> None:
    member = described.members[0]
    process = member_process(described, member)
    text = msgspec.json.encode([member_settings(described, member), process.argv, process.environment])
    for word in (b'"password"', b"PGPASSWORD", b"PRIVATE KEY", b"trust", b"md5"):
        assert word not in text


def test_configuration_is_readable_by_its_owner_alone(described: ReplicaSet) -> None:
    files = list(described.run.glob("*.patroni.json"))
    assert len(files) == 3
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_every_rule_of_admission_asks_for_tls_and_a_certificate(described: ReplicaSet) -> None:
    settings = msgspec.to_builtins(member_settings(described, described.members[0]))
    rules = settings["postgresql"]["pg_hba"]
    assert all(rule.startswith("hostssl ") and "cert clientcert=verify-full" in rule for rule in rules)
    assert not any(" all " in rule for rule in rules)


def test_a_pid_file_that_outlived_its_server_is_removed(tmp_path: Path) -> None:
    data = tmp_path / "database-a" / "data"
    data.mkdir(parents=True)
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n")
    assert clear_stale_pid(tmp_path) == ("database-a",)
    assert not (data / "postmaster.pid").exists()


def test_the_pid_file_of_a_living_server_stays(tmp_path: Path) -> None:
    data = tmp_path / "database-a" / "data"
    data.mkdir(parents=True)
    with subprocess.Popen(["sleep", "30"], cwd=data) as living:
        (data / "postmaster.pid").write_text(f"{living.pid}\n")
        with pytest.raises(PlatformError, match="still runs"):
            clear_stale_pid(tmp_path)
        living.kill()
    assert (data / "postmaster.pid").exists()


def test_a_pid_that_now_belongs_to_another_process_is_no_postmaster(described: ReplicaSet) -> None:
    member = described.members[0]
    member.data.mkdir(parents=True)
    (member.data / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert postmaster_pid(member) is None


def test_what_the_store_remembers_of_an_earlier_start_does_not_count(described: ReplicaSet) -> None:
    members = [
        {"name": member.name, "role": role, "state": "running", "port": member.postgres.port}
        for member, role in zip(described.members, ("leader", "quorum_standby", "replica"), strict=True)
    ]
    assert is_ready(described)(read_cluster({"members": members}, described))
    members[0]["port"] = 1
    assert not is_ready(described)(read_cluster({"members": members}, described))
    assert read_cluster(["nonsense"], described) == ()


async def test_members_that_are_down_are_told_so(described: ReplicaSet) -> None:
    command = Command(described)
    with pytest.raises(PlatformError, match="No database member answers"):
        await command.status()
    with pytest.raises(PlatformError, match="no member answers"):
        await command.wait_until_ready(seconds=0.3)
    await command.close()


# --- for real ------------------------------------------------------------------------------------------


async def test_three_members_replicate_synchronously(cluster: Cluster) -> None:
    members = await cluster.command.wait_until_complete(seconds=60)
    assert sorted(member.role for member in members) == ["leader", "quorum_standby", "quorum_standby"]
    superuser = await Database.open(cluster.target(SUPERUSER, "postgres"), max_size=1)
    rule = await superuser.fetchval("show synchronous_standby_names")
    settings = await superuser.fetchrow(
        "select current_setting('synchronous_commit') as waits, current_setting('fsync') as synced, "
        "current_setting('data_checksums') as checked, current_setting('full_page_writes') as whole"
    )
    await superuser.close()
    assert rule.startswith("ANY 1 ")
    assert settings is not None
    assert set(settings.values()) == {"on"}


async def test_no_port_opens_to_plain_text_or_without_a_certificate(cluster: Cluster) -> None:
    for member in cluster.replicas.members:
        await postgres_refuses(member.postgres, cluster)
        await http_refuses(member.rest, cluster.replicas.server_authority)
    await http_refuses(cluster.consensus.client, cluster.replicas.consensus_authority)
    await http_refuses(cluster.consensus.peer, cluster.replicas.consensus_authority)


async def postgres_refuses(endpoint: Endpoint, cluster: Cluster) -> None:
    anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anonymous.load_verify_locations(cluster.replicas.server_authority)
    for context in (False, anonymous):
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            await asyncpg.connect(
                host=endpoint.host, port=endpoint.port, user=SUPERUSER, database="postgres", ssl=context
            )


async def http_refuses(endpoint: Endpoint, authority: Path) -> None:
    anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anonymous.load_verify_locations(authority)
    await https_refuses(endpoint, anonymous)
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    writer.write(b"GET /config HTTP/1.0\r\n\r\n")
    try:
        answer = await reader.read(1000)
    except ConnectionResetError:
        answer = b""
    writer.close()
    assert answer == b"" or answer.startswith(b"HTTP/1.0 400")


async def https_refuses(endpoint: Endpoint, context: ssl.SSLContext) -> None:
    async with httpx.AsyncClient(verify=context, trust_env=False) as client:
        with pytest.raises((httpx.TransportError, ssl.SSLError)):
            await client.get(f"https://{endpoint}/config")


async def test_an_applications_certificate_does_not_command_a_member(cluster: Cluster) -> None:
    """Patroni's REST interface can replace the configuration, and with it run programs."""
    target = cluster.target(APP)
    context = client_context(target.ca, target.certificate, target.key)
    for member in cluster.replicas.members:
        await https_refuses(member.rest, context)


async def test_an_applications_certificate_opens_its_own_database_alone(cluster: Cluster) -> None:
    target = cluster.target(APP)
    context = client_context(target.ca, target.certificate, target.key)
    leader = await cluster.leader()
    for user, database in ((SUPERUSER, "postgres"), (OWNER, "troth"), (APP, "postgres"), (APP, "template1")):
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            await asyncpg.connect(
                host=leader.postgres.host,
                port=leader.postgres.port,
                user=user,
                database=database,
                ssl=context,
            )


async def test_a_leader_whose_postgres_is_killed_loses_no_acknowledged_write(
    cluster: Cluster, load: Load
) -> None:
    before = await cluster.leader()

    async def kill() -> None:
        cluster.kill_postgres(before)

    await load.during(kill(), after=5)
    assert (await cluster.leader()).name != before.name
    assert load.acknowledged
    assert await load.lost() == set()
    assert load.longest_pause < 10


# --- chaos ---------------------------------------------------------------------------------------------


async def is_lossless(
    cluster: Cluster, load: Load, fault: Callable[[Member], Awaitable[object]], after: float
) -> None:
    await load.during(fault(await cluster.leader()), after=after)
    await cluster.leader()
    assert load.acknowledged
    assert await load.lost() == set()


@pytest.mark.chaos
async def test_a_killed_leader_whose_lead_is_released_is_replaced_at_once(
    cluster: Cluster, load: Load
) -> None:
    async def kill_and_release(leader: Member) -> None:
        cluster.kill_member(leader)
        assert await release_leadership(
            cluster.consensus, cluster.replicas.consensus_client, scope=SCOPE, member=leader.name
        )
        await asyncio.sleep(3)
        cluster.start_member(leader)

    await is_lossless(cluster, load, kill_and_release, 5)
    assert load.longest_pause < 5


@pytest.mark.chaos
async def test_a_killed_leader_is_replaced_when_its_lease_ends(cluster: Cluster, load: Load) -> None:
    killed: list[Member] = []

    async def kill(leader: Member) -> None:
        cluster.kill_member(leader)
        killed.append(leader)

    await is_lossless(cluster, load, kill, 26)
    cluster.start_member(killed[0])
    assert load.longest_pause < 26


@pytest.mark.chaos
async def test_a_leader_that_hangs_and_comes_back_is_not_believed(cluster: Cluster, load: Load) -> None:
    """PostgreSQL and Patroni both stop, as on a machine that freezes, and wake up after another one leads."""

    async def freeze(leader: Member) -> None:
        cluster.freeze(leader)
        await asyncio.sleep(27)
        cluster.thaw(leader)

    await is_lossless(cluster, load, freeze, 5)
    assert load.longest_pause < 30


@pytest.mark.chaos
async def test_writes_go_on_while_the_consensus_store_is_away(cluster: Cluster, load: Load) -> None:
    async def take_away(_: Member) -> None:
        await cluster.stop_consensus()
        await asyncio.sleep(30)
        cluster.start_consensus()

    await is_lossless(cluster, load, take_away, 5)
    assert load.longest_pause < 2


@pytest.mark.chaos
async def test_a_standby_that_hangs_delays_no_write(cluster: Cluster, load: Load) -> None:
    async def freeze_one(leader: Member) -> None:
        standby = next(member for member in cluster.replicas.members if member != leader)
        cluster.freeze(standby)
        await asyncio.sleep(8)
        cluster.thaw(standby)

    await is_lossless(cluster, load, freeze_one, 5)
    assert load.longest_pause < 2


@pytest.mark.chaos
async def test_the_lead_is_handed_over_on_request(cluster: Cluster, load: Load) -> None:
    await is_lossless(cluster, load, lambda leader: cluster.command.switch_over(leader=leader.name), 5)
    assert load.longest_pause < 8


@pytest.mark.chaos
async def test_everything_killed_at_once_comes_back_with_every_acknowledged_write(
    cluster: Cluster, load: Load
) -> None:
    await load.during(cluster.stop(signal.SIGKILL), after=0)
    cluster.describe()
    await cluster.start()
    again = await Database.open(cluster.target(OWNER), max_size=1)
    kept = {row["id"] for row in await again.fetch("select id from troth.note")}
    await again.close()
    assert load.acknowledged
    assert load.acknowledged <= kept


@pytest.mark.chaos
async def test_renewed_certificates_are_served_without_a_restart(cluster: Cluster, load: Load) -> None:
    async def renew(_: Member) -> None:
        cluster.renew()
        for member in cluster.replicas.members:
            await cluster.command.reload(member)

    before = [await serials(member, cluster) for member in cluster.replicas.members]
    await is_lossless(cluster, load, renew, 4)
    after = [await serials(member, cluster) for member in cluster.replicas.members]
    assert all(old != new for old, new in zip(sum(before, ()), sum(after, ()), strict=True))
    assert load.longest_pause < 1


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


@pytest.mark.chaos
async def test_one_member_alone_takes_writes(tmp_path: Path) -> None:
    single = Cluster(tmp_path, members=1)
    try:
        await single.start()
        await single.prepare()
        await single.command.wait_until_complete(seconds=20)
    finally:
        await single.stop()
