"""The watch over outgoing connections: every one must lead to a place that troth.toml declares."""

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from troth.core.clock import SystemClock
from troth.core.config import Settings
from troth.core.db import DatabaseTarget
from troth.core.errors import PlatformError
from troth.core.process import Endpoint
from troth.core.state import State
from troth.data.places import declared_destinations, find_places
from troth.data.residency_promise import STANDS, ResidencyView, Stray, WatchView
from troth.hosting.outgoing import Lookout, own_addresses
from troth.wiring.strays import Strays
from troth.wiring.trail import note

EVERY_SECONDS = 0.5
"""Between two samples: a connection that lives longer is seen."""

RESOLVE_SECONDS = 30.0
"""Between two questions for the addresses of the declared hosts; an unknown address asks at once."""

TROUBLE = timedelta(minutes=5)
"""How long the platform is called troubled after a stray was last seen; the promise is broken for longer."""

HOLD_SECONDS = 3600.0
"""For how long an address stays good after a name last led to it: connections outlive their records."""

_DNS_PORT = 53
_RESOLVERS = Path("/etc/resolv.conf")

_log = logging.getLogger(__name__)


class ResidencyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `troth status` shows."""

    places: tuple[str, ...]
    looked: int
    last: datetime | None
    undeclared: tuple[str, ...]


class Addresses:
    """What the declared hosts lead to, remembered for `HOLD_SECONDS` after the last answer that said so."""

    def __init__(self, hosts: Iterable[tuple[str, int]]) -> None:
        self._hosts = tuple(dict.fromkeys(hosts))
        self._seen: dict[Endpoint, float] = {}
        self._asked = -RESOLVE_SECONDS
        self._unanswered: tuple[str, ...] = ()

    def follow(self, hosts: Iterable[tuple[str, int]]) -> None:
        """Other hosts are declared from now on. What the former ones led to is remembered as ever:
        connections that are open end by themselves."""
        self._hosts, self._asked = tuple(dict.fromkeys(hosts)), -RESOLVE_SECONDS

    async def refresh(self, *, at_once: bool = False) -> None:
        """Ask for every host, unless that was done a moment ago. A name without an answer keeps its past."""
        now = time.monotonic()
        if now - self._asked < (1.0 if at_once else RESOLVE_SECONDS):
            return
        self._asked = now
        loop = asyncio.get_running_loop()
        answers = await asyncio.gather(
            *(loop.getaddrinfo(host, port, type=socket.SOCK_STREAM) for host, port in self._hosts),
            return_exceptions=True,
        )
        failed = [isinstance(answer, BaseException) for answer in answers]
        self._unanswered = tuple(host for (host, _), bad in zip(self._hosts, failed, strict=True) if bad)
        for answer in answers:
            if isinstance(answer, BaseException):
                continue
            for *_, address in answer:
                self._seen[Endpoint(str(ipaddress.ip_address(address[0])), int(address[1]))] = now
        self._seen = {place: at for place, at in self._seen.items() if now - at < HOLD_SECONDS}

    def known(self) -> tuple[Endpoint, ...]:
        """Everything that a declared host leads to, or led to a while ago."""
        return tuple(self._seen)

    def unanswered(self) -> tuple[str, ...]:
        """The hosts whose last question had no answer."""
        return tuple(self._unanswered)

    def knows(self, place: Endpoint) -> bool:
        """Whether a declared host leads there."""
        return place in self._seen


class Residency:
    """Samples in each round of its duty, and remembers what led astray."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        target: Callable[[str], DatabaseTarget],
        *,
        edge_ports: frozenset[int],
    ) -> None:
        self._lookout = Lookout(state.root)
        self._target = target
        self._edge_ports = edge_ports
        self._clock = SystemClock()
        self.places = find_places(settings)
        self._addresses = Addresses((one.host, one.port) for one in declared_destinations(settings))
        self._name_servers = frozenset(settings.dns.servers), settings.dns.port
        self._strays = Strays()
        self._planted: set[Endpoint] = set()
        self._since = self._clock.now()
        self._last_look: datetime | None = None
        self._looked = 0
        self._one_at_a_time = asyncio.Lock()

    def follow(self, settings: Settings) -> None:
        """Settings that were read again. Raises ConfigError as `find_places` does."""
        self.places = find_places(settings)
        self._addresses.follow((one.host, one.port) for one in declared_destinations(settings))
        self._name_servers = frozenset(settings.dns.servers), settings.dns.port

    async def work(self) -> str:
        """One sample; a sentence when something new leads astray."""
        await self._addresses.refresh()
        async with self._one_at_a_time:
            fresh = await self._sample()
        told = [one for one in fresh if _endpoint(one.address) not in self._planted]
        if told:
            await self._alarm(told)
        return "; ".join(f"undeclared destination: {one}" for one in told)

    async def troubles(self) -> tuple[str, ...]:
        """A sentence for each stray destination of the last few minutes, without those of a drill."""
        since = self._clock.now() - TROUBLE
        return tuple(
            f"undeclared destination: {one}"
            for one in self.watched().strays
            if one.last > since and _endpoint(one.address) not in self._planted
        )

    def watched(self) -> WatchView:
        """What was seen so far."""
        return WatchView(
            since=self._since,
            looked=self._looked,
            last=self._last_look,
            every=EVERY_SECONDS,
            strays=self._strays.since(self._clock.now() - STANDS),
        )

    async def report(self) -> "ResidencyReport":
        """For `troth status`."""
        watched = self.watched()
        return ResidencyReport(
            places=tuple(map(str, self.places)),
            looked=watched.looked,
            last=watched.last,
            undeclared=tuple(map(str, watched.strays)),
        )

    def view(self) -> ResidencyView:
        """For the probe: it looks once more by itself, so that it sees the present."""

        @asynccontextmanager
        async def look() -> AsyncGenerator[WatchView]:
            await self.work()
            yield self.watched()

        return ResidencyView(self.places, look, self._clock.now)

    @asynccontextmanager
    async def planted(self) -> AsyncGenerator[None]:
        """A connection of the keeper to an address that no place declares, for as long as the block lasts.

        It leads to an address of this machine itself, so that nothing is ever sent anywhere. Raises
        PlatformError on a machine that has no address but loopback.
        """
        address = next((one for one in sorted(own_addresses()) if _is_usable(one)), None)
        if address is None:
            raise PlatformError(
                "This machine has no address but loopback; an undeclared connection cannot be tried.",
                hint="Give it one: ip address add 192.0.2.1/32 dev lo",
            )
        with socket.create_server((address, 0)) as listener:
            place = Endpoint(address, int(listener.getsockname()[1]))
            self._planted.add(place)
            try:
                # Within this machine, and taken by the kernel at once: nothing here waits.
                with socket.create_connection((place.host, place.port), timeout=1.0):
                    yield
            finally:
                async with self._one_at_a_time:  # a sample that saw it still must not bring it back
                    self._strays.forget(_told(place))
                    self._planted.discard(place)

    async def _sample(self) -> list[Stray]:
        """Take one sample; returns the strays that were not known."""
        unknown = await asyncio.to_thread(self._lookout.look, self._is_declared)
        self._last_look, self._looked = self._clock.now(), self._looked + 1
        if unknown:
            # A name may lead elsewhere since it was last asked.
            await self._addresses.refresh(at_once=True)
        strays = (one for one in unknown if not self._is_declared(one.remote))
        noted = (self._strays.note(one, _told(one.remote), self._last_look) for one in strays)
        return [stray for stray in noted if stray is not None]

    def _is_declared(self, place: Endpoint) -> bool:
        if self._addresses.knows(place) or self._is_name_server(place):
            return True
        # The probes visit the edge at its public address, which is one of this machine's own.
        return place.port in self._edge_ports and place.host in own_addresses()

    def _is_name_server(self, place: Endpoint) -> bool:
        servers, port = self._name_servers
        if place.host in servers and place.port == port:
            return True
        return is_resolver(place)

    async def _alarm(self, strays: list[Stray]) -> None:
        """Into the trail, where `troth status` counts it. Without a leader the log has to do."""
        for one in strays:
            _log.error("undeclared destination: %s", one)
        await note(self._target, "residency.undeclared", strays)


def is_resolver(place: Endpoint) -> bool:
    """Whether a name server of this machine answers there."""
    return place.port == _DNS_PORT and place.host in system_resolvers()


def system_resolvers(file: Path = _RESOLVERS) -> frozenset[str]:
    """The name servers that this machine asks (resolv.conf(5))."""
    try:
        lines = file.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    rows = (line.split() for line in lines)
    return frozenset(row[1] for row in rows if len(row) > 1 and row[0] == "nameserver")


def _is_usable(text: str) -> bool:
    address = ipaddress.ip_address(text)
    return address.version == 4 and not address.is_loopback and not address.is_link_local


def _told(place: Endpoint) -> str:
    return f"[{place.host}]:{place.port}" if ":" in place.host else str(place)


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    return Endpoint(host.strip("[]"), int(port))
