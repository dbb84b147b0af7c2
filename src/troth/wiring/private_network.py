"""The private network as a part of the platform: the cable, what may pass over it, and the relay outwards."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import islice
from pathlib import Path

import msgspec

from troth.core.config import Settings
from troth.core.network_checks import is_address
from troth.core.process import Endpoint, ProcessSpec
from troth.core.state import State
from troth.data.places import declared_destinations
from troth.hosting import isolation, network
from troth.hosting.firewall.nft import find_program
from troth.hosting.plan import Duty, Step, Tell
from troth.hosting.ports import PublicPorts, private_ports, public_ports
from troth.hosting.private_network import cable, crossing, door, looking, relay
from troth.hosting.private_network.rules import (
    Link,
    NameServer,
    Side,
    choose_link,
    render,
    render_doors,
    render_reached,
)
from troth.hosting.promises import Answering
from troth.hosting.supervisor import Supervised, Supervisor
from troth.wiring.firewall import public_addresses
from troth.wiring.residency import Addresses, system_resolvers
from troth.wiring.resuming import PortBook
from troth.wiring.waiting import until

EVERY_SECONDS = 5.0
"""Between two looks at what the declared names lead to; each is asked for every 30 seconds."""

FIRST_SECONDS = 1.0
"""For the first look, which the start waits for."""

_TO_CROSS, _TO_LET_GO = ("sys_admin",), ("setpcap",)
"""Capabilities: to enter another network (setns(2)), and to give capabilities up for good."""

_DNS_PORT = 53
_MOST_NAME_SERVERS = 8


class Doors(msgspec.Struct, frozen=True):
    """TCP ports that one side of the cable offers the other."""

    at_instances: tuple[int, ...]
    at_edge: tuple[int, ...]


class NetworkReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `troth status` shows. `apart` or why not; what can be reached from the private side."""

    apart: bool
    why: str
    reached: tuple[str, ...] = ()
    name_servers: tuple[str, ...] = ()


class PrivateNetwork:
    """Made by the keeper on whichever side it stands; without a private network it does nothing."""

    def __init__(self, settings: Settings, state: State, supervisor: Supervisor, why_not: str = "") -> None:
        self._settings = settings
        self._state = state
        self._supervisor = supervisor
        self.why_not = why_not
        self.apart = crossing.is_private(state)
        self._public = crossing.public(state)
        self._link: Link | None = None
        self._names: tuple[NameServer, ...] = ()
        self._name_ports: tuple[int, ...] = ()
        self._doors = Doors((), ())
        self._renewing = False
        self._declared = declared_destinations(settings)
        self._addresses = Addresses(self._named())
        self._reached: tuple[tuple[str, int], ...] = ()
        self._relay: Supervised | None = None
        self.relay_port = 0

    @property
    def link(self) -> Link | None:
        """The two ends of the cable; None without one."""
        return self._link

    def ports(self, book: PortBook) -> tuple[PublicPorts, Iterator[int]]:
        """The edge's public ports, and free private ones without end. They are looked for in this machine's
        network too: a private port that somebody else serves there could not be told from an open door."""
        edge = self._settings.edge
        with crossing.inside(self._public):
            ports = book.public(lambda: public_ports(edge.address, edge.https_port, edge.http_port))
        private = book.private(lambda taken: self._free(private_ports(taken | {ports.https, ports.http})))
        if self.apart:
            self.relay_port = next(private)
            # So many each time: a later keeper is given the same ports in the same order.
            self._name_ports = tuple(islice(private, _MOST_NAME_SERVERS))
            self._names = self._find_names()
        return ports, private

    def steps(self, doors: Callable[[], Doors]) -> tuple[Step, ...]:
        """What comes before everything else."""
        if not self.apart:
            return ()

        async def start(tell: Tell) -> str:
            return await self._start(doors(), tell)

        return (Step(name="network", title="Private network", start=start, stop=self._stop),)

    @property
    def names_of_steps(self) -> tuple[str, ...]:
        """For whoever must not start before."""
        return ("network",) if self.apart else ()

    def at_the_door(self, spec: ProcessSpec, ports: PublicPorts) -> ProcessSpec:
        """The edge, started with its public sockets in a network of its own; unchanged without one."""
        if not self.apart:
            return spec
        place = (str(self._public), str(self._edge), self._settings.edge.address)
        opened = (*place, str(ports.https), str(ports.http))
        first = (sys.executable, "-I", "-S", str(Path(door.__file__)), *opened)
        bare = isolation.bounded(self._supervisor.machine, spec.capabilities, spec.argv)
        held = (*spec.capabilities, *_TO_CROSS, *_TO_LET_GO)
        return msgspec.structs.replace(spec, argv=(*first, *bare), capabilities=held)

    def follow(self, settings: Settings, doors: Doors) -> None:
        """Settings that were read again: what they declare may be reached from now on, and what they no
        longer declare may not. Other name servers follow with the next look."""
        self._settings = settings
        if not self.apart or self._relay is None:
            return
        self._declared, self._doors = declared_destinations(settings), doors
        self._addresses.follow(self._named())
        self._reached = tuple(one for one in self._reached if one[1] in {port for _, port in self._named()})
        self._renewing = self._find_names() != self._names
        self._tell_relay()
        self._relay.send(signal.SIGHUP)
        self._set(render_reached(self._all(self._reached)))
        cable.set_rules(None, render_doors(doors.at_instances, doors.at_edge))
        cable.set_rules(self._edge, render_doors(doors.at_edge, doors.at_instances))

    def duties(self) -> tuple[Duty, ...]:
        """Following what the declared names lead to."""
        if not self.apart:
            return ()
        return (Duty(name="private network", every=EVERY_SECONDS, work=self.work),)

    async def work(self) -> str:
        """Open what a declared name has come to lead to, and close what none has led to for long."""
        if self._renewing:
            await self._renew()
        await self._addresses.refresh()
        reached = tuple(sorted((one.host, one.port) for one in self._addresses.known()))
        if reached == self._reached:
            return ""
        await asyncio.to_thread(self._set, render_reached(self._all(reached)))
        self._reached = reached
        return ""

    async def answering(self, ports: tuple[int, ...]) -> Answering:
        """Try private ports where they must not answer."""
        with crossing.inside(self._public):
            addresses = public_addresses(self._settings.edge.address)
        if not self.apart:
            return await network.answering(addresses, ports)
        return await looking.look(self._state, addresses, ports)

    @asynccontextmanager
    async def planted(self) -> AsyncGenerator[int]:
        """A private port is open in this machine's network as long as the block lasts; whoever connects is
        hung up on. Yields which one."""

        async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        with crossing.inside(self._public):
            listener = socket.create_server(("", self.relay_port))
        async with await asyncio.start_server(hang_up, sock=listener):
            yield self.relay_port

    async def report(self) -> NetworkReport:
        """For `troth status`."""
        return NetworkReport(
            apart=self.apart,
            why=self.why_not,
            reached=tuple(f"{host}:{port}" for host, port in sorted((*self._fixed(), *self._reached))),
            name_servers=tuple(str(one.place) for one in self._names),
        )

    async def _start(self, doors: Doors, tell: Tell) -> str:
        self._doors = doors
        self._link = choose_link(host for host, _ in self._all(()))
        spec = self._relay_spec()
        self._tell_relay()
        if self._supervisor.find_kept(spec) is None:
            await asyncio.to_thread(cable.lay, self._state, self._link)
            await asyncio.to_thread(self._set_sides, self._link)
        tell("waiting for the way out")
        self._relay = self._supervisor.start(spec)
        await until(self._relay_answers, what="The relay", log=self._log)
        with suppress(TimeoutError):
            # Name servers that do not answer hold nothing up: the relay reads every later answer of theirs.
            async with asyncio.timeout(FIRST_SECONDS):
                await self.work()
        return f"two networks of our own, {len(self._fixed()) + len(self._reached)} addresses can be reached"

    async def _stop(self) -> None:
        if self._relay is not None:
            await self._relay.stop()

    async def _renew(self) -> None:
        """Other name servers: the relay listens for them from its start on."""
        self._renewing, self._names = False, self._find_names()
        assert self._link is not None
        await self._stop()
        self._tell_relay()
        await asyncio.to_thread(self._set_sides, self._link)
        self._relay = self._supervisor.start(self._relay_spec())

    def _set_sides(self, link: Link) -> None:
        doors = self._doors
        private = Side(
            interface=cable.PRIVATE_END,
            own=link.private,
            other=link.edge,
            offered=doors.at_instances,
            asked=doors.at_edge,
            relay=self.relay_port,
            reached=self._all(()),
            names=self._names,
        )
        edge = msgspec.structs.replace(
            private,
            interface=cable.EDGE_END,
            own=link.edge,
            other=link.private,
            offered=doors.at_edge,
            asked=doors.at_instances,
        )
        cable.set_rules(None, render(private))
        cable.set_rules(self._edge, render(edge))

    def _set(self, transaction: str) -> None:
        cable.set_rules(None, transaction)
        cable.set_rules(self._edge, transaction)

    def _all(self, reached: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
        """Name servers are asked over TCP as well (RFC 7766)."""
        return (*reached, *self._fixed(), *((one.place.host, one.place.port) for one in self._names))

    @property
    def _edge(self) -> Path:
        return crossing.folder(self._state) / crossing.EDGE

    @property
    def _log(self) -> Path:
        return self._state.logs / "relay.log"

    def _relay_spec(self) -> ProcessSpec:
        return ProcessSpec(
            name="relay",
            argv=(
                *(sys.executable, "-I", "-m", relay.__name__, str(self._public), str(self.relay_port)),
                *(
                    str(self._told),
                    str(find_program("nft", "nftables")),
                    str(crossing.folder(self._state) / crossing.PRIVATE),
                ),
                str(self._edge),
            ),
            environment={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"},
            folder=self._state.run,
            log=self._log,
            capabilities=(*_TO_CROSS, "net_admin"),
            given=self._servers(),
        )

    @property
    def _told(self) -> Path:
        return self._state.run / "relay.told"

    def _servers(self) -> str:
        return "".join(f"server {one.place.host} {one.place.port} {one.port}\n" for one in self._names)

    def _tell_relay(self) -> None:
        names = "".join(f"name {host} {port}\n" for host, port in self._named())
        self._told.write_text(self._servers() + names)

    def _fixed(self) -> tuple[tuple[str, int], ...]:
        """What is declared by its address."""
        return tuple((one.host, one.port) for one in self._declared if is_address(one.host))

    def _named(self) -> tuple[tuple[str, int], ...]:
        return tuple((one.host, one.port) for one in self._declared if not is_address(one.host))

    def _find_names(self) -> tuple[NameServer, ...]:
        return tuple(map(NameServer, _name_servers(self._settings), self._name_ports))

    async def _relay_answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.relay_port)
        except OSError:
            return False
        writer.transport.abort()
        return True

    def _free(self, ports: Iterator[int]) -> Iterator[int]:
        while True:
            with crossing.inside(self._public):
                port = next(ports)
            yield port


def _name_servers(settings: Settings) -> tuple[Endpoint, ...]:
    declared = {Endpoint(one, settings.dns.port) for one in settings.dns.servers}
    declared |= {Endpoint(one, _DNS_PORT) for one in system_resolvers()}
    usable = sorted((one for one in declared if is_address(one.host)), key=str)
    return tuple(islice(usable, _MOST_NAME_SERVERS))
