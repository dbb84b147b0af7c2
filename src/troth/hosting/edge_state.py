"""What the edge has to know of the platform. The keeper builds an EdgeState; `edge.render` turns it into a
configuration. Nothing here holds a secret: keys are named by their files."""

import re
from pathlib import Path

import msgspec

from troth.core.ca import LeafFiles
from troth.core.names import MUTUAL_TLS_PREFIX
from troth.core.process import Endpoint
from troth.hosting.edge_limits import Limits

WEB = "web"
"""The name of Troth's own web service among the services."""

MEBIBYTE = 1024 * 1024

ALIAS_PATTERN = f"(?i)^{re.escape(MUTUAL_TLS_PREFIX)}"
"""A name that is a domain's alias for mutual TLS."""

VISITED = "127.0.0.1"
"""Where an edge in a network of its own awaits the platform's visits."""

SERVICES = "services.troth.internal"
"""The private name space of services: never resolved, only compared with certificates."""


def service_name(service: str) -> str:
    """The DNS name that every instance of a service carries in its certificate (subject alternative name).

    All instances listen on 127.0.0.1 under one authority. Without a name of its own, a customer's
    application that took over a freed port of the web service could pose as it and collect passwords.
    """
    return f"{service}.{SERVICES}"


class EdgeDomain(msgspec.Struct, frozen=True):
    """A client domain, the application behind it, and its certificate from the `public` authority.

    `allow` and `deny` are networks: whom it answers alone, and whom it never answers."""

    name: str
    app: str
    certificate: LeafFiles
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    @property
    def alias(self) -> str:
        """Where the edge asks for a client certificate; the domain's own certificate names it too."""
        return MUTUAL_TLS_PREFIX + self.name


class EdgeApp(msgspec.Struct, frozen=True):
    """An application and every place where an instance of it may answer. `max_body` is in bytes."""

    name: str
    instances: tuple[Endpoint, ...]
    max_body: int = 16 * MEBIBYTE


class PrivateListener(msgspec.Struct, frozen=True):
    """Where applications call the API: TLS on loopback, a certificate from the `apps` authority required.

    `certificate` is a server certificate of the `instances` authority for the address of `endpoint`.
    """

    endpoint: Endpoint
    certificate: LeafFiles
    client_ca: Path


class Acme(msgspec.Struct, frozen=True, kw_only=True):
    """An authority that browsers trust, asked by ACME (RFC 8555). `roots` are PEM files that its directory is
    trusted by. Challenges come to the edge's own two ports."""

    directory: str
    contact: str
    roots: tuple[Path, ...]


class OnDemand(msgspec.Struct, frozen=True, kw_only=True):
    """Domains that the edge was not told of: each is asked for at its first handshake, and then gets a
    certificate, of the platform's own `authority` when the name is a local one or there is no `acme`.

    `gate` is where the edge asks itself, for Caddy's question can show no client certificate; `password` is a
    file with what the question says instead. At most `kept` certificates stay in memory.
    """

    gate: Endpoint
    password: Path
    authority: LeafFiles
    acme: Acme | None = None
    kept: int = 1000


class EdgeState(msgspec.Struct, frozen=True, kw_only=True):
    """The whole edge.

    `web` and each application's `instances` are places, not lives: the edge asks every place twice a second
    and passes requests to those that answer. Name a few more than run now, and an instance that starts,
    stops or moves needs no reload; a reload closes idle connections under their clients' feet.

    `client` is the edge's certificate of the `callers` authority, shown to instances, whose certificates are
    checked against `instances_ca` and `service_name`. `storage` is the folder that Caddy may write to,
    `access_log` and `log` are files that it rolls itself. Of so many parts of `core.tracing.STEPS` of all
    requests a trace is made. In a network of its own the edge is `handed` its public sockets, and the
    platform's own visits come to its loopback.
    """

    address: str
    https_port: int
    http_port: int
    domains: tuple[EdgeDomain, ...]
    web: tuple[Endpoint, ...]
    apps: tuple[EdgeApp, ...]
    client: LeafFiles
    instances_ca: Path
    private: PrivateListener
    admin_socket: Path
    storage: Path
    access_log: Path
    log: Path
    on_demand: OnDemand | None = None
    traced: int = 0
    limits: Limits = Limits()
    handed: bool = False

    @property
    def aliases(self) -> tuple[EdgeDomain, ...]:
        """The domains that have an alias for mutual TLS: all of them, unless it is a client domain itself."""
        names = {domain.name for domain in self.domains}
        return tuple(domain for domain in self.domains if domain.alias not in names)
