"""The firewall as a part of the platform: its policy from troth.toml, the keeper's watch, the probe."""

import asyncio
import getpass
import ipaddress
import logging
import os
import socket
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import msgspec

from troth.core.clock import SystemClock
from troth.core.config import Settings
from troth.core.db import DatabaseTarget
from troth.core.errors import TrothError
from troth.core.network_checks import is_address, split_target
from troth.core.process import Endpoint
from troth.core.promise import Drill, Probe
from troth.core.state import State
from troth.data.places import declared_destinations
from troth.hosting import control
from troth.hosting.firewall import changing, promise, visiting
from troth.hosting.firewall.nft import Nft
from troth.hosting.firewall.rules import Opened, Policy, Reached
from troth.hosting.network import every_listener
from troth.hosting.outgoing import own_addresses
from troth.hosting.ports import PublicPorts
from troth.hosting.private_network import crossing
from troth.wiring.residency import Addresses, system_resolvers
from troth.wiring.trail import note

EVERY_SECONDS = 5.0
"""Between two looks at the rules in force: how long a change of them lasts."""

TROUBLE = timedelta(minutes=5)
"""How long the platform is called troubled after rules had to be put back."""

DRIFTED = "firewall.drift"
"""The event of the trail."""

_RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
_DNS_PORT, _NTP_PORT = 53, 123
_MOST_ADDRESSES = 4
_STATUS_SECONDS = 10.0

_log = logging.getLogger(__name__)


class FirewallReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `troth status` shows: since when rules are confirmed, when they were last looked at, and how often
    they had to be put back since this keeper started."""

    confirmed: datetime | None
    last: datetime | None
    put_back: int
    watched: bool


def policy_of(settings: Settings, ports: PublicPorts) -> Policy:
    """What troth.toml and this machine's name servers ask for. Raises ConfigError as the places do."""
    firewall = settings.firewall
    servers = {Endpoint(one, settings.dns.port) for one in settings.dns.servers}
    servers |= {Endpoint(one, _DNS_PORT) for file in _RESOLVERS for one in system_resolvers(file)}
    reached = {Reached(one.host, one.port, one.why) for one in declared_destinations(settings)}
    for text in firewall.outgoing:
        target = split_target(text)
        assert target is not None, "checked when troth.toml was read"
        reached.add(Reached(*target, "what this machine fetches"))
    return Policy(
        tcp=(ports.http, ports.https),
        udp=(ports.https,),
        ssh_port=firewall.ssh_port,
        administrators=firewall.administrators,
        name_servers=tuple(sorted((one for one in servers if _leaves(one.host)), key=str)),
        time_servers=firewall.time_servers,
        reached=tuple(sorted(one for one in reached if _leaves(one.host))),
        connections=firewall.connections,
    )


def present_ports(settings: Settings, state: State) -> PublicPorts:
    """The edge's ports: those of the platform that runs on this state folder, else those of troth.toml."""
    try:
        answer = control.ask(state.control, {"do": "status"}, seconds=_STATUS_SECONDS)
    except TrothError:
        answer = {}
    edge = answer.get("edge")
    if isinstance(edge, dict):
        held = cast("dict[str, object]", edge)
        https, http = held.get("https_port"), held.get("http_port")
        if isinstance(https, int) and isinstance(http, int):
            return PublicPorts(https, http)
    return PublicPorts(settings.edge.https_port or 443, settings.edge.http_port or 80)


class Names:
    """What the names of a policy lead to, remembered for a while (`Addresses`)."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._networks = tuple((one.host, one.port) for one in policy.reached if _is_network(one.host))
        named = [(one.host, one.port) for one in policy.reached if not _is_network(one.host)]
        self._reached = Addresses(named)
        self._time = Addresses((host, _NTP_PORT) for host in policy.time_servers)

    async def opened(self) -> Opened:
        """Ask the name servers, unless that was done a moment ago."""
        await asyncio.gather(self._reached.refresh(), self._time.refresh())
        reached = {*self._networks, *((one.host, one.port) for one in self._reached.known())}
        return Opened(tuple(sorted(reached)), tuple(sorted(one.host for one in self._time.known())))

    def unanswered(self) -> tuple[str, ...]:
        """The names that lead nowhere now: nothing is opened for them."""
        return tuple(sorted({*self._reached.unanswered(), *self._time.unanswered()}))


def resolve(policy: Policy) -> Opened:
    """The same for a verb, which asks once."""
    return asyncio.run(Names(policy).opened())


class Firewall:
    """Looks after the confirmed rules while the platform runs as root; elsewhere it only says what to do."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        target: Callable[[str], DatabaseTarget],
        ports: PublicPorts,
    ) -> None:
        self._settings = settings
        self._state = state
        self._target = target
        self._ports = ports
        self._clock = SystemClock()
        self._names: Names | None = None
        self._drifted: datetime | None = None
        self._last: datetime | None = None
        self._put_back = 0
        self._stale = False
        self._one_at_a_time = asyncio.Lock()
        self._public, self._before = crossing.public(state), crossing.before(state)

    def follow(self, settings: Settings) -> None:
        """Settings that were read again: whether the rules in force are what they ask for."""
        self._settings = settings

    @property
    def enforced(self) -> bool:
        """Whether there are confirmed rules that this keeper can look after."""
        return os.geteuid() == 0 and changing.read_record(self._state).confirmed is not None

    async def work(self) -> str:
        """One look at the rules in force; what is not as confirmed is put back, and a sentence says so."""
        if not self.enforced:
            return ""
        async with self._one_at_a_time:
            changed = await self._repair()
        if changed != "drift":
            return ""
        self._put_back += 1
        self._drifted = self._clock.now()
        _log.error("the firewall's rules had been changed; they were put back")
        await note(self._target, DRIFTED, ({},))
        return "the firewall's rules were not those that were confirmed; they were put back"

    async def troubles(self) -> tuple[str, ...]:
        """A sentence for rules that had to be put back, or that are not what troth.toml asks for."""
        found: list[str] = []
        if self._drifted is not None and self._clock.now() - self._drifted < TROUBLE:
            found.append("the firewall's rules had been changed and were put back")
        if self._stale:
            found.append("the firewall is not what troth.toml asks for now: troth firewall apply")
        return tuple(found)

    async def report(self) -> FirewallReport:
        """For `troth status`."""
        record = changing.read_record(self._state)
        return FirewallReport(
            confirmed=record.at, last=self._last, put_back=self._put_back, watched=self.enforced
        )

    def probe(self) -> Probe:
        """The probe of hosting.firewall."""
        return promise.probe(self.view())

    def drills(self) -> tuple[Drill, ...]:
        """Its drill, where there is something to break."""
        return promise.drills(self.view(), self.enforced, self.planted)

    def view(self) -> promise.FirewallView:
        """For the probe: the rules as they are now, and a look from outside."""
        return promise.FirewallView(_hidden(self._state), self._look)

    @asynccontextmanager
    async def planted(self) -> AsyncGenerator[None]:
        """One more port is open to the world, and a listener there that says nothing. The keeper does not put
        the rules back before the block is left; should it die, the next one does."""
        async with self._one_at_a_time:
            nft = Nft.find(self._before)
            with crossing.inside(self._public):
                listener = socket.create_server(("", 0))
            with listener:
                port = int(listener.getsockname()[1])
                await asyncio.to_thread(nft.run, f"insert rule inet troth input tcp dport {port} accept\n")
                try:
                    yield
                finally:
                    await self._repair()

    async def _repair(self) -> str:
        record = changing.read_record(self._state)
        if record.confirmed is None:
            return ""
        if self._names is None or self._names.policy != record.confirmed:
            self._names = Names(record.confirmed)
        opened = await self._names.opened()
        changed = await asyncio.to_thread(changing.repair, opened, Nft.find(self._before), self._state)
        self._stale = policy_of(self._settings, self._ports) != record.confirmed
        self._last = self._clock.now()
        return changed

    async def _look(self) -> promise.Seen:
        nft, record = Nft.find(self._before), changing.read_record(self._state)
        standing = await asyncio.to_thread(look, nft, self._state, time.time())
        scans: tuple[visiting.Scan, ...] = ()
        if standing.condition in ("in force", "different", "missing") and record.confirmed is not None:
            with crossing.inside(self._public):
                listening, addresses = every_listener(), public_addresses(self._settings.edge.address)
            again = tuple(sorted({one.port for one in listening if one.port} | set(record.confirmed.tcp)))
            scans = await visiting.scan(addresses, again, record.confirmed.administrators, self._before)
        return promise.Seen(standing, record.confirmed.tcp if record.confirmed else (), scans)


def look(nft: Nft, state: State, now: float) -> changing.Standing:
    """How the filter stands. Raises PlatformError where it may not be seen."""
    record = changing.read_record(state)
    expected = nft.expected(changing.bare(record.confirmed)) if record.confirmed is not None else []
    return changing.stand(record, nft.ruleset(), expected, now)


def public_addresses(edge: str) -> tuple[str, ...]:
    """The addresses of this machine that strangers may try: the edge's own, or all when it listens on all."""
    bound = ipaddress.ip_address(edge)
    if not bound.is_unspecified and not bound.is_loopback:
        return (edge,)
    found = (ipaddress.ip_address(one) for one in own_addresses())
    usable = [one for one in found if not one.is_loopback and not one.is_link_local]
    return tuple(str(one) for one in sorted(usable, key=lambda one: (one.version, one)))[:_MOST_ADDRESSES]


def _hidden(state: State) -> str:
    """Why this process cannot see the filter, and what to do; empty when it can."""
    if os.geteuid() != 0:
        return (
            f"The packet filter is root's, and this platform runs as {getpass.getuser()}. "
            "As root: troth firewall apply --state FOLDER, with a folder of root's."
        )
    try:
        Nft.find()
        changing.read_record(state)
    except TrothError as error:
        return f"{error.public} {getattr(error, 'hint', '')}".strip()
    return ""


def _leaves(host: str) -> bool:
    """Whether a name or an address leads out of this machine; loopback is open in any case."""
    if host == "localhost":
        return False
    return not (is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_network(host: str) -> bool:
    try:
        ipaddress.ip_network(host)
    except ValueError:
        return False
    return True
