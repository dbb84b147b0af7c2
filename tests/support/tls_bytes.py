"""What really passes on the wire: TLS conversations made in memory, and packets around them."""

import ssl
import struct
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from troth.core.ca import Authority, Subject, write_leaf
from troth.core.clock import SystemClock
from troth.data.packets import Packet
from troth.data.tls_records import Side

Said = list[tuple[Side, bytes]]
_WAYS: tuple[tuple[Side, Side], ...] = (("client", "server"), ("server", "client"))


def server_context(folder: Path) -> ssl.SSLContext:
    """A server with a certificate of an authority of its own."""
    now = SystemClock().now()
    authority = Authority.open(folder, "wire", now=now)
    leaf = authority.issue(
        Subject(common_name="wire", dns=("wire.example",), usage="server"),
        now=now,
        lifetime=timedelta(hours=1),
    )
    files = write_leaf(leaf, folder, "wire")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context


def converse(server: ssl.SSLContext, *messages: tuple[Side, bytes], newest: bool = True) -> Said:
    """A real conversation: the handshake, then these messages, then the end. TLS 1.3, or 1.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if not newest:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    wires = {one: (ssl.MemoryBIO(), ssl.MemoryBIO()) for one in ("client", "server")}
    ends: dict[Side, ssl.SSLObject] = {
        "client": context.wrap_bio(*wires["client"]),
        "server": server.wrap_bio(*wires["server"], server_side=True),
    }
    said: Said = []

    def carry() -> None:
        for side, other in _WAYS:
            data = wires[side][1].read()
            if data:
                said.append((side, data))
                wires[other][0].write(data)

    done: set[Side] = set()
    while len(done) < 2:
        for side, end in ends.items():
            try:
                end.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
            carry()
    for side, message in messages:
        ends[side].write(message)
        carry()
    return said


class Wire:
    """Packets of one connection, with the sequence numbers of a real one (they may wrap around)."""

    def __init__(
        self, server_port: int, *, client_port: int = 40_001, start: int = 2**32 - 700, segment: int = 1400
    ) -> None:
        self._ends = {"client": ("127.0.0.1", client_port), "server": ("127.0.0.1", server_port)}
        self._next = {"client": start, "server": start + 99}
        self._segment = segment

    def opening(self) -> list[Packet]:
        """SYN and SYN-ACK."""
        packets = [
            self._packet("client", b"", syn=True),
            self._packet("server", b"", syn=True, acknowledges=True),
        ]
        self._next = {side: at + 1 for side, at in self._next.items()}
        return packets

    def carry(self, said: Iterable[tuple[Side, bytes]]) -> list[Packet]:
        """Segments with what was said."""
        return [
            self._payload(side, data[at : at + self._segment])
            for side, data in said
            for at in range(0, len(data), self._segment)
        ]

    def closing(self) -> list[Packet]:
        """A FIN of each side."""
        return [self._packet(side, b"", ends=True) for side in ("client", "server")]

    def _payload(self, side: Side, data: bytes) -> Packet:
        packet = self._packet(side, data, acknowledges=True)
        self._next[side] += len(data)
        return packet

    def _packet(self, side: Side, data: bytes, **flags: bool) -> Packet:
        other: Side = "server" if side == "client" else "client"
        return Packet(
            protocol="tcp",
            source=self._ends[side],
            target=self._ends[other],
            sequence=self._next[side] % 2**32,
            payload=data,
            **flags,
        )


def on_the_wire(packet: Packet, *, version: int = 4) -> bytes:
    """The bytes of an IP packet, without checksums."""
    if packet.protocol == "udp":
        body = (
            struct.pack(">HHHH", packet.source[1], packet.target[1], 8 + len(packet.payload), 0)
            + packet.payload
        )
    else:
        flags = packet.syn * 2 | packet.acknowledges * 16 | packet.ends | packet.resets * 4
        body = (
            struct.pack(
                ">HHIIBBHHH", packet.source[1], packet.target[1], packet.sequence, 0, 5 << 4, flags, 0, 0, 0
            )
            + packet.payload
        )
    number = 17 if packet.protocol == "udp" else 6
    if version == 4:
        address = bytes((127, 0, 0, 1))
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, number, 0)
    else:
        address = bytes(15) + b"\1"
        head = struct.pack(">IHBB", 6 << 28, len(body), number, 64)
    return head + address + address + body
