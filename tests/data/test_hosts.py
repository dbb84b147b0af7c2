"""`hosts.toml`: what is taken, and what each fault is told as."""

from pathlib import Path

import pytest

from support.host_client import Ack
from support.hosts import out_of_turn
from troth.core.errors import ConfigError
from troth.data.hosts import read_hosts

GOOD = """
clients = ["10.0.1.0/24"]

[[hosts]]
name = "db-1"
address = "10.0.0.1"
region = "DE"

[[hosts]]
name = "db-2"
address = "10.0.0.2"
region = "fsn1"

[[hosts]]
name = "db-3"
address = "10.0.0.3"
region = "FI"
etcd = 12379
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "hosts.toml"
    file.write_text(text)
    return file


def test_three_hosts_are_read(tmp_path: Path) -> None:
    found = read_hosts(written(tmp_path, GOOD))
    assert [str(host.at(host.postgres)) for host in found.hosts] == [
        "10.0.0.1:5432",
        "10.0.0.2:5432",
        "10.0.0.3:5432",
    ]
    assert found.places == ("10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32")
    assert found.host("db-3").etcd == 12379


@pytest.mark.parametrize(
    ("good", "bad", "key"),
    [
        ('"10.0.0.2"', '"127.0.0.1"', "hosts[1].address"),
        ('"10.0.0.2"', '"0.0.0.0"', "hosts[1].address"),
        ('"10.0.0.2"', '"10.0.0.1"', "hosts[1].address"),
        ('"10.0.0.2"', '"db-2.example"', "hosts[1].address"),
        ('"db-2"', '"db-1"', "hosts[1].name"),
        ('"db-2"', '"../db-2"', "hosts[1].name"),
        ('"db-2"', '"platform"', "hosts[1].name"),
        ('["10.0.1.0/24"]', "[]", "clients"),
        ('["10.0.1.0/24"]', '["0.0.0.0/0"]', "clients[0]"),
        ('["10.0.1.0/24"]', '["10.0.1.7/24"]', "clients[0]"),
        ("etcd = 12379", "etcd = 5432", "hosts[2].name"),
        ("etcd = 12379", 'password = "secret"', "hosts[2].password"),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path: Path, good: str, bad: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_hosts(written(tmp_path, GOOD.replace(good, bad, 1)))
    assert caught.value.key == key
    assert caught.value.line is not None
    assert "secret" not in str(caught.value.public)


def test_a_host_outside_the_eu_is_refused_by_name_of_the_promise(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_hosts(written(tmp_path, GOOD.replace('"FI"', '"US"')))
    assert (caught.value.key, caught.value.promise) == ("hosts[2].region", "data.residency")


def test_two_hosts_are_no_set(tmp_path: Path) -> None:
    text = GOOD[: GOOD.index('[[hosts]]\nname = "db-3"')]
    with pytest.raises(ConfigError, match="2 hosts"):
        read_hosts(written(tmp_path, text))


def test_a_second_leader_would_be_seen() -> None:
    """What the faults of hosts are judged by."""
    handed_over = [Ack(1, 1, 1.0), Ack(2, 1, 2.0), Ack(3, 2, 9.0)]
    assert out_of_turn(handed_over) == []
    assert out_of_turn([*handed_over, Ack(4, 1, 9.5)]) == [Ack(4, 1, 9.5)]
