"""The edge's configuration as a pure function of the platform's state (Caddy's JSON).

Three servers: `public` (HTTPS), `redirect` (HTTP) and `private` (the API for applications, mutual TLS).
Certificates of the domains that it was told come from files, and Caddy's own automatic HTTPS is off. With
`on_demand` a fourth server, `gate`, decides about certificates of all others (`edge_demand.py`).
"""

from typing import Any

from troth.hosting.edge_demand import authorities, automation, gate_routes, policies
from troth.hosting.edge_limits import Limits, bounds
from troth.hosting.edge_logs import logs
from troth.hosting.edge_routes import error_routes, private_routes, public_routes, redirect_routes
from troth.hosting.edge_state import VISITED, EdgeState, OnDemand

Json = dict[str, Any]

ADMIN_ORIGIN = "http://edge.troth.internal"
"""What our own client says of itself; without it a request is refused (a proxy was tricked into asking)."""

CIPHERS = [
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
]
"""For TLS 1.2: authenticated encryption and forward secrecy only. TLS 1.3 knows nothing else."""

CURVES = ["x25519mlkem768", "x25519", "secp256r1", "secp384r1"]
"""The hybrid first: what is recorded today stays secret from a quantum computer of tomorrow."""

HANDED = ("fd/3", "fdgram/4", "fd/5")
"""The sockets that an edge in a network of its own is started with: HTTPS, HTTP/3 and HTTP (door.py)."""

_PRIVATE_TAG = "private"


def render(state: EdgeState) -> Json:
    """The whole configuration for Caddy."""
    demand = state.on_demand
    return {
        "admin": _admin(state),
        "storage": {"module": "file_system", "root": str(state.storage)},
        "logging": logs(state),
        "apps": {
            "http": {
                "https_port": state.https_port,
                "http_port": state.http_port,
                "grace_period": "10s",
                "servers": {
                    "public": _public(state),
                    "redirect": _redirect(state),
                    "private": _private(state),
                    **({"gate": _gate(state, demand)} if demand else {}),
                },
            },
            "tls": _tls(state),
            **({"pki": authorities(demand)} if demand else {}),
        },
    }


def _admin(state: EdgeState) -> Json:
    """Owner's eyes only, and nothing is kept between runs: the platform's state is the only truth."""
    return {
        "listen": f"unix/{state.admin_socket}|0600",
        "enforce_origin": True,
        "origins": [ADMIN_ORIGIN],
        "config": {"persist": False},
    }


def _server(listen: list[str], routes: list[Json], protocols: list[str], limits: Limits) -> Json:
    """What all servers have in common."""
    return {
        "listen": listen,
        "routes": routes,
        "protocols": protocols,
        "automatic_https": {"disable": True},
        **bounds(limits),
    }


def _public(state: EdgeState) -> Json:
    listen = [_address(state.address, state.https_port)]
    if state.handed:
        listen = [*HANDED[:2], _address(VISITED, state.https_port)]
    server = _server(listen, public_routes(state), ["h1", "h2", "h3"], state.limits)
    if state.handed:
        server["listen_protocols"] = [["h1", "h2"], ["h3"], ["h1", "h2"]]
    # Without a policy for a name, or without a name at all, the handshake fails: no certificate is shown.
    names = [d.name for d in state.domains]
    told = [_policy(names, names)] if names else []
    added = policies(_policy([], [])) if state.on_demand else []
    server["tls_connection_policies"] = [*_asking_policy(state), *told, *added]
    # Domain fronting: a connection opened for one domain must not speak for another one.
    server["strict_sni_host"] = True
    server["errors"] = {"routes": error_routes()}
    server["logs"] = {"default_logger_name": "public"}
    return server


def _asking_policy(state: EdgeState) -> list[Json]:
    """At the aliases any client certificate is taken: whose it is, the authorization server decides for each
    client (RFC 8705 section 2). No domain that people visit asks: browsers would bother them with it."""
    if not state.aliases:
        return []
    policy = _policy([d.alias for d in state.aliases], [d.name for d in state.aliases])
    policy["client_authentication"] = {"mode": "request"}
    return [policy]


def _redirect(state: EdgeState) -> Json:
    listen = [_address(state.address, state.http_port)]
    if state.handed:
        listen = [HANDED[2], _address(VISITED, state.http_port)]
    return _server(listen, redirect_routes(state), ["h1"], state.limits)


def _private(state: EdgeState) -> Json:
    server = _server([str(state.private.endpoint)], private_routes(state), ["h1", "h2"], state.limits)
    policy = _policy([], [_PRIVATE_TAG])
    policy["protocol_min"] = "tls1.3"
    policy["client_authentication"] = {
        "mode": "require_and_verify",
        "ca": {"provider": "file", "pem_files": [str(state.private.client_ca)]},
    }
    server["tls_connection_policies"] = [policy]
    # Applications connect to an address and name the client domain in the Host header alone.
    server["strict_sni_host"] = False
    server["errors"] = {"routes": error_routes()}
    server["logs"] = {"default_logger_name": "private"}
    return server


def _gate(state: EdgeState, demand: OnDemand) -> Json:
    server = _server([str(demand.gate)], gate_routes(state, demand), ["h1"], state.limits)
    server["tls_connection_policies"] = [{**_policy([], [_PRIVATE_TAG]), "protocol_min": "tls1.3"}]
    server["strict_sni_host"] = False
    return server


def _policy(names: list[str], tags: list[str]) -> Json:
    policy: Json = {
        "cipher_suites": CIPHERS,
        "curves": CURVES,
        "protocol_min": "tls1.2",
        "protocol_max": "tls1.3",
    }
    if tags:
        policy["certificate_selection"] = {"any_tag": tags}
    if names:
        policy["match"] = {"sni": names}
    return policy


def _tls(state: EdgeState) -> Json:
    """Certificates from files. Our own authority answers no OCSP, so nothing is asked of the network."""
    files = [
        {"certificate": str(d.certificate.certificate), "key": str(d.certificate.key), "tags": [d.name]}
        for d in state.domains
    ]
    private = state.private.certificate
    files.append({"certificate": str(private.certificate), "key": str(private.key), "tags": [_PRIVATE_TAG]})
    tls: Json = {
        "certificates": {"load_files": files},
        "disable_ocsp_stapling": True,
        "disable_storage_check": True,
        "disable_storage_clean": True,
    }
    if state.on_demand:
        tls["automation"] = automation(state, state.on_demand)
        tls["cache"] = {"capacity": len(files) + state.on_demand.kept}
    return tls


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
