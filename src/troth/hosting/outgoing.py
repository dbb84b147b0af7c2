"""Which connections the platform's own processes have opened to somewhere else, by the kernel's word.

Sampled, as nothing that reports each connection works without root: a connection that opens and closes
between two samples is not seen (docs/decisions/residency.md).
"""

import ipaddress
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import psutil

from troth.core.process import Endpoint
from troth.core.state import State
from troth.hosting import processes, sock_diag
from troth.hosting.network import parse_address
from troth.hosting.private_network import crossing

_LISTEN = "0A"
_CONNECTED = frozenset({"01", "02", "04", "05", "08", "09", "0B"})
"""Established, being opened (SYN_SENT), or being closed while a process still holds it (tcp_states.h)."""

_NOBODYS = "0"
"""The number of a socket that no process holds any more, or that none has accepted yet."""

KNOWN_SECONDS = 5.0
"""How long it is remembered whose a socket is."""

_TABLES = ("tcp", "tcp6", "udp", "udp6")

# The kernel prints words in (little-endian) host order.
_V4_DIGITS = 8
_V6_LOOPBACK = "00000000000000000000000001000000"
_MAPPED = "0000000000000000FFFF0000"


class Outgoing(msgspec.Struct, frozen=True):
    """A connection that a process of the platform opened: its program and number, and where it leads."""

    process: str
    pid: int
    protocol: str
    remote: Endpoint


class Connection(msgspec.Struct, frozen=True):
    """Where a connection leads, and the number of its socket."""

    protocol: str
    remote: Endpoint
    inode: str


class Lookout:
    """Samples what the platform on a state folder has opened to outside of this machine's loopback.

    Cheap while there is nothing: whose a socket is is looked up only for one that leads to where nobody
    declared, and then remembered for a while, for a search goes through every process of the machine.
    """

    def __init__(self, state: Path, ticks: Callable[[], float] = time.monotonic) -> None:
        self._state, self._ticks = state, ticks
        self._known: dict[str, _Holder] = {}

    def look(self, is_declared: Callable[[Endpoint], bool]) -> tuple[Outgoing, ...]:
        """The connections of the platform's processes to places that are not declared."""
        rows = _everywhere(State(self._state))
        strange = [row for row in rows if row.inode != _NOBODYS and not is_declared(row.remote)]
        now = self._ticks()
        known = {row.inode: held for row in strange if (held := self._known.get(row.inode)) is not None}
        self._known = known
        if any(row.inode not in known or known[row.inode].is_stale(now) for row in strange):
            self._search([row.inode for row in strange], now)
        return tuple(
            Outgoing(_program(pid), pid, row.protocol, row.remote)
            for row in strange
            if (pid := self._known[row.inode].pid) is not None
        )

    def _search(self, inodes: Iterable[str], now: float) -> None:
        own = {*processes.marked(processes.prefix(self._state)), *_below_this_process()}
        holders = {inode: one.pid for one in own for inode in _sockets(one.pid)}
        for inode in inodes:
            before = self._known.get(inode)
            times = before.times + 1 if before is not None else 1
            self._known[inode] = _Holder(holders.get(inode), now, times)


class _Holder(msgspec.Struct, frozen=True):
    """Who held a socket when that was last looked up, for which time; None: no process of the platform's."""

    pid: int | None
    at: float
    times: int

    def is_stale(self, now: float) -> bool:
        # Looked for once, a process that had just begun may have been missed.
        return now - self.at >= KNOWN_SECONDS or (self.pid is None and self.times == 1)


def outgoing(state: Path) -> tuple[Outgoing, ...]:
    """All of them at this moment, wherever they lead."""
    return Lookout(state).look(lambda _: False)


def _everywhere(state: State) -> Iterable[Connection]:
    """In this process's network, and where the platform has networks of its own in each of them."""
    found = list(_leaving())
    for path in crossing.others(state):
        with crossing.inside(path):
            found += _leaving()
    return found


def _leaving() -> Iterable[Connection]:
    try:
        return _opened(sock_diag.leading_away())
    except OSError:  # a kernel without it, or whoever contains us does not let us ask
        return leading_away([(name.removesuffix("6"), _read(name)) for name in _TABLES])


def _opened(rows: tuple[sock_diag.Row, ...]) -> tuple[Connection, ...]:
    """Without what was accepted; who listens is asked only when there is anything at all."""
    listening = sock_diag.listening_ports() if rows else frozenset[tuple[str, int]]()
    return tuple(
        Connection(row.protocol, row.remote, row.inode)
        for row in rows
        if (row.protocol, row.port) not in listening
    )


def own_addresses() -> frozenset[str]:
    """Every address of this machine: what is sent to one of them does not leave it."""
    found = {one.address.partition("%")[0] for every in psutil.net_if_addrs().values() for one in every}
    return frozenset(address for address in found if _is_address(address))


def leading_away(tables: Iterable[tuple[str, str]]) -> tuple[Connection, ...]:
    """Pure: the connections to somewhere else that were opened here; `tables` are the kernel's (proc(5)),
    each with its protocol.

    Whoever was accepted has the port of a listener on our side; a datagram socket without a peer leads
    nowhere. Of the many rows of a busy machine only those that lead away are read in full.
    """
    rows = [(protocol, line.split()) for protocol, text in tables for line in text.splitlines()[1:]]
    listening = {(protocol, row[1].rpartition(":")[2]) for protocol, row in rows if row[3] == _LISTEN}
    return tuple(
        Connection(protocol, parse_address(row[2]), row[9])
        for protocol, row in rows
        if row[3] in _CONNECTED
        and not row[2].endswith(":0000")
        and not _leads_back(row[2])
        and (protocol, row[1].rpartition(":")[2]) not in listening
    )


def _leads_back(address: str) -> bool:
    """Whether `0100007F:1F90` is loopback: 127.0.0.0/8, as such or mapped into IPv6, or ::1."""
    digits = address.partition(":")[0]
    if len(digits) == _V4_DIGITS or digits.startswith(_MAPPED):
        return digits.endswith("7F")
    return digits == _V6_LOOPBACK


def _below_this_process() -> tuple[processes.Process, ...]:
    return processes.descendants({os.getpid()}, processes.everything())


def _read(name: str) -> str:
    try:
        return (crossing.OWN / "net" / name).read_text()
    except OSError:  # a kernel without IPv6
        return ""


def _sockets(pid: int) -> Iterable[str]:
    folder = f"/proc/{pid}/fd"
    try:
        entries = os.listdir(folder)  # noqa: PTH208 - half the time
    except OSError:
        return
    for entry in entries:
        try:
            link = os.readlink(f"{folder}/{entry}")  # noqa: PTH115 - likewise
        except OSError:
            continue
        if link.startswith("socket:["):
            yield link[8:-1]


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
