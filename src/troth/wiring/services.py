"""The services as a part of the platform: Troth's own, the applications, and the edge before them."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import msgspec

from troth.core.ca import LeafFiles
from troth.core.config import CollectionSettings, Settings
from troth.core.leader import DatabaseTarget
from troth.core.process import Endpoint, ProcessSpec
from troth.core.reach import PublicFace, Visitor
from troth.core.secret import write_secret
from troth.core.state import State
from troth.hosting.edge import render
from troth.hosting.edge_admin import EdgeAdmin, Upstream, caddy_binary, config_file, start_spec
from troth.hosting.edge_state import (
    WEB,
    EdgeApp,
    EdgeDomain,
    EdgeState,
    PrivateListener,
    service_name,
)
from troth.hosting.health import ReadinessProbe
from troth.hosting.instance_file import InstanceFile
from troth.hosting.instances import Fleet, InstanceView, Prepared
from troth.hosting.plan import Step, Tell
from troth.hosting.ports import PublicPorts, free_ports
from troth.hosting.supervisor import Supervised, Supervisor
from troth.hosting.wire import encode
from troth.wiring.certificates import Certificates, Holder
from troth.wiring.waiting import until

EDGE = Holder(trust="callers", name="edge", usage="client")
KEEPER = Holder(trust="callers", name="keeper", usage="client")
PRIVATE = Holder(trust="instances", name="edge", usage="server")


class WebConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance of the web service is told, in a file named by the variable TROTH_WEB.

    It names the file of the root key and holds no secret itself.
    """

    platform: str
    database: DatabaseTarget
    root_key: Path
    https_port: int
    collections: dict[str, CollectionSettings]
    public: dict[str, tuple[str, ...]]


class ServicesPart:
    """Fleets of instances and the edge that balances over them."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        certificates: Certificates,
        supervisor: Supervisor,
        *,
        ports: PublicPorts,
        web: Callable[[], WebConfiguration],
    ) -> None:
        self._settings = settings
        self._state = state
        self._certificates = certificates
        self._supervisor = supervisor
        self._web = web
        self._ports = ports
        self._private = Endpoint("127.0.0.1", free_ports(1)[0])
        self._edge: Supervised | None = None
        self._admin: EdgeAdmin | None = None
        keeper = certificates.issue(KEEPER)
        self.ready = ReadinessProbe(certificates.ca("instances"), keeper.certificate, keeper.key)
        self.fleets = {WEB: self._fleet(WEB, settings.web.instances)}
        self.fleets |= {name: self._fleet(name, app.instances) for name, app in settings.apps.items()}
        certificates.issue(EDGE)
        certificates.issue(PRIVATE)
        for domain in settings.domains:
            certificates.issue(_public(domain.name))

    @property
    def face(self) -> PublicFace:
        """Where the edge meets the public."""
        return PublicFace(
            address=self._settings.edge.address,
            https_port=self._ports.https,
            http_port=self._ports.http,
            domains=tuple(domain.name for domain in self._settings.domains),
            ca=self._certificates.ca("public"),
        )

    def steps(self, *, after: str) -> tuple[Step, ...]:
        """The web service, each application, and the edge once all of them are ready."""
        fleets = tuple(
            Step(
                name=name,
                title="Web service" if name == WEB else f"Application {name}",
                start=_starting(fleet),
                after=(after,) if name == WEB else (),
                stop=fleet.stop,
            )
            for name, fleet in self.fleets.items()
        )
        edge = Step(
            name="edge",
            title="Edge",
            start=self._start_edge,
            after=tuple(self.fleets),
            stop=self._stop_edge,
        )
        return (*fleets, edge)

    def instances(self) -> tuple[InstanceView, ...]:
        """Every instance of every service."""
        return tuple(view for fleet in self.fleets.values() for view in fleet.views())

    async def report_instances(self) -> tuple[InstanceView, ...]:
        return self.instances()

    async def report_edge(self) -> dict[str, object]:
        """The edge's addresses and what it balances over."""
        upstreams: tuple[Upstream, ...] = await self._admin.upstreams() if self._admin else ()
        return {
            "address": self._settings.edge.address,
            "https_port": self._ports.https,
            "http_port": self._ports.http,
            "domains": list(self.face.domains),
            "private": str(self._private),
            "upstreams": upstreams,
        }

    async def troubles(self) -> tuple[str, ...]:
        """A sentence for each instance that should serve and does not."""
        return tuple(trouble for fleet in self.fleets.values() for trouble in fleet.troubles())

    async def check(self) -> str:
        """Ask every instance; the edge follows."""
        found = await asyncio.gather(*(fleet.check() for fleet in self.fleets.values()))
        return "; ".join(trouble for troubles in found for trouble in troubles)

    async def renew_certificates(self) -> str:
        """Renew what is due: the edge reads its files again, instances are replaced one after the other."""
        due = self._certificates.due(lambda one: one in (EDGE, KEEPER, PRIVATE) or one.trust == "public")
        for holder in due:
            self._certificates.issue(holder)
        if due and self._admin:
            await self._admin.load(render(self._edge_state()), force=True)
        due_instances = self._certificates.due(lambda one: service_of(one) is not None)
        services = sorted({name for name in map(service_of, due_instances) if name is not None})
        for name in services:
            await self._replace(name)
        words = [f"renewed {len(due)} certificates of the edge"] if due else []
        words += [f"replaced the instances of {name}" for name in services]
        return ", ".join(words)

    def ports(self) -> tuple[tuple[str, Endpoint], ...]:
        """Every private port of services, with a name; all speak HTTPS."""
        instances = tuple(
            (view.name, _endpoint(view.endpoint)) for view in self.instances() if view.phase == "ready"
        )
        return (("edge for applications", self._private), *instances)

    async def _replace(self, service: str) -> None:
        """New instances with new certificates; those of the instances that they replace are forgotten."""
        former = self._certificates.holders(lambda one: service_of(one) == service)
        await self.fleets[service].replace_all()
        for holder in former:
            self._certificates.forget(holder)

    def _fleet(self, name: str, size: int) -> Fleet:
        async def prepare(slot: str, generation: int) -> Prepared:
            return self._prepare(name, slot, generation)

        return Fleet(
            name,
            size,
            supervisor=self._supervisor,
            prepare=prepare,
            is_ready=self.ready.is_ready,
            rebalance=self._rebalance,
        )

    def _prepare(self, service: str, slot: str, generation: int) -> Prepared:
        """Certificates, port and file of an instance about to start. Generations take turns in two names, so
        that the new one's certificate does not replace that of the old one while it still serves."""
        turn = f"{slot}-{generation % 2}"
        endpoint = Endpoint("127.0.0.1", free_ports(1)[0])
        own = self._certificates.issue(
            Holder(trust="instances", name=turn, usage="server", dns=(service_name(service),))
        )
        folder = self._state.run / "instances"
        folder.mkdir(mode=0o700, exist_ok=True)
        described = (
            self._describe_web(slot, endpoint, own)
            if service == WEB
            else self._describe_app(service, slot, turn, endpoint, own)
        )
        file = folder / f"{turn}.json"
        write_secret(file, encode(described))
        spec = ProcessSpec(
            name=slot,
            argv=(sys.executable, "-I", "-m", "troth.hosting.runner", str(file)),
            environment={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"},
            folder=described.folder,
            log=self._state.logs / f"{slot}.log",
        )
        return Prepared(spec, endpoint)

    def _describe_web(self, slot: str, endpoint: Endpoint, own: LeafFiles) -> InstanceFile:
        file = self._state.run / "web.json"
        write_secret(file, encode(self._web()))
        return InstanceFile(
            name=slot,
            kind="web",
            target="troth.web.app:create",
            factory=True,
            folder=self._state.run,
            port=endpoint.port,
            certificate=own.certificate,
            key=own.key,
            client_ca=self._certificates.ca("callers"),
            environment={"TROTH_WEB": str(file)},
        )

    def _describe_app(
        self, service: str, slot: str, turn: str, endpoint: Endpoint, own: LeafFiles
    ) -> InstanceFile:
        app = self._settings.apps[service]
        client = self._certificates.issue(Holder(trust="apps", name=turn, usage="client"))
        return InstanceFile(
            name=slot,
            kind="app",
            target=app.target,
            folder=app.folder,
            port=endpoint.port,
            certificate=own.certificate,
            key=own.key,
            client_ca=self._certificates.ca("callers"),
            environment={
                "TROTH_API_URL": f"https://{self._private}",
                "TROTH_API_CA": str(self._certificates.ca("instances")),
                "TROTH_API_CERTIFICATE": str(client.certificate),
                "TROTH_API_KEY": str(client.key),
            },
        )

    def _edge_state(self) -> EdgeState:
        return EdgeState(
            address=self._settings.edge.address,
            https_port=self._ports.https,
            http_port=self._ports.http,
            domains=tuple(
                EdgeDomain(one.name, one.app, self._certificates.files(_public(one.name)))
                for one in self._settings.domains
            ),
            web=self.fleets[WEB].in_balancing(),
            apps=tuple(
                EdgeApp(name, fleet.in_balancing()) for name, fleet in self.fleets.items() if name != WEB
            ),
            client=self._certificates.files(EDGE),
            instances_ca=self._certificates.ca("instances"),
            private=PrivateListener(
                self._private, self._certificates.files(PRIVATE), self._certificates.ca("apps")
            ),
            admin_socket=self._state.edge_admin,
            storage=self._state.run / "edge",
            access_log=self._state.logs / "access.log",
            log=self._state.logs / "edge.log",
        )

    async def _rebalance(self) -> None:
        """Without an edge yet, there is nothing to tell it: it starts with what is ready by then."""
        if self._admin is not None:
            await self._admin.load(render(self._edge_state()))

    async def _start_edge(self, tell: Tell) -> str:
        edge = self._edge_state()
        edge.storage.mkdir(mode=0o700, exist_ok=True)
        log = self._state.logs / "edge-start.log"
        self._edge = self._supervisor.start(start_spec(edge, binary=caddy_binary(), log=log))
        self._admin = EdgeAdmin(edge.admin_socket, config_file(edge))
        tell("waiting for the first page")
        await until(self._serves_a_page, what="The edge", log=edge.log)
        return f"{self.face.origin(self.face.domains[0])}, {len(self.face.domains)} domains"

    async def _serves_a_page(self) -> bool:
        domain = self.face.domains[0]
        try:
            async with Visitor(self.face, seconds=2.0) as visitor:
                return (await visitor.request("GET", domain, "/login")).status_code == 200
        except (httpx.HTTPError, OSError):
            return False

    async def _stop_edge(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()
        if self._edge is not None:
            await self._edge.stop()


def _starting(fleet: Fleet) -> Callable[[Tell], Awaitable[str]]:
    async def start(tell: Tell) -> str:
        await fleet.start()
        return f"{fleet.size} instances are ready, mutual TLS"

    return start


def service_of(holder: Holder) -> str | None:
    """The service whose instance holds this certificate: `portal` of `portal-1-0`; None for anybody else."""
    if holder.trust not in ("instances", "apps") or holder == PRIVATE:
        return None
    return holder.name.rsplit("-", 2)[0]


def _public(domain: str) -> Holder:
    return Holder(trust="public", name=domain, usage="server", dns=(domain,), addresses=())


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    return Endpoint(host, int(port))
