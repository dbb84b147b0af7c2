"""What may pass at one end of the cable, as the text of one transaction of nft(8): a pure function.

Addresses stay those of loopback. What one side calls at 127.0.0.1 and the other side offers is led over the
cable and arrives there at 127.0.0.1 again, so that no certificate and no configuration knows of the cable.
What is declared in troth.toml is led to a relay, which connects from this machine's network; whatever else
wants out is refused at once.
"""

import ipaddress
from collections.abc import Iterable, Sequence

import msgspec

from troth.core.errors import ConfigError
from troth.core.process import Endpoint

FAMILY, TABLE = "inet", "troth"

REFUSED, DROPPED = "refused", "dropped"
"""The comments of the counters: what wanted out, and what came over the cable unasked."""

HELD = "1h"
"""How long an address stays open that the relay saw a declared name lead to (relay.py)."""

_FOR_A_WHILE = f"flags timeout; timeout {HELD}; size 65535;"

_TARGET, _FILTER, _SOURCE = -100, 0, 100
"""Priorities (nft(8)): where packets are given another target, filtered, and given another sender."""

_CANDIDATES = ("192.0.2.244/30", "198.51.100.244/30", "203.0.113.244/30")
"""Networks that belong to nobody (RFC 5737). Only the two ends ever see them."""

_LINK_6 = "fd74:726f:7468:1::"
"""Unique local (RFC 4193): without an address of their own, nothing would even try IPv6 destinations."""


class Link(msgspec.Struct, frozen=True):
    """The addresses of the two ends of the cable; `size` is the length of their network's prefix."""

    private: str
    edge: str
    size: int = 30

    @property
    def private6(self) -> str:
        return f"{_LINK_6}2"

    @property
    def edge6(self) -> str:
        return f"{_LINK_6}1"


class NameServer(msgspec.Struct, frozen=True):
    """Whom names are asked of, and the port on loopback where the relay takes questions to it."""

    place: Endpoint
    port: int


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One end of the cable: its interface, its address and the other's.

    The other side may reach the TCP ports `offered` here, this side those `asked` there. What leads to
    `reached` (networks and TCP ports) is led to the relay's port `relay`, datagrams to each of `names` to
    the port beside it.
    """

    interface: str
    own: str
    other: str
    offered: tuple[int, ...]
    asked: tuple[int, ...]
    relay: int
    reached: tuple[tuple[str, int], ...] = ()
    names: tuple[NameServer, ...] = ()


def choose_link(declared: Iterable[str]) -> Link:
    """The first network of nobody's in which nothing declared lies: that would be on the cable. Raises
    ConfigError when something lies in each."""
    taken = [ipaddress.ip_network(one) for one in declared]
    for text in _CANDIDATES:
        network = ipaddress.IPv4Network(text)
        if not any(isinstance(one, ipaddress.IPv4Network) and one.overlaps(network) for one in taken):
            return Link(private=str(network[2]), edge=str(network[1]), size=network.prefixlen)
    raise ConfigError(
        f"Declared destinations lie in {', '.join(_CANDIDATES)}, which belong to nobody (RFC 5737).",
        key="network.private",
        hint='Take one of them out, or do without a network of our own: private = "loopback".',
    )


def render(side: Side) -> str:
    """The transaction that puts these rules in the place of whatever our table held."""
    cable = side.interface
    lines = [
        f"add table {FAMILY} {TABLE}",
        f"delete table {FAMILY} {TABLE}",
        f"table {FAMILY} {TABLE} {{",
        _ports("offered", side.offered),
        _ports("asked", side.asked),
        _set("reached4", 4, side.reached),
        _set("reached6", 6, side.reached),
        *(f"set learned{one} {{ {_kind(one)}; {_FOR_A_WHILE} }}" for one in (4, 6)),
        *_chain("led", "nat", "output", _TARGET, _led(side)),
        *_chain("leaving", "nat", "postrouting", _SOURCE, [f'oifname "{cable}" snat ip to {side.own}']),
        *_chain("arriving", "nat", "prerouting", _TARGET, _taken_in(side)),
        # Whoever comes over the cable is of the platform: as local as without one.
        *_chain("arrived", "nat", "input", _SOURCE, [f'iifname "{cable}" snat ip to 127.0.0.1']),
        *_chain("input", "filter", "input", _FILTER, _input(side)),
        *_chain("forward", "filter", "forward", _FILTER, ["drop"]),
        *_chain("output", "filter", "output", _FILTER, _output(side)),
        "}",
    ]
    return "\n".join(lines) + "\n"


def render_doors(offered: Sequence[int], asked: Sequence[int]) -> str:
    """The transaction that changes nothing but what the two sides offer one another."""
    lines: list[str] = []
    for name, ports in (("offered", offered), ("asked", asked)):
        lines.append(f"flush set {FAMILY} {TABLE} {name}")
        if ports:
            lines.append(f"add element {FAMILY} {TABLE} {name} {{ {_list(ports)} }}")
    return "\n".join(lines) + "\n"


def render_reached(reached: Sequence[tuple[str, int]]) -> str:
    """The transaction that changes nothing but what leads to the relay."""
    lines: list[str] = []
    for version in (4, 6):
        name, elements = f"reached{version}", _elements(reached, version)
        lines.append(f"flush set {FAMILY} {TABLE} {name}")
        if elements:
            lines.append(f"add element {FAMILY} {TABLE} {name} {{ {', '.join(elements)} }}")
    return "\n".join(lines) + "\n"


def _chain(name: str, kind: str, hook: str, priority: int, rules: list[str]) -> list[str]:
    return [f"chain {name} {{", f"type {kind} hook {hook} priority {priority};", *rules, "}"]


def _led(side: Side) -> list[str]:
    asked = [f"ip daddr 127.0.0.1 tcp dport @asked dnat ip to {side.other}"]
    names = [
        f"{_ip(one.place.host)} daddr {one.place.host} udp dport {one.place.port} redirect to :{one.port}"
        for one in side.names
    ]
    return [
        *asked,
        *(
            f"{ip} daddr . tcp dport @{name}{version} redirect to :{side.relay}"
            for ip, version in (("ip", 4), ("ip6", 6))
            for name in ("reached", "learned")
        ),
        *names,
    ]


def _taken_in(side: Side) -> list[str]:
    return [f'iifname "{side.interface}" ip daddr {side.own} tcp dport @offered dnat ip to 127.0.0.1']


def _input(side: Side) -> list[str]:
    return [
        'iifname "lo" accept',
        "ct state { established, related } accept",
        f'iifname "{side.interface}" ct status dnat tcp dport @offered accept',
        f'counter drop comment "{DROPPED}"',
    ]


def _output(side: Side) -> list[str]:
    """By address, not by interface: a packet that is led elsewhere has that which it was first meant for."""
    return [
        f"ip daddr {{ 127.0.0.0/8, {side.own} }} accept",
        "ip6 daddr ::1 accept",
        "ct state { established, related } accept",
        f"ip daddr {side.other} ct status dnat tcp dport @asked accept",
        f'counter reject with icmpx admin-prohibited comment "{REFUSED}"',
    ]


def _ports(name: str, ports: Sequence[int]) -> str:
    held = f" elements = {{ {_list(ports)} }};" if ports else ""
    return f"set {name} {{ type inet_service;{held} }}"


def _set(name: str, version: int, reached: Sequence[tuple[str, int]]) -> str:
    elements = _elements(reached, version)
    held = f" elements = {{ {', '.join(elements)} }};" if elements else ""
    return f"set {name} {{ {_kind(version)}; flags interval;{held} }}"


def _kind(version: int) -> str:
    return f"type ipv{version}_addr . inet_service"


def _elements(reached: Sequence[tuple[str, int]], version: int) -> list[str]:
    """Overlapping intervals are refused by the kernel, so that those of one port are put together."""
    by_port: dict[int, list[ipaddress.IPv4Network | ipaddress.IPv6Network]] = {}
    for text, port in reached:
        network = ipaddress.ip_network(text)
        if network.version == version:
            by_port.setdefault(port, []).append(network)
    return [
        f"{network} . {port}"
        for port in sorted(by_port)
        for network in ipaddress.collapse_addresses(by_port[port])  # pyright: ignore[reportArgumentType,reportCallIssue,reportUnknownVariableType]
    ]


def _ip(host: str) -> str:
    return "ip6" if ":" in host else "ip"


def _list(ports: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(set(ports))))
