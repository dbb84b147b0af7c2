"""The private network of a platform, in namespaces that stand for the machine and for somebody far away."""

from collections.abc import Generator
from pathlib import Path

import pytest

from support.apart import MACHINE, SIDE, Apart, apart
from support.apart_side import API, DECLARED, FAR, HTTPS, INSTANCE, LARGE, NAME, NAMED
from support.network import address
from support.waiting import until

HERE, THERE = address(MACHINE), address(FAR)
DATABASE = 5432


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Generator[Apart]:
    """An instance and a database on the private side, the API at the edge, a place and a name server far
    away, and what else listens there."""
    with apart(tmp_path_factory.mktemp("apart") / "s") as made:
        made.ask(SIDE, "say", places=[INSTANCE], word="instance")
        made.ask(SIDE, "say", places=[DATABASE], word="database", address="0.0.0.0")  # noqa: S104
        made.edge("say", places=[API], word="api")
        made.ask(FAR, "say", places=[DECLARED, DECLARED + 1], word="far", address="0.0.0.0")  # noqa: S104
        made.ask(FAR, "say", places=[NAMED], word="reports", address="0.0.0.0")  # noqa: S104
        made.ask(FAR, "name", places=[53, NAME, THERE])
        made.ask(FAR, "digest", places=[LARGE])
        made.ask(FAR, "echo", places=[5353])
        yield made


def reach(net: Apart, whom: int | str, address: str, *ports: int) -> list[str]:
    """How it goes to connect to some ports."""
    return net.ask(whom, "connect", places=[address, *ports])


def test_the_edge_answers_in_the_machines_network_and_sees_who_comes(net: Apart) -> None:
    assert net.ask(FAR, "hear", places=[HERE, HTTPS]) == f"edge {THERE}"
    assert net.ask(MACHINE, "hear", places=["127.0.0.1", HTTPS]) == "edge 127.0.0.1"


def test_no_private_port_answers_in_the_machines_network_or_from_afar(net: Apart) -> None:
    assert set(reach(net, MACHINE, "127.0.0.1", INSTANCE, DATABASE, API)) == {"Connection refused"}
    assert set(reach(net, FAR, HERE, INSTANCE, DATABASE, API)) == {"Connection refused"}
    assert "connected" not in reach(net, MACHINE, net.link["private"], INSTANCE, DATABASE)
    assert net.ask(SIDE, "answering", places=[INSTANCE, DATABASE, API]) == []


def test_over_the_cable_each_side_reaches_what_the_other_offers_and_nothing_else(net: Apart) -> None:
    ends = net.link
    assert net.edge("hear", places=["127.0.0.1", INSTANCE]) == "instance 127.0.0.1"
    assert net.edge("connect", places=["127.0.0.1", DATABASE]) == ["Connection refused"]
    assert net.edge("connect", places=[ends["private"], DATABASE]) == ["No route to host"]
    assert net.ask(SIDE, "hear", places=["127.0.0.1", API]) == "api 127.0.0.1"
    assert net.ask(SIDE, "hear", places=["127.0.0.1", HTTPS]) == "visited 127.0.0.1"
    assert reach(net, SIDE, ends["edge"], API + 1) == ["No route to host"]


def test_only_declared_places_are_reached_from_either_side(net: Apart) -> None:
    assert net.ask(SIDE, "hear", places=[THERE, DECLARED]) == f"far {HERE}"
    assert net.edge("hear", places=[THERE, DECLARED]) == f"far {HERE}"
    for place in ([THERE, DECLARED + 1], [HERE, HTTPS]):
        assert net.ask(SIDE, "connect", places=place) == ["No route to host"]
        assert net.edge("connect", places=place) == ["No route to host"]


def test_the_relay_passes_all_on_and_the_end_of_each_direction_by_itself(net: Apart) -> None:
    assert net.ask(SIDE, "pour", places=[THERE, LARGE, 20_000_000])
    assert net.edge("pour", places=[THERE, LARGE, 1])


def test_a_declared_place_that_does_not_answer_ends_the_connection(net: Apart) -> None:
    """The name server is declared for TCP too, and nobody listens there."""
    with pytest.raises(AssertionError, match="reset"):
        net.ask(SIDE, "hear", places=[THERE, 53])


def test_a_declared_name_is_reached_as_soon_as_a_name_server_says_where_it_leads(net: Apart) -> None:
    assert reach(net, SIDE, THERE, NAMED) == ["No route to host"]
    assert net.ask(SIDE, "look_up", places=[THERE, 53, "another.example"]) == []
    assert reach(net, SIDE, THERE, NAMED) == ["No route to host"]
    assert net.edge("look_up", places=[THERE, 53, NAME]) == [THERE]
    assert net.ask(SIDE, "hear", places=[THERE, NAMED]) == f"reports {HERE}"
    assert net.edge("hear", places=[THERE, NAMED]) == f"reports {HERE}"
    assert reach(net, SIDE, THERE, NAMED + 1) == ["No route to host"]


def test_nobody_but_name_servers_is_sent_datagrams(net: Apart) -> None:
    with pytest.raises(AssertionError):
        net.ask(SIDE, "ask", places=[THERE, 5353], word="who")


def test_a_private_port_opened_in_the_machines_network_is_seen(net: Apart) -> None:
    seen = net.ask(SIDE, "answering_while_planted", places=[INSTANCE])
    assert {one.rpartition(":")[0] for one in seen} == {"127.0.0.1", HERE}
    assert net.ask(SIDE, "answering", places=[INSTANCE]) == []


def test_a_reload_opens_what_is_newly_declared_and_offered_and_closes_what_no_longer_is(net: Apart) -> None:
    net.ask(SIDE, "follow", places=[DATABASE], declared=DECLARED + 1)
    assert net.ask(SIDE, "hear", places=[THERE, DECLARED + 1]) == f"far {HERE}"
    assert net.edge("connect", places=["127.0.0.1", DATABASE]) == ["connected"]
    assert net.edge("connect", places=["127.0.0.1", INSTANCE]) == ["Connection refused"]
    net.ask(SIDE, "follow", places=[INSTANCE], declared=DECLARED)
    assert reach(net, SIDE, THERE, DECLARED + 1) == ["No route to host"]
    assert net.edge("hear", places=["127.0.0.1", INSTANCE]) == "instance 127.0.0.1"


async def test_nothing_is_left_in_the_machines_network_after_a_kill(tmp_path: Path) -> None:
    with apart(tmp_path / "s") as net:
        assert net.ask(MACHINE, "interfaces") == ["eth0", "lo"]
        assert reach(net, MACHINE, "127.0.0.1", HTTPS) == ["connected"]
        net.kill()
        await until(lambda: reach(net, MACHINE, "127.0.0.1", HTTPS) == ["Connection refused"])
        assert net.ask(MACHINE, "interfaces") == ["eth0", "lo"]
        assert net.rules() == ""
