"""A host of several watches its outgoing connections: each leads to a place that `hosts.toml` declares."""

import asyncio
import logging
from datetime import datetime

from troth.core.clock import Clock
from troth.core.process import Endpoint
from troth.core.state import State
from troth.data.host_places import find_host_places
from troth.data.hosts import HostSet
from troth.data.residency_promise import Stray
from troth.hosting.outgoing import Lookout
from troth.wiring.residency import TROUBLE, Addresses, ResidencyReport, is_resolver
from troth.wiring.strays import Strays

"""Strays that are remembered."""

_log = logging.getLogger(__name__)


class HostResidency:
    """Samples in each round of its duty, and tells for some minutes what led astray."""

    def __init__(self, state: State, hosts: HostSet, clock: Clock) -> None:
        self._lookout, self._clock = Lookout(state.root), clock
        self._places = find_host_places(hosts)
        declared = (one for place in self._places for one in place.destinations)
        self._addresses = Addresses((one.host, one.port) for one in declared)
        self._strays = Strays()
        self._last: datetime | None = None
        self._looked = 0

    async def work(self) -> str:
        """One sample; a sentence when something new leads astray."""
        await self._addresses.refresh()
        found = await asyncio.to_thread(self._lookout.look, self._is_declared)
        self._last, self._looked = self._clock.now(), self._looked + 1
        if found:
            await self._addresses.refresh(at_once=True)  # a name may lead elsewhere since it was last asked
        strays = (one for one in found if not self._is_declared(one.remote))
        noted = (self._strays.note(one, str(one.remote), self._last) for one in strays)
        fresh = [stray for stray in noted if stray is not None]
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
        return self._strays.since(self._clock.now() - TROUBLE)

    def _is_declared(self, place: Endpoint) -> bool:
        return self._addresses.knows(place) or is_resolver(place)
