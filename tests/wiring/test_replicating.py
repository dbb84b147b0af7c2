"""Whether an external PostgreSQL lets backups be taken: what it is told where it does not."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.backups import OwnServer
from support.postgres import Server
from troth.core.ca import LeafFiles
from troth.core.db import Database
from troth.core.errors import PlatformError
from troth.core.leader import DatabaseTarget, SecureContext, connect
from troth.core.state import State, open_state
from troth.data.backups.slot import make_slot
from troth.data.backups.tool import SLOT
from troth.data.external import role_faults
from troth.data.patroni import MemberStatus
from troth.data.postgres import find_binaries
from troth.data.replicas import Member, ReplicaSet
from troth.data.roles import OWNER, REPLICATOR, SUPERUSER, bootstrap, preparation
from troth.wiring.replicating import check_replication


class One:
    """One server as backups are given a set."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def replicas(self) -> ReplicaSet:
        folder, target = self._server.folder, self.target(REPLICATOR)
        leaf = LeafFiles(target.certificate, target.key)
        member = Member(
            name="one",
            postgres=self._server.endpoint,
            rest=self._server.endpoint,
            folder=folder,
            server=leaf,
        )
        return ReplicaSet(
            members=(member,),
            binaries=self._server.binaries,
            server_authority=target.ca,
            client_authority=target.ca,
            consensus_authority=target.ca,
            superuser=leaf,
            replicator=leaf,
            consensus_client=leaf,
            consensus=(),
            run=folder,
            logs=folder,
        )

    def target(self, role: str) -> DatabaseTarget:
        return self._server.target(role)

    async def report(self) -> tuple[MemberStatus, ...]:
        return (MemberStatus(name="one", role="leader", state="running"),)


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Server]:
    """A server that lets the replicator replicate, and has room for one slot."""
    own = OwnServer(Server(tmp_path_factory.mktemp("theirs"), find_binaries(None)))
    own.start("max_replication_slots = 1\n")
    try:
        await bootstrap(own.target(SUPERUSER))
        yield own.server
    finally:
        own.server.stop()


@pytest.fixture
async def superuser(server: Server) -> AsyncGenerator[Database]:
    """At the end the server has no slot."""
    opened = await Database.open(server.target(SUPERUSER), max_size=1)
    yield opened
    await opened.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots")
    await opened.close()


@pytest.fixture
def state(tmp_path: Path) -> State:
    return open_state(tmp_path / "s")


async def test_a_slot_is_made_on_a_leader_that_has_none_and_kept_on_one_that_has(
    server: Server, superuser: Database, state: State
) -> None:
    await check_replication(One(server), state)
    names = "select array_agg(slot_name::text) from pg_replication_slots where restart_lsn is not null"
    assert await superuser.fetchval(names) == [SLOT]
    await check_replication(One(server), state)
    replicator = await Database.open(server.target(REPLICATOR), max_size=1)
    assert await make_slot(replicator) is None
    await replicator.close()


async def test_a_leader_whose_slots_are_all_in_use_is_told_so(
    server: Server, superuser: Database, state: State
) -> None:
    await superuser.fetchval("select pg_create_physical_replication_slot('theirs')::text")
    with pytest.raises(PlatformError, match="slots of the leader are in use") as refused:
        await check_replication(One(server), state)
    assert "max_replication_slots" in refused.value.hint


async def test_a_replicator_that_may_not_replicate_is_told_so(
    server: Server, superuser: Database, state: State
) -> None:
    await superuser.execute("alter role replicator noreplication")
    try:
        with pytest.raises(PlatformError, match="lets replicator make no replication slot") as refused:
            await check_replication(One(server), state)
        assert "alter role replicator replication" in refused.value.hint
    finally:
        await superuser.execute("alter role replicator replication")


async def test_a_server_that_lets_nobody_replicate_from_here_is_told_so(
    server: Server, superuser: Database, state: State
) -> None:
    rules = server.folder / "data" / "pg_hba.conf"
    kept = rules.read_text()
    try:
        rules.write_text(
            "".join(line for line in kept.splitlines(keepends=True) if " replication " not in line)
        )
        await superuser.fetchval("select pg_reload_conf()")
        with pytest.raises(PlatformError, match=r"no pg_hba.conf entry for replication") as refused:
            await check_replication(One(server), state)
        assert "hostssl replication replicator" in refused.value.hint
    finally:
        rules.write_text(kept)
        await superuser.fetchval("select pg_reload_conf()")


async def test_rights_that_backups_need_are_told_one_by_one(server: Server, superuser: Database) -> None:
    owner = server.target(OWNER)
    connection = await connect(owner, server.endpoint, SecureContext.of(owner))
    try:
        assert await role_faults(connection, backups=True) == ()
        await superuser.execute("revoke pg_read_all_data, pg_maintain from replicator")
        await superuser.execute("revoke execute on function pg_create_restore_point(text) from replicator")
        await superuser.execute("alter role replicator nobypassrls")
        assert await role_faults(connection, backups=True) == (
            "replicator must be bypassrls",
            "replicator may not read every table (pg_read_all_data)",
            "replicator may not hold writers off for a moment (pg_maintain)",
            "replicator may not make a restore point",
        )
        assert await role_faults(connection) == (), "without backups nobody needs them"
    finally:
        await connection.close()
        await bootstrap(server.target(SUPERUSER))


def test_the_printed_preparation_takes_a_replicator_that_is_there_already() -> None:
    text = preparation()
    assert "where not exists (select from pg_roles where rolname = 'replicator') \\gexec" in text
    assert "alter role replicator nosuperuser bypassrls nocreaterole nocreatedb replication;" in text
    assert "grant execute on function pg_create_restore_point(text) to replicator;" in text
