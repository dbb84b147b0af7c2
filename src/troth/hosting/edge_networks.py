"""Whom a client domain answers: connections from networks that it does not allow, or denies, are refused.

The answer is 403, and nothing of the request has gone any further: no instance sees it. What counts is the
address that the connection came from; nobody's headers are believed. This machine itself is always let in,
for it looks after the domain.
"""

from typing import Any

from troth.hosting.edge_state import EdgeDomain, EdgeState

Json = dict[str, Any]

REFUSED = "network"
"""Told to the error page in `VARIABLE`, which says why it was 403."""

VARIABLE = "troth_refused"

_LOOPBACK = ("127.0.0.0/8", "::1/128")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not listened on


def refused_networks(state: EdgeState, refusal: list[Json]) -> list[Json]:
    """A route for each domain that has lists: its denied networks, and all but its allowed ones."""
    return [
        {"match": _refused(state, domain), "handle": refusal, "terminal": True}
        for domain in state.domains
        if domain.allow or domain.deny
    ]


def refusing(status: Json) -> list[Json]:
    """The handlers that refuse, with the reason for the error page."""
    return [{"handler": "vars", VARIABLE: REFUSED}, status]


def _refused(state: EdgeState, domain: EdgeDomain) -> list[Json]:
    """Alternatives; a request is refused when one of them fits."""
    hosts = [domain.name, *(one.alias for one in state.aliases if one.name == domain.name)]
    found: list[Json] = []
    if domain.deny:
        found.append({"remote_ip": {"ranges": list(domain.deny)}})
    if domain.allow:
        found.append({"not": [{"remote_ip": {"ranges": list(domain.allow)}}]})
    ours = {"remote_ip": {"ranges": [*_LOOPBACK, *_own(state.address)]}}
    return [{"host": hosts, **one, "not": [*one.get("not", []), ours]} for one in found]


def _own(address: str) -> list[str]:
    return [] if address in _EVERYWHERE else [address]
