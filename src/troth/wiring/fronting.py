"""What the edge is told of the platform: its domains, where instances may answer, and its certificates."""

from pathlib import Path

from troth.core.ca import LeafFiles
from troth.core.config import Settings
from troth.core.names import MUTUAL_TLS_PREFIX
from troth.core.process import Endpoint
from troth.core.settings import AcmeSettings
from troth.core.state import State
from troth.core.tracing import steps_of
from troth.hosting.edge_state import (
    WEB,
    Acme,
    EdgeApp,
    EdgeDomain,
    EdgeState,
    OnDemand,
    PrivateListener,
)
from troth.hosting.ports import PublicPorts
from troth.wiring.blueprint import PRIVATE, Blueprint
from troth.wiring.certificates import Certificates, Holder

EDGE = Holder(trust="callers", name="edge", usage="client")

_SYSTEM_ROOTS = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))
"""Whom this machine trusts, on Debian and on Fedora."""


class Front:
    """Describes the edge. `private` is where applications call the API, `gate` where the edge asks itself."""

    def __init__(
        self,
        state: State,
        certificates: Certificates,
        blueprint: Blueprint,
        *,
        ports: PublicPorts,
        private: Endpoint,
        gate: Endpoint,
        apart: bool,
    ) -> None:
        self._apart = apart
        self._state, self._certificates, self._blueprint = state, certificates, blueprint
        self._ports, self._private, self._gate = ports, private, gate

    @property
    def password(self) -> Path:
        """The file with what the edge's question at the gate says of itself."""
        return self._state.run / "edge" / "gate.secret"

    def describe(self, settings: Settings) -> EdgeState:
        """The whole edge under these settings, whose domains have their certificates already."""
        return EdgeState(
            address=settings.edge.address,
            https_port=self._ports.https,
            http_port=self._ports.http,
            domains=tuple(
                EdgeDomain(
                    one.name,
                    one.app,
                    self._certificates.files(public_holder(one.name)),
                    one.allow,
                    one.deny,
                )
                for one in settings.domains
            ),
            web=self._blueprint.places_of(WEB),
            apps=tuple(EdgeApp(name, self._blueprint.places_of(name)) for name in settings.apps),
            client=self._certificates.files(EDGE),
            instances_ca=self._certificates.ca("instances"),
            private=PrivateListener(
                self._private, self._certificates.files(PRIVATE), self._certificates.ca("apps")
            ),
            admin_socket=self._state.edge_admin,
            storage=self._state.run / "edge",
            access_log=self._state.logs / "access.log",
            log=self._state.logs / "edge.log",
            on_demand=self._on_demand(settings),
            handed=self._apart,
            traced=steps_of(settings.tracing.share) if settings.tracing is not None else 0,
        )

    def _on_demand(self, settings: Settings) -> OnDemand:
        authority = self._certificates.ca("public")
        return OnDemand(
            gate=self._gate,
            password=self.password,
            authority=LeafFiles(authority, authority.with_suffix(".key")),
            acme=_acme(settings.acme),
        )


def public_holder(domain: str) -> Holder:
    """Who holds the certificate of a client domain and of its alias for mutual TLS."""
    names = (domain, MUTUAL_TLS_PREFIX + domain)
    return Holder(trust="public", name=domain, usage="server", dns=names, addresses=())


def _acme(settings: AcmeSettings | None) -> Acme | None:
    if settings is None:
        return None
    roots = (settings.ca,) if settings.ca else tuple(file for file in _SYSTEM_ROOTS if file.is_file())[:1]
    return Acme(directory=settings.directory, contact=settings.contact, roots=roots)
