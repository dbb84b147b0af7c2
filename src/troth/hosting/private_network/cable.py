"""Lays the cable between the private side and the edge, and puts the rules on both ends.

For the keeper, which stands on the private side."""

import socket
import subprocess
from pathlib import Path

from troth.core.errors import PlatformError
from troth.core.state import State
from troth.hosting.firewall.nft import find_program
from troth.hosting.private_network import crossing
from troth.hosting.private_network.rules import Link

PRIVATE_END, EDGE_END = "edge", "private"
"""The interfaces are named after where they lead."""

LIMIT_SECONDS = 20.0
"""Each step takes milliseconds; this bounds a machine that is busy."""

_ROUTED = Path("/proc/sys/net/ipv4/conf/all/route_localnet")
_SIX = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
_TOLD = 300


def lay(state: State, link: Link) -> None:
    """Make the cable, with addresses and routes at both ends, unless a keeper before this one has. Nothing
    passes before there are rules: see `set_rules`. Raises PlatformError."""
    edge = crossing.folder(state) / crossing.EDGE
    if any(name == PRIVATE_END for _, name in socket.if_nameindex()):
        return
    _ip((), f"link add {PRIVATE_END} type veth peer name {EDGE_END} netns {edge}")
    _bring_up((), PRIVATE_END, (link.private, link.private6), (link.edge, link.edge6), link.size)
    there = crossing.started_in(edge)
    _bring_up(there, EDGE_END, (link.edge, link.edge6), (link.private, link.private6), link.size)
    for place in (None, edge):
        with crossing.inside(place):
            # What is led from loopback over the cable comes back to loopback.
            _ROUTED.write_text("1")


def set_rules(place: Path | None, transaction: str) -> None:
    """On this side, or in another of the networks. Raises PlatformError."""
    nft = str(find_program("nft", "nftables"))
    before = () if place is None else crossing.started_in(place)
    _run((*before, nft, "-f", "-"), transaction)


def _bring_up(
    there: tuple[str, ...], interface: str, own: tuple[str, str], other: tuple[str, str], size: int
) -> None:
    lines = [
        f"address add {own[0]}/{size} dev {interface}",
        f"link set {interface} up",
        f"route add default via {other[0]} dev {interface}",
    ]
    if _has_ipv6():
        lines += [
            f"address add {own[1]}/126 dev {interface} nodad",
            f"-6 route add default via {other[1]} dev {interface}",
        ]
    _ip(there, *lines)


def _has_ipv6() -> bool:
    try:
        return _SIX.read_text().strip() == "0"
    except OSError:
        return False


def _ip(there: tuple[str, ...], *lines: str) -> None:
    for line in lines:
        _run((*there, str(find_program("ip", "iproute2")), *line.split()))


def _run(argv: tuple[str, ...], told: str = "") -> None:
    try:
        done = subprocess.run(
            argv, input=told.encode(), capture_output=True, timeout=LIMIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlatformError(f"{Path(argv[0]).name} did not answer: {error}.") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise PlatformError(
            f"The private network cannot be made: {(said[0] if said else 'no reason was given')[:_TOLD]}",
            hint="Start without one: troth up --network loopback",
        )
