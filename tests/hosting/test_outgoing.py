"""Outgoing connections, read from the kernel's tables and from real sockets of this process."""

import ipaddress
import socket
from pathlib import Path

import pytest

from troth.core.process import Endpoint
from troth.hosting import processes
from troth.hosting.outgoing import KNOWN_SECONDS, Connection, Lookout, leading_away, outgoing, own_addresses

_HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def printed(text: str) -> str:
    """An address and port as the kernel prints them (proc(5)), words in little-endian order."""
    host, _, port = text.rpartition(":")
    packed = ipaddress.ip_address(host).packed
    words = (packed[start : start + 4][::-1].hex().upper() for start in range(0, len(packed), 4))
    return f"{''.join(words)}:{int(port):04X}"


def row(local: str, remote: str, state: str = "01") -> str:
    return f"   0: {printed(local)} {printed(remote)} {state} 0:0 0:0 0 0 0 200 1 0\n"


EDGE = _HEAD + row("0.0.0.0:8443", "0.0.0.0:0", "0A")


def test_where_a_connection_leads_is_read_from_the_kernels_table() -> None:
    table = EDGE + row("10.0.0.2:50000", "198.51.100.7:443")
    assert leading_away([("tcp", table)]) == (Connection("tcp", Endpoint("198.51.100.7", 443), "200"),)


@pytest.mark.parametrize(
    ("one", "leads_away"),
    [
        (row("10.0.0.2:50000", "198.51.100.7:443"), True),
        (row("10.0.0.2:50000", "198.51.100.7:443", "02"), True),  # still knocking
        (row("::2:50000", "2001:db8::7:443"), True),
        (row("::ffff:10.0.0.2:50000", "::ffff:198.51.100.7:443"), True),
        (row("10.0.0.2:8443", "198.51.100.7:61000"), False),  # a visitor of the edge
        (row("::ffff:10.0.0.2:8443", "::ffff:198.51.100.7:61000"), False),
        (row("127.0.0.1:50000", "127.0.0.1:5432"), False),
        (row("127.0.0.1:50000", "127.8.9.10:5432"), False),
        (row("::1:50000", "::1:5432"), False),
        (row("::ffff:127.0.0.1:50000", "::ffff:127.0.0.1:5432"), False),
        (row("0.0.0.0:5353", "0.0.0.0:0", "07"), False),
        (row("10.0.0.2:50000", "198.51.100.7:443", "06"), False),  # nobody's any more
    ],
)
def test_what_was_opened_here_is_told_from_what_was_accepted(one: str, leads_away: bool) -> None:
    assert bool(leading_away([("tcp", EDGE), ("tcp", _HEAD + one)])) == leads_away


def an_own_address() -> str:
    found = [one for one in own_addresses() if "." in one and not one.startswith(("127.", "169.254."))]
    if not found:
        pytest.skip("this machine has no address but loopback")
    return min(found)


def test_a_connection_of_this_process_is_seen_while_it_is_open_and_gone_after_it(tmp_path: Path) -> None:
    with socket.create_server((an_own_address(), 0)) as listener:
        place = Endpoint(*listener.getsockname())
        assert place not in [one.remote for one in outgoing(tmp_path)]
        with socket.create_connection((place.host, place.port)):
            (seen,) = [one for one in outgoing(tmp_path) if one.remote == place]
            assert (seen.protocol, bool(seen.process), seen.pid > 0) == ("tcp", True, True)
        assert place not in [one.remote for one in outgoing(tmp_path)]


def test_whose_a_socket_is_is_looked_up_for_strangers_alone_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, searches = 100.0, 0
    search = processes.marked

    def counted(beginning: str) -> tuple[processes.Process, ...]:
        nonlocal searches
        searches += 1
        return search(beginning)

    monkeypatch.setattr(processes, "marked", counted)
    lookout = Lookout(tmp_path, lambda: now)
    with socket.create_server((an_own_address(), 0)) as listener:
        place = Endpoint(*listener.getsockname())

        def looked() -> tuple[int, int]:
            return len(lookout.look(lambda one: one != place)), searches

        with socket.create_connection((place.host, place.port)):
            assert len(lookout.look(lambda _: True)) == searches == 0
            assert [looked(), looked()] == [(1, 1), (1, 1)]
            now += KNOWN_SECONDS
            assert looked() == (1, 2)
        assert looked() == (0, 2)
