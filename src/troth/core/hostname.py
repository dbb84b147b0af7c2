"""Names of client domains, in the one form that everything compares."""

import ipaddress
import re

import idna

from troth.core.names import MUTUAL_TLS_PREFIX

MAX_LENGTH = 253
"""Of a name in the DNS (RFC 1035 section 2.3.4), which a domain's alias for mutual TLS is too."""

_RESERVED = re.compile(r"(.+\.)?troth\.internal")
"""The platform's own probes live there."""


LOCAL_SUFFIXES = ("localhost", "internal", "test", "example", "invalid")
"""No registry gives out names under these, and no public authority certifies them (RFC 6761; ICANN keeps
.internal for private use): whose they are, the operator says."""


def is_local(host: str) -> bool:
    """Whether a normalised name is one that only this platform's own network knows."""
    return host.rpartition(".")[2] in LOCAL_SUFFIXES


def normalise_host(name: str) -> str:
    """`Bücher.Example` becomes `xn--bcher-kva.example` (IDNA 2008 after UTS 46, as browsers do).

    Raises ValueError with a sentence when this is no host name of two labels or more: two spellings of one
    domain would be two cookies, two issuers and two certificates.
    """
    if not name.isprintable() or any(mark in name for mark in " /:@*"):
        raise ValueError("A domain is a bare host name: no scheme, port, path, wildcard or space.")
    try:
        host = idna.encode(name, uts46=True, std3_rules=True).decode("ascii").lower()
    except UnicodeError as error:
        raise ValueError(f"This is no host name: {error}.") from None
    if "." not in host or host.endswith("."):
        raise ValueError("A domain has at least two parts, with no dot at the end.")
    if _is_address(host):
        raise ValueError("This is an address, not a host name.")
    if _RESERVED.fullmatch(host):
        raise ValueError("Names under troth.internal are the platform's own.")
    if len(MUTUAL_TLS_PREFIX + host) > MAX_LENGTH:
        raise ValueError(f"A domain has at most {MAX_LENGTH - len(MUTUAL_TLS_PREFIX)} characters.")
    return host


def _is_address(host: str) -> bool:
    """Whether a browser would read it as an IPv4 address: the last label is a number (WHATWG URL, 3.5)."""
    last = host.rsplit(".", 1)[-1]
    if last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
