"""Where a sign-in came from, as far as its person needs it to know one of their own sessions again."""

import ipaddress

import msgspec

MAX_AGENT = 300
"""Characters of a User-Agent header that are kept: more than any browser of today sends."""


class Whereabouts(msgspec.Struct, frozen=True):
    """The browser's own words about itself, and the part of the network it was in. Kept sealed."""

    agent: str = ""
    network: str = ""


def whereabouts(agent: str, address: str) -> Whereabouts:
    """What is kept of a sign-in; none of it identifies one machine."""
    return Whereabouts(agent[:MAX_AGENT], network_of(address))


def network_of(address: str) -> str:
    """The /24 of an IPv4 address, the /48 of an IPv6 address; nothing when it is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    plain = parsed.ipv4_mapped or parsed if parsed.version == 6 else parsed
    prefix = 24 if plain.version == 4 else 48
    return str(ipaddress.ip_network((plain.packed, prefix), strict=False))
