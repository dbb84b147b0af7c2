"""Taking packets off the loopback interface, as packet(7) allows to whoever holds CAP_NET_RAW.

The kernel drops what nobody fetches in time and counts it; a capture that lost a packet says so. Only
packets from or to the ports that were asked for leave the kernel.
"""

import ctypes
import os
import select
import socket
import struct
import threading
from collections.abc import Iterable

from troth.data.capture import Captured, Traffic
from troth.data.packets import read_packet

LOOPBACK = "lo"
BUFFER = 64 * 2**20
"""Bytes that may wait to be fetched; the kernel grants less to who may not administer the network."""

_EVERYTHING = 0x0003  # ETH_P_ALL
_SOL_PACKET, _STATISTICS, _IGNORE_OUTGOING = 263, 6, 23
_ATTACH_FILTER, _BUFFER_FORCED = 26, 33
_LONGEST = 1 << 18
_LOOK_SECONDS = 0.2

_LOAD_BYTE, _LOAD_HALF, _LOAD_HALF_AT_X, _LENGTH_TO_X = 0x30, 0x28, 0x48, 0xB1
_AND, _SHIFT_RIGHT, _IF_EQUAL, _RETURN = 0x54, 0x74, 0x15, 0x06
_TCP, _UDP = 6, 17


def may_capture() -> bool:
    """Whether this process may take packets off the wire."""
    try:
        _open().close()
    except PermissionError:
        return False
    return True


class Sniffer:
    """Feeds what passes on loopback, or `everywhere`, to `traffic` from a thread of its own, until `stop`.

    At most `most` packets are taken; the capture then ends by itself, and nothing that came later counts as
    lost. Raises PermissionError without CAP_NET_RAW.
    """

    def __init__(
        self,
        traffic: Traffic,
        ports: Iterable[int] | None,
        *,
        most: int = 1_000_000,
        everywhere: bool = False,
    ) -> None:
        self._traffic = traffic
        self._most = most
        self._stop = threading.Event()
        self._trouble: BaseException | None = None
        self._dropped = 0
        self._socket = _open()
        try:
            _prepare(self._socket, ports, everywhere)
        except BaseException:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def stop(self) -> Captured:
        """End the capture, with every packet that had arrived by now. Raises what ended the thread early."""
        self._stop.set()
        self._thread.join()
        self._socket.close()
        if self._trouble is not None:
            raise self._trouble
        return self._traffic.see(dropped=self._dropped)

    def _run(self) -> None:
        try:
            self._fetch()
        except BaseException as error:  # noqa: BLE001 - told by `stop`, in the thread that asked
            self._trouble = error

    def _fetch(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        buffer, taken = bytearray(_LONGEST), 0
        view = memoryview(buffer)
        while taken < self._most:
            if not poll.poll(0 if self._stop.is_set() else _LOOK_SECONDS * 1000):
                if self._stop.is_set():
                    break
                continue
            size, where = self._socket.recvfrom_into(buffer)
            taken += 1
            if where[0] == LOOPBACK and where[2] == socket.PACKET_OUTGOING:
                continue
            packet = read_packet(bytes(view[:size]))
            if packet is not None:
                self._traffic.take(packet)
        self._dropped = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8))[1]


def _open() -> socket.socket:
    """Deaf until it is bound: no packet comes before the filter stands. Without a link-layer header."""
    return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)


def _prepare(capture: socket.socket, ports: Iterable[int] | None, everywhere: bool) -> None:
    try:
        capture.setsockopt(socket.SOL_SOCKET, _BUFFER_FORCED, BUFFER)
    except PermissionError:
        capture.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    # On loopback the kernel shows each packet twice, as it leaves and as it arrives; on a cable only once.
    capture.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, int(not everywhere))
    if ports is not None:
        _attach(capture, port_filter(sorted(ports)))
    if everywhere:
        _bind_everywhere(capture)
    else:
        capture.bind((LOOPBACK, _EVERYTHING))


def _bind_everywhere(capture: socket.socket) -> None:
    """To every interface of the network that this process is in: struct sockaddr_ll with none (packet(7))."""
    address = struct.pack("=H2sI12x", socket.AF_PACKET, _EVERYTHING.to_bytes(2, "big"), 0)
    held = ctypes.create_string_buffer(address, len(address))
    if ctypes.CDLL(None, use_errno=True).bind(capture.fileno(), held, len(address)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _attach(capture: socket.socket, program: bytes) -> None:
    """struct sock_fprog (bpf(4)): the number of instructions, and where they lie."""
    held = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HP", len(program) // 8, ctypes.addressof(held))
    capture.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, described)


def port_filter(ports: list[int]) -> bytes:
    """Classic BPF: TCP and UDP over IPv4 and IPv6 with one of these ports at either end, whole packets."""
    four = _assembled(
        (_LOAD_BYTE, 9),
        *_is_transport(),
        (_LENGTH_TO_X, 0),  # X = 4 * (the low half of byte 0), the length of the header
        (_LOAD_HALF_AT_X, 0),
        *_any_of(ports),
        (_LOAD_HALF_AT_X, 2),
        *_any_of(ports),
        (_RETURN, 0),
    )
    six = _assembled(
        (_LOAD_BYTE, 6),
        *_is_transport(),
        (_LOAD_HALF, 40),
        *_any_of(ports),
        (_LOAD_HALF, 42),
        *_any_of(ports),
        (_RETURN, 0),
    )
    jump = struct.pack("HBBI", 0x05, 0, 0, len(four) // 8)  # always, over the program for IPv4
    version = _assembled((_LOAD_BYTE, 0), (_SHIFT_RIGHT, 4), (_IF_EQUAL, 4, 1, 0))
    return version + jump + four + six


def _is_transport() -> tuple[tuple[int, ...], ...]:
    return ((_IF_EQUAL, _TCP, 2, 0), (_IF_EQUAL, _UDP, 1, 0), (_RETURN, 0))


def _any_of(ports: list[int]) -> list[tuple[int, ...]]:
    """Accept when A is one of them: compare, and step over the acceptance when it is another."""
    return [one for port in ports for one in ((_IF_EQUAL, port, 0, 1), (_RETURN, _LONGEST))]


def _assembled(*instructions: tuple[int, ...]) -> bytes:
    """struct sock_filter: code, how far to jump when true and when false, operand."""
    padded = ((*one, 0, 0)[:4] if len(one) < 4 else one for one in instructions)
    return b"".join(struct.pack("HBBI", code, true, false, operand) for code, operand, true, false in padded)
