"""Ports: private ones that stay free, public ones that are named when they cannot be had."""

import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from troth.core.errors import ConfigError
from troth.hosting import ports
from troth.hosting.ports import PublicPorts, free_ports, holder, private_ports, public_ports


def is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_private_ports_are_many_different_and_free() -> None:
    chosen = free_ports(20)
    assert len(set(chosen)) == 20
    # Another program of this machine may have taken one in the meantime, but not many.
    assert sum(map(is_free, chosen)) >= 18


def test_private_ports_lie_outside_the_range_of_outgoing_connections() -> None:
    assert max(free_ports(200)) < ports._first_kernel_port()  # pyright: ignore[reportPrivateUsage]


def test_ports_from_the_file_are_used_as_they_stand() -> None:
    https, http = free_ports(2)
    assert public_ports("127.0.0.1", https, http) == PublicPorts(https, http)


def test_a_port_in_use_names_itself_its_holder_and_the_next_step(taken: int) -> None:
    with pytest.raises(ConfigError) as caught:
        public_ports("127.0.0.1", free_ports(1)[0], taken)
    assert f"Port {taken} on 127.0.0.1 is in use by " in caught.value.public
    assert f"(pid {os.getpid()})" in caught.value.public
    assert caught.value.key == "edge.http_port"
    assert "edge.http_port" in caught.value.hint


def test_a_port_whose_udp_side_is_taken_cannot_serve_http_3() -> None:
    port, http = free_ports(2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        with pytest.raises(ConfigError, match=f"Port {port} on 127.0.0.1 is in use"):
            public_ports("127.0.0.1", port, http)


def test_a_listener_that_shares_its_port_is_seen_all_the_same() -> None:
    """Caddy listens with SO_REUSEPORT; a second edge would silently take half of the connections."""
    port, http = free_ports(2)
    with socket.socket() as edge:
        edge.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        edge.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        edge.bind(("127.0.0.1", port))
        edge.listen()
        with pytest.raises(ConfigError, match=f"Port {port} on 127.0.0.1 is in use"):
            public_ports("127.0.0.1", port, http)


@pytest.mark.parametrize("address", ["203.0.113.7", "not-an-address", ""])
def test_an_address_that_is_not_ours_is_named(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        public_ports(address, None, None)
    assert caught.value.key == "edge.address"


def test_one_port_for_both_is_refused() -> None:
    (port,) = free_ports(1)
    with pytest.raises(ConfigError, match="the same"):
        public_ports("127.0.0.1", port, port)


class Machine:
    """Stands in for the system: only these ports can be had."""

    def __init__(self, *free: int) -> None:
        self.free = free

    def trouble(self, address: str, port: int, *, udp: bool) -> OSError | None:
        return None if port in (0, *self.free) else PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    ("free", "asked", "chosen"),
    [
        ((443, 80, 8443, 8080), (None, None), PublicPorts(443, 80)),
        ((8443, 8080), (None, None), PublicPorts(8443, 8080)),
        ((443, 8443, 8080), (None, None), PublicPorts(8443, 8080)),
        ((80, 8443, 8080, 9443), (9443, None), PublicPorts(9443, 80)),
        ((8443, 8080, 9080), (None, 9080), PublicPorts(8443, 9080)),
    ],
)
def test_low_ports_are_taken_as_a_pair_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
    free: tuple[int, ...],
    asked: tuple[int | None, int | None],
    chosen: PublicPorts,
) -> None:
    monkeypatch.setattr(ports, "_trouble", Machine(*free).trouble)
    assert public_ports("127.0.0.1", *asked) == chosen


def test_a_low_port_asked_for_but_not_allowed_says_how_to_allow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_trouble", Machine(80).trouble)
    with pytest.raises(ConfigError) as caught:
        public_ports("127.0.0.1", 443, 80)
    assert "Port 443 on 127.0.0.1 cannot be used: Permission denied." in caught.value.public
    assert "ip_unprivileged_port_start" in caught.value.hint


def test_nobody_holds_a_free_port() -> None:
    assert holder(free_ports(1)[0]) == ""


def test_private_ports_are_never_the_public_ones_and_never_twice() -> None:
    first = free_ports(40)
    public = frozenset(first[:2])
    chosen = list(itertools.islice(private_ports(public), 400))
    assert len(set(chosen)) == 400
    assert not public & set(chosen)


def test_nobody_else_is_given_a_port_that_was_chosen_and_is_not_served_yet() -> None:
    """Two platforms that start at once on one machine."""
    (port,) = free_ports(1)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        socket.create_connection(("127.0.0.1", port)).close()


def test_ports_chosen_long_ago_are_let_go() -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    free_ports(ports._MOST_CLAIMS)  # pyright: ignore[reportPrivateUsage]
    before = opened()
    free_ports(100)
    assert opened() == before
