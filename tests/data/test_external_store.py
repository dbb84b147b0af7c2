"""A consensus store that somebody else runs: what `hosts.toml` may say of it, and what its nodes tell."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from support.external_etcd import ExternalEtcd
from troth.core.clock import SystemClock
from troth.core.errors import ConfigError
from troth.data.consensus import StoreNode, claim_initialized, release_leadership
from troth.data.enrolment import STORE, enrol_host, enrol_platform, leaf_files, read_membership, take_in
from troth.data.external_store import read_store_files
from troth.data.host_places import find_host_places
from troth.data.hosts import HostSet, read_hosts
from troth.data.store_view import (
    NodeTold,
    StoreView,
    is_usable,
    look_at_store,
    read_status,
    store_refusals,
    store_troubles,
)

GOOD = """
clients = ["10.0.1.0/24"]
hosts = [
    { name = "db-1", address = "10.0.0.1", region = "DE" },
    { name = "db-2", address = "10.0.0.2", region = "DE" },
    { name = "db-3", address = "10.0.0.3", region = "FI" },
]

[consensus]
endpoints = ["https://etcd-1.example:2379", "https://10.0.9.2:2379", "https://etcd-3.example:2379"]
regions = ["DE", "fsn1", "FI"]
ca = "etcd/ca.pem"
certificate = "etcd/client.pem"
key = "etcd/client.key"
"""
NOW = SystemClock().now()
NODE = NodeTold(version="3.5.16", cluster="c", member="1", has_leader=True)
VIEW: StoreView = {
    "one": NODE,
    "two": msgspec.structs.replace(NODE, member="2"),
    "three": msgspec.structs.replace(NODE, member="3"),
}


def read(folder: Path, text: str) -> HostSet:
    file = folder / "hosts.toml"
    file.write_text(text)
    return read_hosts(file)


@pytest.fixture
def theirs(tmp_path: Path) -> ExternalEtcd:
    """Certificates of somebody else's store; no node runs."""
    return ExternalEtcd(tmp_path / "theirs", ("127.0.0.1",) * 3)


def of(theirs: ExternalEtcd, folder: Path) -> HostSet:
    return msgspec.structs.replace(read(folder, GOOD), consensus=theirs.described())


def test_a_store_is_read_and_its_nodes_are_places_that_a_host_connects_to(tmp_path: Path) -> None:
    hosts = read(tmp_path, GOOD)
    assert hosts.consensus is not None
    assert hosts.consensus.ca == str(tmp_path / "etcd/ca.pem")
    places = find_host_places(hosts)
    nodes = [place for place in places if place.use == "consensus"]
    assert [place.place.country for place in nodes] == ["DE", "DE", "FI"]
    assert {(one.host, one.port) for place in nodes for one in place.destinations} == {
        ("etcd-1.example", 2379),
        ("10.0.9.2", 2379),
        ("etcd-3.example", 2379),
    }
    assert {one.port for place in places for one in place.destinations} == {5432, 8008, 2379}


@pytest.mark.parametrize(
    ("good", "bad", "key", "words"),
    [
        ("https://etcd-1", "http://etcd-1", "consensus.endpoints[0]", "not https"),
        ("https://etcd-1", "https://u:secret@etcd-1", "consensus.endpoints[0]", "no password"),
        ("https://10.0.9.2", "https://[::1]", "consensus.endpoints[1]", "IPv6"),
        ("https://10.0.9.2:2379", "https://10.0.9.2", "consensus.endpoints[1]", "a host and a port"),
        ("https://10.0.9.2:2379", "https://10.0.9.2:2379/v3", "consensus.endpoints[1]", "a host and a port"),
        ("https://10.0.9.2:2379", "https://10.0.9.2:99999", "consensus.endpoints[1]", "no endpoint"),
        ("https://10.0.9.2", "https://etcd-1.example", "consensus.endpoints[1]", "twice"),
        (', "https://etcd-3.example:2379"', "", "consensus.endpoints", "2 endpoints"),
        ('"fsn1", ', "", "consensus.regions", "2 regions for 3"),
        ('"fsn1"', '"us-east-1"', "consensus.regions[1]", ""),
        ("https://etcd-1.example", "https://etcd.us-east-1.example", "consensus.regions[0]", "us-east-1"),
        ('ca = "etcd/ca.pem"\n', "", "consensus.ca", "missing"),
        ('key = "etcd/client.key"', 'key = ""', "consensus.key", "No file"),
        ('key = "etcd/client.key"', 'key = "k"\nname = "../x"', "consensus.name", "name of a set"),
        ('key = "etcd/client.key"', 'key = "k"\npassword = "secret"', "consensus.password", "no key"),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path: Path, good: str, bad: str, key: str, words: str) -> None:
    assert good in GOOD
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, GOOD.replace(good, bad, 1))
    assert caught.value.key == key
    assert words in caught.value.public
    assert "secret" not in f"{caught.value.public} {caught.value.hint}"


def test_a_node_outside_the_eu_is_refused_by_name_of_the_promise(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, GOOD.replace('["DE", "fsn1"', '["US", "fsn1"'))
    assert (caught.value.key, caught.value.promise) == ("consensus.regions[0]", "data.residency")


def lose(path: Path) -> None:
    path.unlink()


def garble(path: Path) -> None:
    path.write_text("no certificate")


def open_to_all(path: Path) -> None:
    path.chmod(0o644)


def exchange(path: Path) -> None:
    path.write_bytes(path.with_name("theirs-0.key").read_bytes())


@pytest.mark.parametrize(
    ("which", "spoil", "words"),
    [
        ("ca", lose, "cannot be read"),
        ("ca", garble, "holds no certificate"),
        ("certificate", lose, "cannot be read"),
        ("certificate", garble, "holds no certificate"),
        ("key", lose, "is missing"),
        ("key", open_to_all, "can be read by other users"),
        ("key", exchange, "is not the key of"),
        ("key", garble, "is not the key of"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_stops_the_enrolment(
    theirs: ExternalEtcd, tmp_path: Path, which: str, spoil: Callable[[Path], None], words: str
) -> None:
    hosts = of(theirs, tmp_path)
    assert hosts.consensus is not None
    spoil(Path(getattr(hosts.consensus, which)))
    with pytest.raises(ConfigError, match=words) as caught:
        enrol_host(tmp_path / "authorities", hosts, "db-1", NOW)
    assert caught.value.key == f"consensus.{which}"


def test_a_certificate_that_has_ended_opens_nothing(theirs: ExternalEtcd) -> None:
    with pytest.raises(ConfigError, match="ended on"):
        read_store_files(theirs.described(), NOW.replace(year=NOW.year + 2))


def test_a_host_is_given_what_opens_the_store_and_no_node_of_its_own(
    theirs: ExternalEtcd, tmp_path: Path
) -> None:
    hosts = of(theirs, tmp_path)
    bundle = enrol_host(tmp_path / "authorities", hosts, "db-1", NOW)
    assert sorted(bundle.leaves) == ["patroni", "postgres", "replicator", "server", STORE]
    take_in(bundle, tmp_path / "host")
    assert leaf_files(tmp_path / "host", STORE).key.read_bytes() == theirs.client.key.read_bytes()
    store = read_membership(tmp_path / "host").set.consensus
    assert store is not None
    assert (store.key, store.name) == ("", "customers")
    platform = enrol_platform(tmp_path / "authorities", hosts, NOW)
    assert STORE not in platform.leaves
    assert platform.set.consensus is None


def test_a_host_does_not_change_over_to_another_store(theirs: ExternalEtcd, tmp_path: Path) -> None:
    hosts, authorities = of(theirs, tmp_path), tmp_path / "authorities"
    take_in(enrol_host(authorities, hosts, "db-1", NOW), tmp_path / "host")
    for other in (None, theirs.described("others")):
        changed = msgspec.structs.replace(hosts, consensus=other)
        with pytest.raises(ConfigError, match="another consensus store"):
            take_in(enrol_host(authorities, changed, "db-1", NOW), tmp_path / "host")
    take_in(enrol_host(authorities, hosts, "db-1", NOW), tmp_path / "host")


def test_a_store_is_used_once_most_of_its_nodes_agree() -> None:
    assert is_usable(VIEW)
    assert is_usable({**VIEW, "three": None})
    assert not is_usable({**VIEW, "two": None, "three": None})
    assert not is_usable({**VIEW, "two": None, "three": msgspec.structs.replace(NODE, has_leader=False)})
    assert not is_usable({})


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (msgspec.structs.replace(NODE, member="3", cluster="d"), "different clusters"),
        (NODE, "one and the same node"),
        (msgspec.structs.replace(NODE, member="3", version="3.5.1"), "corrupt their data"),
        (msgspec.structs.replace(NODE, member="3", version="3.3.27"), "too old"),
        (msgspec.structs.replace(NODE, member="3", version="consul"), "too old"),
    ],
)
def test_a_store_that_two_members_could_lead_by_is_refused(node: NodeTold, words: str) -> None:
    assert store_refusals(VIEW) == ()
    view = {**VIEW, "three": node}
    assert words in store_refusals(view)[0]
    assert words in store_troubles(view)[0]


def test_what_is_wrong_with_a_node_is_told() -> None:
    full = msgspec.structs.replace(NODE, member="2", errors=("memberID:2 alarm:NOSPACE",))
    alone = msgspec.structs.replace(NODE, member="3", has_leader=False, errors=("etcdserver: no leader",))
    assert store_troubles({"one": None, "two": full, "three": alone}) == (
        "the consensus store at one does not answer",
        "the consensus store at two says: memberID:2 alarm:NOSPACE",
        "the consensus store at three has no leader",
    )


@pytest.mark.parametrize("answer", [{}, {"header": None}, {"header": {}, "version": "3.5"}, []])
def test_what_is_no_status_is_no_node(answer: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no status"):
        read_status(answer)


async def test_real_nodes_of_somebody_else_tell_what_they_are(tmp_path: Path) -> None:
    one, other = (ExternalEtcd(tmp_path / name, ("127.0.0.1",)) for name in ("one", "other"))
    one.start()
    other.start()
    try:
        async with asyncio.timeout(30):
            while not is_usable(await look_at_store(one.nodes, one.client)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        (told,) = (await look_at_store(one.nodes, one.client)).values()
        assert told is not None
        assert store_refusals({"one": told}) == ()
        (node,) = one.nodes
        strangers = (StoreNode(node.client, other.authority),)
        assert set((await look_at_store(strangers, one.client)).values()) == {None}
        assert set((await look_at_store(one.nodes, other.client)).values()) == {None}
        await claim_initialized(node, one.client, scope="customers", system="7")
        assert not await release_leadership(node, one.client, scope="customers", member="db-1")
    finally:
        one.close()
        other.close()
