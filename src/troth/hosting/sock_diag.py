"""The kernel's sockets, asked for over netlink (sock_diag(7)): only those that lead away from loopback.

The kernel leaves out the rest by itself. Its text tables (proc(5)) hold every connection of the machine, and
those that ended a minute ago as well: to read them costs as much as all else that the keeper does at rest.
"""

import functools
import ipaddress
import socket
import struct
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from troth.core.process import Endpoint

Protocol = Literal["tcp", "udp"]

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_REQUEST_DUMP: Final = 0x1 | 0x300
_DONE, _ERROR = 3, 2
_DUMP_INTERRUPTED: Final = 0x10
_BYTECODE: Final = 1
_DESTINATION, _JUMP = 8, 1

_HEADER = struct.Struct("=IHHII")
_ASKED = struct.Struct("=BBBBI48x")
_ROW = struct.Struct("=BBBB HH 16s 16s I 8x II I I I")
_NUMBERS: Final = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
_SECONDS = 1.0
_READ_BYTES = 1 << 17

CONNECTED: Final = frozenset({1, 2, 4, 5, 8, 9, 11})
"""Established, being opened (SYN_SENT), or being closed while a process still holds it (tcp_states.h)."""

LISTENING: Final = frozenset({10})

_LOOPBACK: Final[dict[int, tuple[str, ...]]] = {
    socket.AF_INET: ("127.0.0.0/8",),
    socket.AF_INET6: ("::1/128", "::ffff:127.0.0.0/104"),
}


class Row(msgspec.Struct, frozen=True):
    """One socket: its own port, where it leads, and its number."""

    protocol: Protocol
    port: int
    remote: Endpoint
    inode: str


def leading_away() -> tuple[Row, ...]:
    """Every connection to somewhere else than loopback. Raises OSError where the kernel does not tell."""
    return tuple(
        row for family in _LOOPBACK for protocol in _NUMBERS for row in _ask(family, protocol, CONNECTED)
    )


def listening_ports() -> frozenset[tuple[str, int]]:
    """The ports that are listened on, whatever their address. Raises OSError."""
    rows = (row for family in _LOOPBACK for row in _ask(family, "tcp", LISTENING))
    return frozenset((row.protocol, row.port) for row in rows)


def _ask(family: int, protocol: str, states: frozenset[int]) -> Iterator[Row]:
    wanted = sum(1 << state for state in states)
    asked = _ASKED.pack(family, _NUMBERS[protocol], 0, 0, wanted)
    if states is CONNECTED:
        code = _not_to(_LOOPBACK[family])
        asked += struct.pack("=HH", 4 + len(code), _BYTECODE) + code
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    ) as kernel:
        kernel.settimeout(_SECONDS)
        size = _HEADER.size + len(asked)
        kernel.sendto(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + asked, (0, 0))
        for message in _messages(kernel):
            row = _read(message, protocol)
            if states is LISTENING or row.remote.port:  # a datagram socket without a peer leads nowhere
                yield row


def _messages(kernel: socket.socket) -> Iterator[bytes]:
    """The rows of one answer, which ends with a message of its own."""
    while True:
        buffer, start = kernel.recv(_READ_BYTES), 0
        while start + _HEADER.size <= len(buffer):
            size, kind, *_ = _HEADER.unpack_from(buffer, start)
            body = buffer[start + _HEADER.size : start + size]
            if kind == _DONE:
                return
            if kind == _ERROR:
                number = -struct.unpack_from("=i", body)[0]
                raise OSError(number, "the kernel does not tell of its sockets")
            yield body
            start += max((size + 3) & ~3, _HEADER.size)


def _read(message: bytes, protocol: str) -> Row:
    family, _, _, _, own, remote, _, address, _, _, _, _, _, inode = _ROW.unpack_from(message)
    packed = address[:4] if family == socket.AF_INET else address
    return Row(
        "tcp" if protocol == "tcp" else "udp",
        socket.ntohs(own),
        Endpoint(_told(packed), socket.ntohs(remote)),
        str(inode),
    )


def _told(packed: bytes) -> str:
    """An address as everything here writes it: one that is mapped into IPv6 is one of IPv4."""
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


@functools.cache
def _not_to(networks: tuple[str, ...]) -> bytes:
    """The kernel's filter (inet_diag.h): reject a row whose destination lies in one of these.

    Each network is a comparison; where it holds, the jump behind it leads beyond the end, which rejects.
    """
    code, left = b"", 0
    for network in reversed([ipaddress.ip_network(one) for one in networks]):
        packed = network.network_address.packed
        family = socket.AF_INET if network.version == 4 else socket.AF_INET6
        size = 4 + 8 + len(packed)
        jump = struct.pack("=BBH", _JUMP, 4, 4 + left + 4)
        compared = struct.pack("=BBHBBxxi", _DESTINATION, size, size + 4, family, network.prefixlen, -1)
        code = compared + packed + jump + code
        left = len(code)
    return code
