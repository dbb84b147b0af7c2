"""The replica set: as described, and for real with three members on loopback."""

import asyncio
import os
import ssl
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest

from support.replicas import Cluster
from support.writers import Writers
from troth.core.db import Database
from troth.core.errors import PlatformError
from troth.core.leader import client_context
from troth.core.process import Endpoint
from troth.data.consensus import consensus_process
from troth.data.patroni import Command, is_ready, read_cluster
from troth.data.replicas import (
    ReplicaSet,
    clear_stale_pid,
    member_process,
    member_settings,
    shared_settings,
)
from troth.data.roles import APP, OWNER, SUPERUSER

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


def test_on_several_hosts_each_role_comes_from_its_networks_alone(described: ReplicaSet) -> None:
    several = msgspec.structs.replace(
        described, clients=("10.1.0.0/24",), places=("10.0.0.1/32", "10.0.0.2/32")
    )
    settings = member_settings(several, several.members[0])
    rules: list[str] = msgspec.convert(settings["postgresql"], dict[str, Any])["pg_hba"]
    assert all(rule.startswith("hostssl ") and rule.endswith("cert clientcert=verify-full") for rule in rules)
    assert [rule.split()[1:4] for rule in rules] == [
        ["postgres,troth,template1", "postgres", "10.0.0.1/32"],
        ["postgres,troth,template1", "postgres", "10.0.0.2/32"],
        ["troth", "troth_owner,troth_app,troth_auditor,replicator", "10.1.0.0/24"],
        ["replication", "replicator", "10.1.0.0/24"],
        ["replication", "replicator", "10.0.0.1/32"],
        ["replication", "replicator", "10.0.0.2/32"],
    ]


def test_every_node_of_the_store_is_asked(described: ReplicaSet) -> None:
    nodes = (Endpoint("10.0.0.1", 2379), Endpoint("10.0.0.2", 2379))
    settings = member_settings(msgspec.structs.replace(described, consensus=nodes), described.members[0])
    assert msgspec.convert(settings["etcd3"], dict[str, Any])["hosts"] == ["10.0.0.1:2379", "10.0.0.2:2379"]


def test_a_node_of_several_knows_where_its_peers_are(tmp_path: Path) -> None:
    peers = {"db-1": Endpoint("10.0.0.1", 2380), "db-2": Endpoint("10.0.0.2", 2380)}
    node = msgspec.structs.replace(Cluster(tmp_path).consensus, node="db-1", cluster=peers)
    argv = consensus_process(node).argv
    assert "--name=db-1" in argv
    assert "--initial-cluster=db-1=https://10.0.0.1:2380,db-2=https://10.0.0.2:2380" in argv


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


async def test_settings_are_offered_again_to_a_leader_that_has_none_yet(
    described: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = [httpx.Response(503), None, httpx.Response(503)]
    asked: list[tuple[Any, ...]] = []

    async def answer(*call: Any, **_: Any) -> httpx.Response | None:
        asked.append(call[1:])
        return early.pop(0) if early else httpx.Response(200)

    monkeypatch.setattr(Command, "_send", answer)
    command = Command(described)
    await command.apply_settings()
    assert len(asked) > 3
    assert {call[1:3] for call in asked} == {("PATCH", "config")}
    await command.close()


async def test_settings_that_nobody_takes_end_in_an_error(described: ReplicaSet) -> None:
    command = Command(described)
    with pytest.raises(PlatformError, match="did not take their settings"):
        await command.apply_settings(seconds=0.3)
    await command.close()


# --- for real ------------------------------------------------------------------------------------------


async def test_three_members_replicate_synchronously(cluster: Cluster) -> None:
    members = await cluster.complete()
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
    cluster: Cluster, writers: Writers
) -> None:
    before = await cluster.leader()

    async def kill() -> None:
        cluster.kill_postgres(before)

    await writers.during(kill(), after=5)
    assert writers.acknowledged
    assert await writers.lost() == set()
