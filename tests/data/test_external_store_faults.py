"""Three hosts whose consensus store somebody else runs, on other hosts and under another authority.

Each fault is as in `test_host_faults`: nothing acknowledged is lost, and no second leader acknowledges.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from support.external_etcd import ExternalEtcd
from support.host_faults import BOUND_SECONDS, LEASE_SECONDS, others, survive
from support.hosts import CLIENT, NUMBERS, Hosts
from support.network import address, between, network
from support.rounds import in_many_rounds, tell
from support.waiting import until_answered
from troth.hosting import control, processes

pytestmark = [pytest.mark.chaos, in_many_rounds, pytest.mark.timeout(600)]

STORE = (CLIENT + 1, CLIENT + 2, CLIENT + 3)
"""The hosts of the store."""


class Elsewhere:
    """The hosts and the store that they ask."""

    def __init__(self, hosts: Hosts, theirs: ExternalEtcd) -> None:
        self.hosts, self.theirs = hosts, theirs

    async def status(self, number: int) -> dict[str, Any]:
        """What a host says of itself."""
        return await asyncio.to_thread(control.ask, self.hosts.state(number).control, {"do": "status"})


@pytest.fixture(scope="module")
async def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Elsewhere]:
    folder = tmp_path_factory.mktemp("elsewhere")
    with network(STORE[-1]) as made:
        theirs = ExternalEtcd(
            folder / "theirs", tuple(map(address, STORE)), lambda index: made.host(STORE[index]).run
        )
        hosts = Hosts(folder, made, theirs.described())
        try:
            theirs.start()
            for number in NUMBERS:
                hosts.start(number)
            await hosts.ready()
            client = await hosts.client(CLIENT)
            await client.execute("create table troth.note (id bigint primary key)")
            yield Elsewhere(hosts, theirs)
        finally:
            await hosts.stop()
            theirs.close()


async def test_no_node_of_our_own_runs_and_every_connection_is_declared(elsewhere: Elsewhere) -> None:
    for number in NUMBERS:
        root = elsewhere.hosts.state(number).root
        assert not processes.marked(f"{processes.prefix(root)}consensus|")
        residency = (await elsewhere.status(number))["residency"]
        assert residency["undeclared"] == []
        assert residency["looked"] > 0
        assert f"consensus store {address(STORE[0])}" in str(residency["places"])


async def test_a_leader_cut_off_from_everybody_is_replaced(
    elsewhere: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = elsewhere.hosts

    async def cut(leader: int) -> None:
        hosts.network.drop(*between(leader, (*others(leader), *STORE)))

    told = await survive(hosts, cut, lasting=LEASE_SECONDS + 8, mend=lambda _: hosts.network.heal())
    tell(capsys, f"leader cut off from everybody, store elsewhere: {told}")
    assert told.pause < BOUND_SECONDS


async def test_a_leader_cut_off_from_the_store_alone_loses_nothing(
    elsewhere: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = elsewhere.hosts

    async def cut(leader: int) -> None:
        hosts.network.drop(*between(leader, STORE))

    told = await survive(hosts, cut, lasting=LEASE_SECONDS + 8, mend=lambda _: hosts.network.heal())
    tell(capsys, f"leader cut off from the store elsewhere: {told}")
    assert told.pause < BOUND_SECONDS


async def test_a_store_that_is_away_for_longer_than_the_lease_stops_no_write_and_is_told(
    elsewhere: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts, theirs = elsewhere.hosts, elsewhere.theirs
    seen: list[object] = []

    async def lose(leader: int) -> None:
        theirs.kill()

        async def is_told() -> bool:
            seen[:] = [(await elsewhere.status(leader))["troubles"]]
            return "does not answer" in str(seen)

        await until_answered(is_told, 30)

    told = await survive(hosts, lose, lasting=LEASE_SECONDS * 2, mend=lambda _: theirs.start())
    tell(capsys, f"store elsewhere away: {told}")
    assert told.pause < LEASE_SECONDS / 2


async def test_a_lost_node_of_the_store_delays_no_write(
    elsewhere: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    async def lose(_: int) -> None:
        elsewhere.theirs.kill(0)

    told = await survive(elsewhere.hosts, lose, lasting=8, mend=lambda _: elsewhere.theirs.start())
    tell(capsys, f"one node of the store elsewhere lost: {told}")
    assert told.pause < LEASE_SECONDS / 2


async def test_the_lead_of_a_member_that_died_is_given_up_at_once(
    elsewhere: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    async def kill(leader: int) -> None:
        elsewhere.hosts.kill_member(leader)

    told = await survive(elsewhere.hosts, kill, lasting=8, mend=lambda _: None)
    tell(capsys, f"leader killed, store elsewhere: {told}")
    assert told.pause < LEASE_SECONDS
