"""The packet filter as a pure function: what it lets pass, in, as the text of one transaction of nft(8), out.

Everything stands in one table of our own, `inet troth`. Each packet passes the chains of all tables, and what
one accepts another may still drop (nft(8), "Base chains"): a rule of somebody else's cannot open what ours
keep closed, save by changing where a packet goes before it gets here, which `ct status dnat` sees.
"""

import ipaddress
from collections.abc import Iterable

import msgspec

from troth.core.process import Endpoint

FAMILY, TABLE = "inet", "troth"

UNCONFIRMED = "unconfirmed"
"""What the name of an empty chain begins with that is there until somebody confirms the rules. Whoever
deletes it in a transaction has decided, and everybody else's transaction fails: confirming and taking back
cannot both happen."""

DOOR_SECONDS = 30
"""After the end of the minute: should even the process that takes the rules back have been killed, the kernel
opens SSH to everybody."""

DROPPED, REDIRECTED, REFUSED, CROWDED = "dropped", "redirected", "refused", "crowded out"
"""The comments of the counters: what came in, what was led around us, what wanted out, and connections beyond
what one address may hold."""

HELD = ("held4", "held6")
"""The sets in which the kernel counts the connections of each address."""

MOST_ADDRESSES = 65_535
"""Whose connections are counted at a time. Beyond, a further address is let in uncounted: that many are not
one client."""

_REJECT = "reject with icmpx admin-prohibited"
"""Inside, a program learns at once that it may not; outside, nobody learns anything."""

_LISTENERS = "{ mld-listener-query, mld-listener-report, mld2-listener-report }"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Reached(msgspec.Struct, frozen=True, order=True):
    """Where this machine may connect to, over TCP: a name, an address or a network, a port, and why."""

    host: str
    port: int
    why: str


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What may pass. `tcp` and `udp` are open to the world, `ssh_port` to `administrators` (networks).

    `name_servers` (addresses) are asked over UDP and TCP, `time_servers` (names or addresses) over UDP.
    At the ports of `tcp` one address, in IPv6 one network of 64 bits, holds at most so many `connections`;
    0 is for no bound.
    """

    tcp: tuple[int, ...]
    udp: tuple[int, ...]
    ssh_port: int
    administrators: tuple[str, ...]
    name_servers: tuple[Endpoint, ...]
    time_servers: tuple[str, ...]
    reached: tuple[Reached, ...]
    connections: int = 0


class Opened(msgspec.Struct, frozen=True):
    """What the names of a policy lead to now: networks and ports over TCP, and addresses for the time."""

    reached: tuple[tuple[str, int], ...]
    time: tuple[str, ...]


class Trial(msgspec.Struct, frozen=True):
    """Rules on trial: the name of the chain that marks them, and after how many seconds they end."""

    chain: str
    seconds: int


def render(policy: Policy, opened: Opened, trial: Trial | None = None) -> str:
    """The transaction that puts these rules in the place of whatever our table held."""
    lines = [
        f"add table {FAMILY} {TABLE}",
        f"delete table {FAMILY} {TABLE}",
        f"table {FAMILY} {TABLE} {{",
        *([f"chain {trial.chain} {{ }}", *_trial_set(trial)] if trial else []),
        *_sets(policy, opened),
        *_counted(policy),
        *_chain("input", [*_input(policy, trial), f'counter comment "{DROPPED}"']),
        *_chain("forward", [f'counter comment "{DROPPED}"']),
        *_chain("output", [*_output(), f'counter {_REJECT} comment "{REFUSED}"']),
        "}",
    ]
    return "\n".join(lines) + "\n"


def render_addresses(opened: Opened) -> str:
    """The transaction that changes nothing but what the names of the policy lead to. What the kernel counts
    goes on."""
    lines: list[str] = []
    for name, elements in _named(opened):
        lines.append(f"flush set {FAMILY} {TABLE} {name}")
        if elements:
            lines.append(f"add element {FAMILY} {TABLE} {name} {{ {', '.join(elements)} }}")
    return "\n".join(lines) + "\n"


def remove() -> str:
    """The transaction after which there is no table of ours."""
    return f"add table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}\n"


def decide(chain: str, then: str) -> str:
    """`then`, only if nobody has decided about the rules on trial yet."""
    return f"delete chain {FAMILY} {TABLE} {chain}\n{then}"


def chain_name(ends: int, token: str) -> str:
    """The mark of rules on trial: when they end (seconds since 1970), for people, and a random token."""
    return f"{UNCONFIRMED}_{ends}_{token}"


def trial_end(chain: str) -> int | None:
    """When the trial of this chain ends; None for any other chain."""
    kind, _, rest = chain.partition("_")
    ends, _, token = rest.partition("_")
    return int(ends) if kind == UNCONFIRMED and ends.isdigit() and token else None


def _chain(hook: str, rules: list[str]) -> list[str]:
    return [f"chain {hook} {{", f"type filter hook {hook} priority filter; policy drop;", *rules, "}"]


def _input(policy: Policy, trial: Trial | None) -> list[str]:
    ssh = f"tcp dport {policy.ssh_port} accept"
    return [
        'iifname "lo" accept',
        # A container's published port, or anything else that a rule before us has given another target.
        f'ct status dnat counter drop comment "{REDIRECTED}"',
        # With route_localnet a neighbour could speak to loopback.
        "ip daddr 127.0.0.0/8 drop",
        "ct state vmap { established : accept, related : accept, invalid : drop }",
        *_crowds(policy),
        *([f"tcp dport {{ {_list(policy.tcp)} }} accept"] if policy.tcp else []),
        *([f"udp dport {{ {_list(policy.udp)} }} accept"] if policy.udp else []),
        *([f"meta nfproto != @trial {ssh}"] if trial else []),
        f"ip saddr @ssh4 {ssh}",
        f"ip6 saddr @ssh6 {ssh}",
        "icmp type echo-request limit rate 20/second burst 20 packets accept",
        "icmpv6 type echo-request limit rate 20/second burst 20 packets accept",
        # Neighbours and routers: without them there is no IPv6. 255 means that no router has passed it on.
        "ip6 hoplimit 255 icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept",
        f"ip6 saddr fe80::/10 icmpv6 type {_LISTENERS} accept",
        # The lease of this machine's own address (DHCP).
        "udp sport 67 udp dport 68 accept",
        "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept",
    ]


def _crowds(policy: Policy) -> list[str]:
    """Dropped, not refused: the kernel of whoever is let wait tries again, and gets in once one has gone. In
    IPv6 a client has a whole network of 64 bits to itself."""
    if not (policy.connections and policy.tcp):
        return []
    over = f'ct count over {policy.connections} }} counter drop comment "{CROWDED}"'
    senders = zip(HELD, ("ip saddr", "ip6 saddr and ffff:ffff:ffff:ffff::"), strict=True)
    return [f"tcp dport {{ {_list(policy.tcp)} }} add @{held} {{ {who} {over}" for held, who in senders]


def _counted(policy: Policy) -> list[str]:
    if not (policy.connections and policy.tcp):
        return []
    kinds = zip(HELD, (4, 6), strict=True)
    return [
        f"set {held} {{ type ipv{version}_addr; flags dynamic; size {MOST_ADDRESSES}; }}"
        for held, version in kinds
    ]


def _output() -> list[str]:
    return [
        'oifname "lo" accept',
        "ct state established,related accept",
        "ip daddr . tcp dport @reached4 accept",
        "ip6 daddr . tcp dport @reached6 accept",
        "meta l4proto { tcp, udp } ip daddr . th dport @names4 accept",
        "meta l4proto { tcp, udp } ip6 daddr . th dport @names6 accept",
        "ip daddr @time4 udp dport 123 accept",
        "ip6 daddr @time6 udp dport 123 accept",
        "ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept",
        "ip6 hoplimit 1 icmpv6 type { mld-listener-report, mld2-listener-report } accept",
        "udp sport 68 udp dport 67 accept",
        "udp sport 546 udp dport 547 accept",
    ]


def _sets(policy: Policy, opened: Opened) -> list[str]:
    names = [(one.host, one.port) for one in policy.name_servers]
    named = dict(_named(opened))
    return [
        line
        for version in (4, 6)
        for line in (
            _set(f"ssh{version}", version, _alone(policy.administrators, version)),
            _set(f"time{version}", version, named[f"time{version}"]),
            _set(f"reached{version}", version, named[f"reached{version}"], ports=True),
            _set(f"names{version}", version, _with_ports(names, version), ports=True),
        )
    ]


def _named(opened: Opened) -> list[tuple[str, list[str]]]:
    """The sets whose elements names lead to."""
    return [
        pair
        for version in (4, 6)
        for pair in (
            (f"time{version}", _alone(opened.time, version)),
            (f"reached{version}", _with_ports(opened.reached, version)),
        )
    ]


def _set(name: str, version: int, elements: list[str], *, ports: bool = False) -> str:
    kind = f"ipv{version}_addr" + (" . inet_service" if ports else "")
    held = f" elements = {{ {', '.join(elements)} }};" if elements else ""
    return f"set {name} {{ type {kind}; flags interval;{held} }}"


def _trial_set(trial: Trial) -> list[str]:
    """What is in it runs out by itself, in the kernel."""
    seconds = trial.seconds + DOOR_SECONDS
    members = f"ipv4 timeout {seconds}s, ipv6 timeout {seconds}s"
    return [f"set trial {{ type nf_proto; flags timeout; elements = {{ {members} }}; }}"]


def _alone(networks: Iterable[str], version: int) -> list[str]:
    return [str(one) for one in _collapse(networks, version)]


def _with_ports(places: Iterable[tuple[str, int]], version: int) -> list[str]:
    """Overlapping intervals are refused by the kernel, so that those of one port are put together."""
    by_port: dict[int, list[str]] = {}
    for network, port in places:
        by_port.setdefault(port, []).append(network)
    return [f"{one} . {port}" for port in sorted(by_port) for one in _collapse(by_port[port], version)]


def _collapse(networks: Iterable[str], version: int) -> list[Network]:
    found = [ipaddress.ip_network(one) for one in networks]
    if version == 4:
        return list(ipaddress.collapse_addresses(n for n in found if isinstance(n, ipaddress.IPv4Network)))
    return list(ipaddress.collapse_addresses(n for n in found if isinstance(n, ipaddress.IPv6Network)))


def _list(ports: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(set(ports))))
