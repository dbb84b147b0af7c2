"""Tries every TCP port of an address from where it is started. Standard library only: `python -I -S`.

    outside.py        standard output: `ready`
                      standard input: a line `ADDRESS PORT …`
                      standard output: a line for each port that answered, `443 open`, then `done`; and again

A SYN is sent to each port; whoever answers, with SYN and ACK (open) or with RST (closed), is not behind a
filter that drops. The named ports are tried once more, should the first packet have been lost. Needs
CAP_NET_RAW. It ends when its standard input does, and the network that it is alone in ends with it.
"""

import ipaddress
import os
import select
import socket
import struct
import sys
import time

_WARMING = [9, 9, 9]
"""Before the neighbour's address is known, few packets wait for it and the rest is lost."""

_WARMING_SECONDS = 0.2

_QUIET_SECONDS = 1.0
"""How long answers are waited for after the last packet."""

_TCP = 6
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_SOURCE = 61_001
_BATCH = 64
_BUFFER = 8 * 2**20
_IPV6_CHECKSUM = 7


def main() -> int:
    """0 at the end of standard input."""
    _say("ready")
    for line in sys.stdin:
        address, *again = line.split()
        ports = [*range(1, 65_536), *map(int, again)]
        found = scan(address, ipaddress.ip_address(address).version, ports)
        for port in sorted(found):
            _say(f"{port} {found[port]}")
        _say("done")
    return 0


def scan(target: str, version: int, ports: list[int]) -> dict[int, str]:
    """Which of the ports answered, and how."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    found: dict[int, str] = {}
    with socket.socket(family, socket.SOCK_RAW, _TCP) as link:
        # Many answers at once must not be lost: a machine without a filter answers for every port.
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        link.connect((target, 0))
        if version == 6:
            link.setsockopt(socket.IPPROTO_IPV6, _IPV6_CHECKSUM, 16)
        source = link.getsockname()[0]
        sequence = int.from_bytes(os.urandom(4), "big")
        for port in _WARMING:
            _send(link, _segment(version, source, target, port, sequence))
            time.sleep(_WARMING_SECONDS)
        for start in range(0, len(ports), _BATCH):
            for port in ports[start : start + _BATCH]:
                _send(link, _segment(version, source, target, port, sequence))
            _take(link, version, sequence, found)
        end = time.monotonic() + _QUIET_SECONDS
        while (left := end - time.monotonic()) > 0 and select.select([link], [], [], left)[0]:
            _take(link, version, sequence, found)
    return found


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def _send(link: socket.socket, segment: bytes) -> None:
    try:
        link.send(segment)
    except OSError:
        # An answer to an earlier packet (ICMP) is told at the next one, which must still go out.
        link.send(segment)


def _take(link: socket.socket, version: int, sequence: int, found: dict[int, str]) -> None:
    """Read what has come so far. Only answers to our own packets count."""
    while True:
        try:
            packet = link.recv(65_536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            continue
        segment = packet[(packet[0] & 15) * 4 :] if version == 4 else packet
        if len(segment) < 20:
            continue
        source, port, _, acknowledged, _, flags = struct.unpack("!HHIIBB", segment[:14])
        if port != _SOURCE or acknowledged != (sequence + 1) & 0xFFFFFFFF or not flags & _ACK:
            continue
        if flags & (_SYN | _RST):
            found[source] = "closed" if flags & _RST else "open"


def _segment(version: int, source: str, target: str, port: int, sequence: int) -> bytes:
    """A SYN. Its checksum (RFC 9293 section 3.1) is the kernel's work for IPv6 alone."""
    bare = struct.pack("!HHIIBBHHH", _SOURCE, port, sequence, 0, 5 << 4, _SYN, 64_240, 0, 0)
    if version == 6:
        return bare
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, _TCP, len(bare))
    total = sum(struct.unpack(f"!{(len(pseudo) + len(bare)) // 2}H", pseudo + bare))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return bare[:16] + struct.pack("!H", ~total & 0xFFFF) + bare[18:]


if __name__ == "__main__":
    sys.exit(main())
