"""Checks of networks and hosts in `troth.toml`: [firewall], and whom a domain answers."""

import ipaddress
import re

from troth.core.faults import Faults
from troth.core.settings import Document
from troth.core.toml_lines import KeyPath

MOST = 200
"""Networks in one list: each is compared with every request."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_HIGHEST_PORT = 65_535


def check_networks(document: Document, faults: Faults) -> None:
    """Note what is wrong with the lists of networks and with what the firewall lets pass."""
    for index, domain in enumerate(document.domains):
        for key in ("allow", "deny"):
            _check_list(("domains", index, key), getattr(domain, key), faults)
        if domain.allow and not _admits(domain.allow, domain.deny):
            said = f"{domain.name} would answer nobody: all that is allowed is denied as well."
            faults.add(("domains", index, "allow"), said, "Narrow the networks of deny.")
    firewall = document.firewall
    _check_list(("firewall", "administrators"), firewall.administrators, faults)
    for index, network in enumerate(firewall.administrators):
        if _parse(network) in (_parse("0.0.0.0/0"), _parse("::/0")):
            said = "This would open SSH to everybody."
            hint = "Name the networks that administrators come from."
            faults.add(("firewall", "administrators", index), said, hint, promise="hosting.firewall")
    if firewall.ssh_port in (document.edge.https_port or 443, document.edge.http_port or 80):
        faults.add(("firewall", "ssh_port"), "This is a port of the edge.", "Name the port of sshd.")
    for index, host in enumerate(firewall.time_servers):
        if not _HOST.fullmatch(host) and not is_address(host):
            hint = 'Write it like "ntp.provider.example".'
            faults.add(("firewall", "time_servers", index), "This is no host name.", hint)
    for index, text in enumerate(firewall.outgoing):
        if split_target(text) is None:
            hint = 'Write "deb.debian.org:443", or a network and a port like "192.0.2.0/24:443".'
            faults.add(("firewall", "outgoing", index), "This is no host and port.", hint)


def read_network(text: str) -> Network:
    """`10.0.0.0/8`, `2001:db8::/32`, or an address alone. Raises ValueError, with the reason."""
    return ipaddress.ip_network(text)


def is_address(text: str) -> bool:
    """Whether this is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def split_target(text: str) -> tuple[str, int] | None:
    """`host:port`, `network:port` (IPv6 in brackets) as host or network and port; None for anything else."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= _HIGHEST_PORT):
        return None
    bare = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    return (bare, int(port)) if _HOST.fullmatch(host) or _parse(bare) is not None else None


def _check_list(path: KeyPath, networks: tuple[str, ...], faults: Faults) -> None:
    if len(networks) > MOST:
        faults.add(path, f"There are more than {MOST} networks.", "Put neighbours together: 10.0.0.0/8.")
    for index, text in enumerate(networks):
        try:
            read_network(text)
        except ValueError:
            faults.add((*path, index), f"“{text[:60]}” is no network.", _correct(text))


def _correct(text: str) -> str:
    """A hint; a network whose address has bits of a host is the commonest slip."""
    try:
        return f"Did you mean “{ipaddress.ip_network(text, strict=False)}”?"
    except ValueError:
        return 'Write it like "203.0.113.0/24" or "2001:db8::/32".'


def _admits(allow: tuple[str, ...], deny: tuple[str, ...]) -> bool:
    """Whether one of the allowed networks is not within a denied one."""
    denied = [one for one in map(_parse, deny) if one is not None]
    return any(network is None or not _within(network, denied) for network in map(_parse, allow))


def _within(network: Network, others: list[Network]) -> bool:
    return any(
        network.version == other.version
        and network.network_address in other
        and network.broadcast_address in other
        for other in others
    )


def _parse(text: str) -> Network | None:
    try:
        return read_network(text)
    except ValueError:
        return None
