"""A host of several watches its outgoing connections: each leads to a place that `hosts.toml` declares."""

import asyncio
import logging
from datetime import datetime

import msgspec

from troth.core.clock import Clock
from troth.core.process import Endpoint
from troth.core.state import State
from troth.data.host_places import find_host_places
from troth.data.hosts import HostSet
from troth.data.residency_promise import Stray
from troth.hosting.outgoing import Lookout, Outgoing
from troth.wiring.residency import TROUBLE, Addresses, ResidencyReport, is_resolver

MOST = 100
"""Strays that are remembered."""

_log = logging.getLogger(__name__)


class HostResidency:
    """Samples in each round of its duty, and tells for some minutes what led astray."""

    def __init__(self, state: State, hosts: HostSet, clock: Clock) -> None:
        self._lookout, self._clock = Lookout(state.root), clock
        self._places = find_host_places(hosts)
        declared = (one for place in self._places for one in place.destinations)
        self._addresses = Addresses((one.host, one.port) for one in declared)
        self._strays: dict[tuple[str, str], Stray] = {}
        self._last: datetime | None = None
        self._looked = 0

    async def work(self) -> str:
        """One sample; a sentence when something new leads astray."""
        await self._addresses.refresh()
        found = await asyncio.to_thread(self._lookout.look, self._is_declared)
        self._last, self._looked = self._clock.now(), self._looked + 1
        if found:
            await self._addresses.refresh(at_once=True)  # a name may lead elsewhere since it was last asked
        fresh = [stray for one in found if not self._is_declared(one.remote) and (stray := self._note(one))]
        for stray in fresh:
            _log.error("undeclared destination: %s", stray)
        return "; ".join(f"undeclared destination: {one}" for one in fresh)

    def troubles(self) -> tuple[str, ...]:
        """A sentence for each stray destination of the last few minutes."""
        return tuple(f"undeclared destination: {one}" for one in self._recent())

    async def report(self) -> ResidencyReport:
        """For `troth status`."""
        return ResidencyReport(
            places=tuple(map(str, self._places)),
            looked=self._looked,
            last=self._last,
            undeclared=tuple(map(str, self._recent())),
        )

    def _recent(self) -> tuple[Stray, ...]:
        since = self._clock.now() - TROUBLE
        self._strays = {key: one for key, one in self._strays.items() if one.last > since}
        return tuple(self._strays.values())

    def _is_declared(self, place: Endpoint) -> bool:
        return self._addresses.knows(place) or is_resolver(place)

    def _note(self, one: Outgoing) -> Stray | None:
        """The stray, if it was not known."""
        now, key = self._clock.now(), (one.process, str(one.remote))
        known = self._strays.get(key)
        if known is not None:
            self._strays[key] = msgspec.structs.replace(known, last=now, pid=one.pid)
            return None
        if len(self._strays) >= MOST:
            self._strays.pop(min(self._strays, key=lambda old: self._strays[old].last))
        stray = Stray(
            process=one.process,
            pid=one.pid,
            protocol=one.protocol,
            address=str(one.remote),
            first=now,
            last=now,
        )
        self._strays[key] = stray
        return stray
