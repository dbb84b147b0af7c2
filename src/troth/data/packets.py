"""IP packets, read as far as it takes to follow TCP and UDP (RFC 9293, RFC 768, RFC 8200). Pure."""

import ipaddress
from typing import Literal

import msgspec

_TCP, _UDP = 6, 17
_SPACE = 1 << 32
_EARLY = 256 * 1024
"""Bytes that may wait for others before them, in one direction; then those are taken for lost."""

Address = tuple[str, int]


class Packet(msgspec.Struct, frozen=True, kw_only=True):
    """A TCP segment or a UDP datagram; `sequence` and the flags are TCP's. `payload` is what it carries."""

    protocol: Literal["tcp", "udp"]
    source: Address
    target: Address
    sequence: int = 0
    syn: bool = False
    acknowledges: bool = False
    ends: bool = False
    resets: bool = False
    payload: bytes = b""


def read_packet(data: bytes) -> Packet | None:
    """The packet, or None for anything but TCP and UDP, and for what is cut short."""
    try:
        return _read_ip(data)
    except (IndexError, ValueError):
        return None


def _read_ip(data: bytes) -> Packet | None:
    version = data[0] >> 4
    if version == 4:
        start = (data[0] & 0x0F) * 4
        end = int.from_bytes(data[2:4]) or len(data)  # 0 for a segment of more than 64 KB (BIG TCP)
        source, target = data[12:16], data[16:20]
        fragment = int.from_bytes(data[6:8]) & 0x1FFF
        return None if fragment else _read_transport(data[9], source, target, data[start:end])
    if version == 6:
        end = 40 + int.from_bytes(data[4:6])
        end = end if end > 40 else len(data)
        return _read_transport(data[6], data[8:24], data[24:40], data[40:end])
    return None


def _read_transport(protocol: int, source: bytes, target: bytes, data: bytes) -> Packet | None:
    ports = int.from_bytes(data[0:2]), int.from_bytes(data[2:4])
    ends = (_address(source), ports[0]), (_address(target), ports[1])
    if protocol == _UDP and len(data) >= 8:
        return Packet(protocol="udp", source=ends[0], target=ends[1], payload=data[8:])
    if protocol != _TCP or len(data) < 20:
        return None
    flags = data[13]
    return Packet(
        protocol="tcp",
        source=ends[0],
        target=ends[1],
        sequence=int.from_bytes(data[4:8]),
        syn=bool(flags & 0x02),
        acknowledges=bool(flags & 0x10),
        ends=bool(flags & 0x01),
        resets=bool(flags & 0x04),
        payload=data[(data[12] >> 4) * 4 :],
    )


def _address(raw: bytes) -> str:
    return str(ipaddress.ip_address(raw))


class Assembly:
    """One direction of a TCP connection, put into order. Bounded: what waits too long for a missing piece
    goes on without it."""

    def __init__(self, expected: int | None) -> None:
        self._expected = expected
        self._early: dict[int, bytes] = {}

    def take(self, sequence: int, payload: bytes) -> tuple[bytes, bool]:
        """The bytes that are in order now, and whether something before them was lost."""
        if self._expected is None:
            self._expected = sequence
        self._keep(sequence, payload)
        lost = sum(map(len, self._early.values())) > _EARLY
        if lost:
            self._expected = min(self._early, key=self._distance)
        return self._drain(), lost

    @property
    def waits(self) -> bool:
        """Whether bytes wait for others that were never seen."""
        return bool(self._early)

    def _keep(self, sequence: int, payload: bytes) -> None:
        ahead = self._distance(sequence)
        if ahead < 0:
            payload, sequence = payload[-ahead:], self._expected or 0
        if len(payload) > len(self._early.get(sequence, b"")):
            self._early[sequence] = payload

    def _drain(self) -> bytes:
        ready: list[bytes] = []
        while self._early:
            nearest = min(self._early, key=self._distance)
            ahead = self._distance(nearest)
            if ahead > 0:
                break
            piece = self._early.pop(nearest)[-ahead:]
            ready.append(piece)
            self._expected = ((self._expected or 0) + len(piece)) % _SPACE
        return b"".join(ready)

    def _distance(self, sequence: int) -> int:
        """How far a sequence number is ahead of the one expected; they wrap around at 2^32."""
        return (sequence - (self._expected or 0) + _SPACE // 2) % _SPACE - _SPACE // 2
