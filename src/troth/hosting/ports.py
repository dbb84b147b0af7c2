"""Choosing ports: free ones on loopback for private parts, the public ones for the edge."""

import errno
import ipaddress
import os
import random
import socket
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec
import psutil

from troth.core.errors import ConfigError, PlatformError

_LOWEST_PRIVATE = 20_000

_MOST_CLAIMS = 256
"""Of some 30 ports that a platform needs, and those of instances that come and go."""

_claims: deque[int] = deque()
"""Descriptors of sockets that hold the ports this process has chosen last."""

_KERNEL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class PublicPorts(msgspec.Struct, frozen=True):
    """The ports people reach: `https` on TCP and UDP, `http` on TCP."""

    https: int
    http: int


def free_ports(count: int) -> tuple[int, ...]:
    """So many different free TCP ports of 127.0.0.1, see `private_ports`."""
    return tuple(islice(private_ports(), count))


def private_ports(but: frozenset[int] = frozenset()) -> Iterator[int]:
    """Free TCP ports of 127.0.0.1, none twice and none of `but`, for as long as one is asked for.

    Taken below the range from which the kernel serves outgoing connections: one of those could otherwise
    sit on the port between this choice and the moment the process listens. For the same reason this process
    keeps a socket on each of the last 256: whoever else looks for a port finds it taken, and whoever is given
    it can listen, as servers do (SO_REUSEADDR). Raises PlatformError when there are no more.
    """
    ports = range(_LOWEST_PRIVATE, _first_kernel_port())
    for port in random.SystemRandom().sample(ports, len(ports)):
        if port not in but and _claim(port):
            yield port
    raise PlatformError("There are not enough free ports on 127.0.0.1.")


def public_ports(address: str, https: int | None, http: int | None) -> PublicPorts:
    """The ports from troth.toml; 443 and 80 where left out and allowed, else 8443 and 8080.

    Raises ConfigError when a port is in use (naming who holds it), not allowed, or `address` is not ours.
    """
    _check_address(address)
    if https is not None and https == http:
        raise ConfigError("edge.https_port and edge.http_port are the same.", key="edge.http_port")
    if https is None and http is None:
        if _is_free(address, 443, udp=True) and _is_free(address, 80, udp=False):
            return PublicPorts(443, 80)
        https, http = 8443, 8080
    https, http = (
        https or _either(address, 443, 8443, udp=True),
        http or _either(address, 80, 8080, udp=False),
    )
    _insist(address, https, "edge.https_port", udp=True)
    _insist(address, http, "edge.http_port", udp=False)
    return PublicPorts(https, http)


def holder(port: int) -> str:
    """Who listens on a port, as `name (pid 17)`; empty when the system does not tell us."""
    try:
        connections = psutil.net_connections(kind="inet")
    except psutil.Error:
        return ""
    for connection in connections:
        local = connection.laddr
        if not local or local.port != port or connection.status not in ("LISTEN", "NONE"):
            continue
        if connection.pid is not None:
            return _describe(connection.pid)
    return ""


def _describe(pid: int) -> str:
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:
        return f"pid {pid}"


def _either(address: str, first: int, second: int, *, udp: bool) -> int:
    return first if _is_free(address, first, udp=udp) else second


def _is_free(address: str, port: int, *, udp: bool) -> bool:
    return _trouble(address, port, udp=udp) is None


def _insist(address: str, port: int, key: str, *, udp: bool) -> None:
    """Raise what stands in the way of this port.

    Caddy would not notice: it shares ports (SO_REUSEPORT), so that a second edge of the same user would
    get half of the connections.
    """
    trouble = _trouble(address, port, udp=udp)
    if trouble is None:
        return
    if trouble.errno == errno.EADDRINUSE:
        who = holder(port)
        raise ConfigError(
            f"Port {port} on {address} is in use{f' by {who}' if who else ''}.",
            key=key,
            hint=f"End that process, or choose another port: {key} in troth.toml.",
        )
    raise ConfigError(
        f"Port {port} on {address} cannot be used: {os.strerror(trouble.errno or 0)}.",
        key=key,
        hint="Choose one of 1024 or more, or allow low ones: sysctl net.ipv4.ip_unprivileged_port_start=80",
    )


def _check_address(address: str) -> None:
    trouble = _trouble(address, 0, udp=False)
    if trouble is None:
        return
    raise ConfigError(
        f"{address} is not an address of this machine: {trouble.strerror}.",
        key="edge.address",
        hint="Use 127.0.0.1, 0.0.0.0 for every address, or one that `ip address` lists.",
    )


def _trouble(address: str, port: int, *, udp: bool) -> OSError | None:
    """Try to listen, on UDP too where HTTP/3 needs it; what the system said, or nothing."""
    try:
        _listen(address, port, socket.SOCK_STREAM)
        if udp:
            _listen(address, port, socket.SOCK_DGRAM)
    except OSError as error:
        return error
    except ValueError as error:
        return OSError(errno.EINVAL, str(error))
    return None


def _listen(address: str, port: int, kind: socket.SocketKind) -> None:
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            # Connections of a former run that linger in TIME_WAIT are no listener.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
        if kind == socket.SOCK_STREAM:
            probe.listen(1)


def _claim(port: int) -> bool:
    """Take the port for ourselves, then let others listen on it; False when somebody has it."""
    claim = socket.socket()
    try:
        claim.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return False
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _claims.append(claim.detach())
    while len(_claims) > _MOST_CLAIMS:
        os.close(_claims.popleft())
    return True


def _first_kernel_port() -> int:
    try:
        first = int(_KERNEL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768
    return first if first > _LOWEST_PRIVATE + 1000 else 60_000
