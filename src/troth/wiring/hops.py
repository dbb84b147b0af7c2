"""Every hop of the platform: which ports there are, what each has to speak, and a capture of what passes."""

import asyncio
from collections.abc import Awaitable, Callable

from troth.core.process import Endpoint
from troth.core.state import State
from troth.data.capture import Captured, Hop, Traffic
from troth.data.intrusion import Port
from troth.data.sniffing import Sniffer, may_capture
from troth.hosting import network
from troth.wiring.database import DatabasePart
from troth.wiring.services import ServicesPart

LEAST_SECONDS = 2.0
"""A capture lasts at least so long: Patroni and the health checks speak every second."""

MOST_PACKETS = 200_000
"""The capture of a platform under load ends by itself after these, a few seconds' worth."""


class PrivateHops:
    """Knows the ports by their parts, and those that the platform listens on without being known."""

    def __init__(self, state: State, database: DatabasePart, services: ServicesPart) -> None:
        self._state = state
        self._database = database
        self._services = services

    async def ports(self) -> tuple[Port, ...]:
        """The private ports that answer now, and whatever else a process of the platform listens on."""
        secure = (*self._database.ports(), *self._services.ports())
        databases = self._database.replicas.members
        known = (
            *(Port(name, endpoint, "https") for name, endpoint in secure),
            *(Port(f"{one.name} PostgreSQL", one.postgres, "postgres") for one in databases),
        )
        return (*known, *await self._undeclared())

    async def captured(self, visit: Callable[[], Awaitable[None]]) -> Captured | None:
        """What passed on every hop during a visit; None without the right to capture."""
        if not await asyncio.to_thread(may_capture):
            return None
        strange = await self._undeclared()
        hops = (*self.declared(), *(Hop(one.name, one.endpoint.port) for one in strange))
        ports = {hop.port for hop in hops}
        # In a network of its own the platform reaches the edge over a cable.
        apart = self._services.network.apart
        sniffer = Sniffer(Traffic(hops), ports, most=MOST_PACKETS, everywhere=apart)
        try:
            await asyncio.gather(visit(), asyncio.sleep(LEAST_SECONDS))
        finally:
            captured = await asyncio.to_thread(sniffer.stop)
        return captured

    def declared(self) -> tuple[Hop, ...]:
        """Every port of the platform and what it has to speak, the public ones included."""
        face = self._services.face
        secure = (*self._database.ports(), *self._services.places())
        return (
            Hop("public edge", face.https_port),
            Hop("redirect to HTTPS", face.http_port, "redirect"),
            *(Hop(name, endpoint.port) for name, endpoint in secure),
            *(
                Hop(f"{one.name} PostgreSQL", one.postgres.port, "postgres")
                for one in self._database.replicas.members
            ),
        )

    async def _undeclared(self) -> tuple[Port, ...]:
        """Where processes of the platform listen though nobody told them to."""
        # What passes the relay is on its way out of the platform, and no hop within it.
        declared = {hop.port for hop in self.declared()} | {self._services.network.relay_port}
        found = await asyncio.to_thread(network.listeners, self._state.root)
        strange = {
            one.endpoint.port: one
            for one in found
            if one.protocol == "tcp" and one.endpoint.port not in declared
        }
        return tuple(
            Port(f"{one.process} on port {port}", Endpoint("127.0.0.1", port), "https")
            for port, one in sorted(strange.items())
        )
