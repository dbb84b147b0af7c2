"""Would these rules lock out whoever is about to apply them?

sshd says in the environment of what it starts where the connection came from (SSH_CONNECTION, sshd(8)).
"""

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path

from troth.core.errors import UsageError
from troth.hosting import processes
from troth.hosting.firewall.rules import Policy

_NAME = "SSH_CONNECTION="
_PARTS = 4


def check_way_in(policy: Policy) -> None:
    """Raises UsageError when the present connection would not be let in again."""
    for told in ways_in():
        refuse_lockout(policy, told)


def ways_in(pid: int | None = None) -> tuple[str, ...]:
    """SSH_CONNECTION of a process (left out: this one) and of all above it: sudo takes it away, but the shell
    before still has it."""
    return tuple(dict.fromkeys(filter(None, map(_connection_of, _upwards(pid or os.getpid())))))


def refuse_lockout(policy: Policy, told: str) -> None:
    """Pure: `told` is a value of SSH_CONNECTION (client, its port, server, its port)."""
    parts = told.split()
    if len(parts) != _PARTS or not parts[3].isdigit():
        return
    client, port = parts[0].partition("%")[0], int(parts[3])
    if port != policy.ssh_port:
        raise UsageError(
            f"You are connected to port {port}, and these rules keep port {policy.ssh_port} for SSH.",
            hint=f"Write ssh_port = {port} under [firewall] in troth.toml.",
        )
    if not _within(client, policy.administrators):
        raise UsageError(
            f"These rules would lock you out: you come from {client}.",
            hint=f'Name its network under [firewall] in troth.toml: administrators = ["{client}"]',
        )


def _within(client: str, networks: tuple[str, ...]) -> bool:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return any((mapped or address) in ipaddress.ip_network(one) for one in networks)


def _upwards(pid: int) -> Iterator[int]:
    while pid > 0:
        yield pid
        row = processes.read(pid)
        pid = row.parent if row is not None else 0


def _connection_of(pid: int) -> str:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return ""
    found = (os.fsdecode(one) for one in environment.split(b"\0"))
    return next((one.removeprefix(_NAME) for one in found if one.startswith(_NAME)), "")
