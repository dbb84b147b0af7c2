"""Choosing ports: free ones on loopback for private parts, the public ones for the edge."""

import msgspec


class PublicPorts(msgspec.Struct, frozen=True):
    """The ports people reach: `https` on TCP and UDP, `http` on TCP."""

    https: int
    http: int


def free_ports(count: int) -> tuple[int, ...]:
    """So many different free TCP ports of 127.0.0.1, outside the range the kernel picks from by itself."""
    raise NotImplementedError


def public_ports(address: str, https: int | None, http: int | None) -> PublicPorts:
    """The ports from troth.toml; 443 and 80 where left out and allowed, else 8443 and 8080.

    Raises ConfigError when a port is in use (naming who holds it), not allowed, or `address` is not ours.
    """
    raise NotImplementedError
