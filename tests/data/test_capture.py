"""What passes on the wire is told by hop, from packets in any order, with what was missed."""

import asyncio
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.tls_bytes import Said, Wire, converse, on_the_wire, server_context
from troth.data import capture
from troth.data.capture import Captured, Hop, Traffic
from troth.data.packets import Assembly, Packet, read_packet
from troth.data.sniffing import Sniffer, may_capture, port_filter
from troth.hosting.ports import free_ports

PORTAL, DATABASE = Hop("portal-1", 23_001), Hop("member-1 PostgreSQL", 23_002, "postgres")
TALK = b"GET / HTTP/1.1\r\n\r\n"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Said:
    server = server_context(tmp_path_factory.mktemp("wire"))
    return converse(server, ("client", TALK), ("server", bytes(40_000)))


def see(*packets: Packet, strays: bool = False) -> Captured:
    traffic = Traffic((PORTAL, DATABASE), strays=strays)
    for packet in packets:
        traffic.take(packet)
    return traffic.see()


def verdicts(seen: Captured) -> dict[str, dict[str, int]]:
    return {hop.name: {str(key): count for key, count in hop.verdicts.items()} for hop in seen.hops}


def test_connections_are_counted_by_hop_and_verdict(tls: Said) -> None:
    good, other = Wire(PORTAL.port), Wire(PORTAL.port, client_port=40_002)
    asked: Said = [("client", bytes.fromhex("0000000804d2162f")), ("server", b"S"), *tls]
    database, bad = Wire(DATABASE.port, client_port=40_003), Wire(PORTAL.port, client_port=40_004)
    seen = see(
        *good.opening(), *good.carry(tls), *good.closing(),
        *other.opening(), *other.closing(),
        *database.opening(), *database.carry(asked),
        *bad.opening(), *bad.carry([("client", TALK), ("server", TALK)]),
    )  # fmt: skip
    assert verdicts(seen) == {
        "portal-1": {"tls": 1, "empty": 1, "plaintext": 1},
        "member-1 PostgreSQL": {"tls": 1},
    }
    assert seen.where("plaintext")[0].reasons == ("it does not begin as TLS",)
    assert seen.is_whole


def test_a_port_that_is_used_again_is_another_connection(tls: Said) -> None:
    first, second = Wire(PORTAL.port), Wire(PORTAL.port, start=17)
    seen = see(
        *first.opening(), *first.carry(tls), *second.opening(), *second.carry([("client", TALK * 400)])
    )
    assert verdicts(seen) == {"portal-1": {"tls": 1, "plaintext": 1}}


def test_strangers_to_our_ports_are_left_out_or_told_as_strays() -> None:
    wire = Wire(31_337)
    packets = [*wire.opening(), *wire.carry([("client", TALK), ("server", TALK)])]
    assert see(*packets).hops == ()
    assert verdicts(see(*packets, strays=True)) == {"port 31337": {"plaintext": 1}}


def test_a_connection_under_way_is_followed_from_its_records(tls: Said) -> None:
    wire = Wire(PORTAL.port)
    wire.opening()
    packets = wire.carry(tls)
    assert verdicts(see(*packets[3:])) == {"portal-1": {"resumed": 1}}


@settings(deadline=None, max_examples=30)
@given(order=st.randoms(use_true_random=False), twice=st.integers(0, 5))
def test_the_order_of_segments_and_repeats_change_nothing(order: "object", twice: int) -> None:
    shuffle = order.shuffle  # type: ignore[attr-defined] # pyright: ignore
    text = bytes(range(256)) * 20
    pieces = [(at, text[at : at + 100]) for at in range(0, len(text), 100)]
    pieces += pieces[:twice]
    shuffle(pieces)
    assembly = Assembly(2**32 - 1000)
    found = b"".join(assembly.take((2**32 - 1000 + at) % 2**32, piece)[0] for at, piece in pieces)
    assert found == text
    assert not assembly.waits


def test_overlapping_segments_are_taken_once() -> None:
    assembly = Assembly(100)
    assert assembly.take(100, b"abcdef") == (b"abcdef", False)
    assert assembly.take(103, b"defghi") == (b"ghi", False)
    assert assembly.take(99, b"?") == (b"", False), "a keep-alive of TCP repeats one byte"


def test_a_lost_segment_is_told_and_memory_stays_bounded(tls: Said) -> None:
    assembly = Assembly(0)
    lost, held = False, 0
    for at in range(1000, 2_000_000, 1000):
        data, missing = assembly.take(at, bytes(1000))
        lost, held = lost or missing, held + len(data)
    assert lost
    assert held > 1_500_000
    wire = Wire(PORTAL.port)
    packets = [*wire.opening(), *wire.carry(tls)]
    assert verdicts(see(*packets[:-3], *packets[-2:]))["portal-1"].keys() <= {"unknown", "resumed"}


def test_more_connections_than_can_be_followed_are_counted_as_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "MOST", 3)
    wires = [Wire(PORTAL.port, client_port=40_000 + number) for number in range(5)]
    seen = see(*(packet for wire in wires for packet in wire.opening()))
    assert seen.unseen > 0
    assert not seen.is_whole
    ended = see(*(packet for wire in wires for packet in (*wire.opening(), *wire.closing())))
    assert ended.unseen == 0
    assert ended.count("empty") == 5


@pytest.mark.parametrize("version", [4, 6])
def test_packets_are_read_as_they_were_written(version: int) -> None:
    (packet,) = Wire(PORTAL.port).carry([("client", TALK)])
    read = read_packet(on_the_wire(packet, version=version))
    assert read is not None
    assert (read.payload, read.sequence, read.target[1]) == (TALK, packet.sequence, PORTAL.port)
    datagram = Packet(protocol="udp", source=("127.0.0.1", 5), target=("127.0.0.1", 443), payload=b"\xc0")
    again = read_packet(on_the_wire(datagram, version=version))
    assert again is not None
    assert (again.protocol, again.payload, again.target[1]) == ("udp", b"\xc0", 443)


@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange_for_the_reader_of_packets(data: bytes) -> None:
    read_packet(data)
    for first in (0x45, 0x60):
        read_packet(bytes((first, *data)))


needs_capture = pytest.mark.skipif(not may_capture(), reason="capturing needs CAP_NET_RAW")


@needs_capture
async def test_the_wire_is_captured_and_a_plain_hop_on_it_is_seen(tmp_path: Path) -> None:
    secure, plain, foreign = free_ports(3)
    traffic = Traffic((Hop("secure", secure), Hop("plain", plain)))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        await writer.drain()
        writer.close()

    context = server_context(tmp_path)
    async with (
        await asyncio.start_server(answer, "127.0.0.1", secure, ssl=context),
        await asyncio.start_server(answer, "127.0.0.1", plain),
        await asyncio.start_server(answer, "127.0.0.1", foreign),
    ):
        sniffer = Sniffer(traffic, (secure, plain))
        for port in (secure, secure, plain, foreign):
            await _ask(port, secure=port == secure)
        seen = await asyncio.to_thread(sniffer.stop)
    assert verdicts(seen) == {"secure": {"tls": 2}, "plain": {"plaintext": 1}}
    assert seen.dropped == 0


@needs_capture
async def test_a_capture_that_loses_packets_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A buffer of nothing, and a reader that sleeps: what the kernel had no room for is counted."""
    monkeypatch.setattr("troth.data.sniffing.BUFFER", 1)
    (port,) = free_ports(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", port))
        sniffer = Sniffer(Traffic((Hop("busy", port),)), (port,))
        for _ in range(3000):
            receiver.sendto(bytes(1200), ("127.0.0.1", port))
        seen = await asyncio.to_thread(sniffer.stop)
    assert seen.dropped > 0
    assert not seen.is_whole


def test_the_filter_has_room_for_every_port_of_a_large_platform() -> None:
    assert len(port_filter(list(range(20_000, 20_400)))) // 8 < 4096


async def _ask(port: int, *, secure: bool) -> None:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context if secure else None)
    writer.write(TALK)
    await writer.drain()
    assert await reader.read(100) == TALK
    writer.close()
