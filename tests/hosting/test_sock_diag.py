"""What the kernel tells of its sockets, held against sockets of this process and the kernel's own tables."""

import socket
from pathlib import Path

import pytest

from troth.core.process import Endpoint
from troth.hosting import outgoing, sock_diag
from troth.hosting.outgoing import own_addresses


@pytest.fixture(autouse=True)
def told() -> None:
    try:
        sock_diag.listening_ports()
    except OSError:
        pytest.skip("this kernel does not tell of its sockets")


def an_own_address() -> str:
    found = [one for one in own_addresses() if "." in one and not one.startswith(("127.", "169.254."))]
    if not found:
        pytest.skip("this machine has no address but loopback")
    return min(found)


def leads_to(port: int) -> list[tuple[str, str]]:
    return [(row.protocol, row.remote.host) for row in sock_diag.leading_away() if row.remote.port == port]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_what_stays_on_loopback_is_left_out_by_the_kernel(address: str) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = int(listener.getsockname()[1])
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as client:
            client.connect((address, port))
            assert leads_to(port) == []
        assert ("tcp", port) in sock_diag.listening_ports()


@pytest.mark.parametrize("mapped", [False, True])
def test_what_leads_away_is_told_with_its_socket_also_from_a_socket_of_ipv6(mapped: bool) -> None:
    address = an_own_address()
    with socket.create_server((address, 0)) as listener:
        port = int(listener.getsockname()[1])
        with socket.socket(socket.AF_INET6 if mapped else socket.AF_INET) as client:
            client.connect((f"::ffff:{address}" if mapped else address, port))
            assert leads_to(port) == [("tcp", address)]


def test_a_datagram_socket_is_told_once_it_has_a_peer() -> None:
    address = an_own_address()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((address, 0))
        client.connect((address, 9))
        assert leads_to(9) == [("udp", address)]
    assert leads_to(9) == []


def test_without_the_kernels_word_its_tables_have_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> tuple[sock_diag.Row, ...]:
        raise OSError(2, "no such family")

    monkeypatch.setattr(sock_diag, "leading_away", refused)
    with socket.create_server((an_own_address(), 0)) as listener:
        place = Endpoint(*listener.getsockname())
        with socket.create_connection((place.host, place.port)):
            assert place in [one.remote for one in outgoing.outgoing(tmp_path)]
