"""Domains that come and go while the edge runs: asked for at their first handshake, never listed.

Caddy asks a `gate` before it obtains or loads a certificate. Its question is a plain GET that can show no
client certificate, so it goes to a listener of the edge's own on loopback, over TLS and with a password in
its path, which passes it on to the web service over mutual TLS. No answer means no certificate.
"""

from typing import Any

from troth.core.hostname import LOCAL_SUFFIXES
from troth.hosting.edge_proxy import ask_known
from troth.hosting.edge_state import ALIAS_PATTERN, SERVICES, VISITED, Acme, EdgeState, OnDemand

Json = dict[str, Any]

AUTHORITY = "troth"
"""What Caddy calls the platform's own public authority."""

_NAMES = r"^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])$"
"""A name of two labels or more. A handshake without one, or with an address, meets no policy and fails. No
braces: Caddy would take them for a placeholder."""

_LABELS = 8
"""Caddy's patterns stand for a fixed number of labels: local names have at most so many before the suffix."""


def gate_routes(state: EdgeState, demand: OnDemand) -> list[Json]:
    """204 for a domain that is served, to whoever knows the password; nobody else is answered at all."""
    known = ask_known(state, "{http.request.uri.query.domain}", [_status(200)], [_status(404)])
    asked = {"method": ["GET"], "vars": {"{http.request.uri.path}": [f"/{_password(demand)}"]}}
    return [
        {"match": [asked], "handle": [known], "terminal": True},
        {"handle": [{"handler": "static_response", "abort": True}]},
    ]


def policies(policy: Json) -> list[Json]:
    """The handshakes of domains that the edge was not told of; `policy` says what all have in common."""
    inner = {
        "match": {"sni": [f"*.{SERVICES}"]},
        "drop": True,
    }  # our own instances' names are nobody's to ask
    asking = {
        "match": {"sni_regexp": {"pattern": ALIAS_PATTERN}},
        "client_authentication": {"mode": "request"},
    }
    return [inner, {**policy, **asking}, {**policy, "match": {"sni_regexp": {"pattern": _NAMES}}}]


def automation(state: EdgeState, demand: OnDemand) -> Json:
    """Who certifies what, and who is asked first."""
    endpoint = f"https://{demand.gate}/{_password(demand)}"
    own = {"module": "internal", "ca": AUTHORITY, "sign_with_root": True, "lifetime": "168h"}
    rules: list[Json] = [{"on_demand": True, "issuers": [own]}]
    if demand.acme is not None:
        acme = _acme(state, demand.acme)
        rules = [{"subjects": _local_patterns(), **rules[0]}, {"on_demand": True, "issuers": [acme]}]
    return {"on_demand": {"permission": {"module": "http", "endpoint": endpoint}}, "policies": rules}


def authorities(demand: OnDemand) -> Json:
    """The platform's public authority, which makes none below itself and is put into no trust store."""
    files = {"format": "pem_file", "certificate": str(demand.authority.certificate)}
    pair = {**files, "private_key": str(demand.authority.key)}
    return {
        "certificate_authorities": {AUTHORITY: {"root": pair, "intermediate": pair, "install_trust": False}}
    }


def _acme(state: EdgeState, acme: Acme) -> Json:
    # Where the edge listens itself, which then answers: no other socket is opened for a challenge.
    bind = {"bind_host": VISITED if state.handed else state.address}
    return {
        "module": "acme",
        "ca": acme.directory,
        "email": acme.contact,
        "trusted_roots_pem_files": [str(file) for file in acme.roots],
        "challenges": {
            "http": {"alternate_port": state.http_port},
            "tls-alpn": {"alternate_port": state.https_port},
            **bind,
        },
    }


def _local_patterns() -> list[str]:
    return [f"{'*.' * depth}{suffix}" for suffix in LOCAL_SUFFIXES for depth in range(1, _LABELS + 1)]


def _password(demand: OnDemand) -> str:
    """Caddy reads the file by itself: the configuration names it and does not hold it."""
    return f"{{file.{demand.password}}}"


def _status(code: int) -> Json:
    return {"handler": "static_response", "status_code": code}
