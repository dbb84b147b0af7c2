"""Which sockets the platform listens on, read from /proc: the ground for saying what is public."""

import asyncio
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from troth.core.process import Endpoint
from troth.core.state import State
from troth.hosting import processes
from troth.hosting.private_network import crossing
from troth.hosting.promises import Answering, Listener

_LISTEN = "0A"
_UNCONNECTED = "07"
_TABLES = (("tcp", _LISTEN), ("tcp6", _LISTEN), ("udp", _UNCONNECTED), ("udp6", _UNCONNECTED))

_ANSWER_SECONDS = 2.0
"""Within this machine a port answers, or refuses, at once."""

_AT_ONCE = 50


def listeners(state: Path) -> tuple[Listener, ...]:
    """Every listening TCP socket and bound UDP socket of the platform on this state folder."""
    owners = _owners(processes.marked(processes.prefix(state)))
    apart = crossing.is_private(State(state))
    mine = (
        Listener(owners[inode], protocol, place, (side or "private") if apart else "")
        for side, tables in crossing.tables(State(state), dict(_TABLES))
        for protocol, place, inode in _rows(tables, _TABLES)
        if inode in owners
    )
    return tuple(sorted(mine, key=lambda one: (one.process, one.endpoint.port, one.protocol, one.side)))


def every_listener() -> tuple[Endpoint, ...]:
    """Every listening TCP socket of the network that the calling thread is in, whosever it is."""
    names = dict(_TABLES[:2])
    return tuple(place for _, place, _ in _rows(crossing.own_tables(names), _TABLES[:2]))


async def answering(addresses: tuple[str, ...], ports: tuple[int, ...]) -> Answering:
    """Connect to each port at each address, side by side: who answers there, whatever listens on loopback."""
    places = [Endpoint(address, port) for address in addresses for port in ports]
    limit = asyncio.Semaphore(_AT_ONCE)
    answers = await asyncio.gather(*(_answers(place, limit) for place in places))
    return Answering(addresses, tuple(place for place, yes in zip(places, answers, strict=True) if yes))


async def _answers(place: Endpoint, limit: asyncio.Semaphore) -> bool:
    async with limit:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                _, writer = await asyncio.open_connection(place.host, place.port)
        except (OSError, TimeoutError):
            return False
        writer.transport.abort()
        return True


def parse_table(text: str, wanted: str) -> tuple[tuple[Endpoint, str], ...]:
    """Pure: the rows of /proc/net/tcp and its like (proc(5)) in one state, as endpoint and socket inode."""
    rows = (line.split() for line in text.splitlines()[1:])
    return tuple((parse_address(row[1]), row[9]) for row in rows if row[3] == wanted)


def parse_address(text: str) -> Endpoint:
    """Pure: `0100007F:1F90` is 127.0.0.1:8080; the kernel prints words in (little-endian) host order."""
    digits, _, port = text.partition(":")
    words = (bytes.fromhex(digits[start : start + 8])[::-1] for start in range(0, len(digits), 8))
    address = ipaddress.ip_address(b"".join(words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return Endpoint(str(mapped or address), int(port, 16))


def _rows(tables: dict[str, str], wanted: tuple[tuple[str, str], ...]) -> Iterable[tuple[str, Endpoint, str]]:
    for name, condition in wanted:
        for place, inode in parse_table(tables.get(name, ""), condition):
            yield name.removesuffix("6"), place, inode


def _owners(found: tuple[processes.Process, ...]) -> dict[str, str]:
    """Socket inode → program name."""
    return {inode: _program(process.pid) for process in found for inode in _sockets(process.pid)}


def _sockets(pid: int) -> Iterable[str]:
    folder = Path(f"/proc/{pid}/fd")
    try:
        links = [_link(entry) for entry in folder.iterdir()]
    except OSError:
        return ()
    return (link[8:-1] for link in links if link.startswith("socket:["))


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"
