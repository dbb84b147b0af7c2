"""The services as a part of the platform: Troth's own, the applications, and the edge before them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import httpx

from troth.core.config import Settings
from troth.core.process import Endpoint
from troth.core.reach import PublicFace, Visitor
from troth.core.secret import new_token, write_secret
from troth.core.state import State
from troth.hosting.deployment import Deployment
from troth.hosting.edge import render
from troth.hosting.edge_admin import (
    EdgeAdmin,
    Upstream,
    caddy_binary,
    config_file,
    edge_spec,
    lags,
    write_config,
)
from troth.hosting.edge_proxy import NOTICED_SECONDS
from troth.hosting.edge_state import VISITED, WEB
from troth.hosting.edge_stop import stop_edge
from troth.hosting.health import ReadinessProbe
from troth.hosting.instance import Change, Instance, InstanceView, Prepared, Release
from troth.hosting.instances import Fleet
from troth.hosting.plan import Step, Tell
from troth.hosting.ports import PublicPorts
from troth.hosting.releases import Shelf
from troth.hosting.supervisor import Supervised, Supervisor
from troth.wiring.blueprint import PRIVATE, Blueprint, WebConfiguration, service_of, turn_of
from troth.wiring.certificates import Certificates, Holder
from troth.wiring.fronting import EDGE, Front, public_holder
from troth.wiring.private_network import Doors, PrivateNetwork
from troth.wiring.tending import Tending
from troth.wiring.waiting import until

KEEPER = Holder(trust="callers", name="keeper", usage="client")


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
        private: Iterator[int],
        web: Callable[[], WebConfiguration],
        network: PrivateNetwork,
    ) -> None:
        self._settings = settings
        self.network = network
        self._state = state
        self._certificates = certificates
        self._supervisor = supervisor
        self._ports = ports
        self._private = Endpoint("127.0.0.1", next(private))
        self._gate = Endpoint("127.0.0.1", next(private))
        self._blueprint = Blueprint(
            settings,
            state,
            certificates,
            private=self._private,
            web=web,
            ports=private,
            resumes=supervisor.takes_over,
        )
        at = {"private": self._private, "gate": self._gate}
        self._front = Front(state, certificates, self._blueprint, ports=ports, **at, apart=network.apart)
        self._edge: Supervised | None = None
        self._admin: EdgeAdmin | None = None
        self._edge_lags = False
        keeper = certificates.obtain(KEEPER)
        self.ready = ReadinessProbe(certificates.ca("instances"), keeper.certificate, keeper.key, keeps=True)
        first = self._blueprint.first_release
        self.fleets = {WEB: self._fleet(WEB, settings.web.instances, first(WEB))}
        self.fleets |= {
            name: self._fleet(name, app.instances, first(name)) for name, app in settings.apps.items()
        }
        self.tending = Tending(self.fleets, state, supervisor)
        certificates.obtain(EDGE)
        certificates.obtain(PRIVATE)
        for domain in settings.domains:
            certificates.obtain(public_holder(domain.name))

    def _forget_domains(self) -> None:
        """The edge reads the certificates of domains that are gone no more, also when it is started again."""
        names = {domain.name for domain in self._settings.domains}
        for holder in self._certificates.holders(lambda one: one.trust == "public"):
            if holder.name not in names:
                self._certificates.forget(holder)

    @property
    def face(self) -> PublicFace:
        """Where the edge meets the public."""
        return PublicFace(
            address=VISITED if self.network.apart else self._settings.edge.address,
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
            after=(*self.fleets, *self.network.names_of_steps),
            stop=self._stop_edge,
        )
        return (*fleets, edge)

    @property
    def size(self) -> int:
        """How many instances there are when all are well."""
        return sum(fleet.size for fleet in self.fleets.values())

    def instances(self) -> tuple[InstanceView, ...]:
        """Every instance of every service."""
        return tuple(view for fleet in self.fleets.values() for view in fleet.views())

    async def report_instances(self) -> tuple[InstanceView, ...]:
        return self.instances()

    def in_balancing(self) -> frozenset[str]:
        """The places that the edge may send requests to now."""
        return frozenset(str(place) for fleet in self.fleets.values() for place in fleet.in_balancing())

    async def report_edge(self) -> dict[str, object]:
        """The edge's addresses and what it balances over."""
        upstreams: tuple[Upstream, ...] = await self._admin.upstreams() if self._admin else ()
        lively = self.in_balancing()
        return {
            "address": self._settings.edge.address,
            "https_port": self._ports.https,
            "http_port": self._ports.http,
            "domains": list(self.face.domains),
            "private": str(self._private),
            "upstreams": [upstream for upstream in upstreams if upstream.address in lively],
        }

    async def troubles(self) -> tuple[str, ...]:
        """A sentence for each instance that should serve and does not."""
        silent = tuple(trouble for fleet in self.fleets.values() for trouble in fleet.troubles())
        return (*silent, *self.tending.troubles())

    async def check(self) -> str:
        """Ask every instance; the edge follows."""
        found = await asyncio.gather(*(fleet.check() for fleet in self.fleets.values()))
        return "; ".join(trouble for troubles in found for trouble in troubles)

    async def renew_certificates(self) -> str:
        """Renew what is due: the edge reads its files again, instances are replaced one after the other."""
        due = self._certificates.due(lambda one: service_of(one) is not None)
        services = sorted({name for name in map(service_of, due) if name is not None})
        words = [await self._renew_edge()]
        for name in services:
            await self._replace(name)
            words.append(f"replaced the instances of {name}")
        return ", ".join(filter(None, words))

    async def _renew_edge(self) -> str:
        due = self._certificates.due(lambda one: one in (EDGE, KEEPER, PRIVATE) or one.trust == "public")
        for holder in due:
            self._certificates.issue(holder)
        # Renewed on disk they are not due again for long: the edge must be told until it has followed.
        self._edge_lags = self._edge_lags or bool(due)
        if self._edge_lags and self._admin:
            await self._admin.load(render(self._front.describe(self._settings)), force=True)
            self._forget_domains()
            self._edge_lags = False
        return f"renewed {len(due)} certificates of the edge" if due else ""

    async def reload_edge(self) -> None:
        """Have the edge read its certificates and authorities again. Raises PlatformError."""
        self._edge_lags = True
        await self._renew_edge()

    async def replace_instances(self, *, applications: bool = False) -> int:
        """Replace all instances, or those of applications alone, services side by side; returns how many."""
        names = [name for name in self.fleets if not (applications and name == WEB)]
        outcomes = await asyncio.gather(*map(self._replace, names), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return sum(self.fleets[name].size for name in names)

    async def resize(self, service: str, wanted: int) -> None:
        """Have so many instances of a service. Raises PlatformError when a new one does not become ready."""
        try:
            await self.fleets[service].resize(wanted)
        finally:
            self._forget_gone(service)

    def shelf(self, service: str) -> Shelf:
        """The releases of an application."""
        return self._blueprint.shelves[service]

    def deployment(self, service: str) -> Deployment:
        """How a release of an application takes over from another."""

        return Deployment(self.fleets[service], notice=notice, check=self._compare)

    async def _compare(self, new: Instance, old: Instance) -> str:
        """The new release must not fail where the old one does not. Asked without anybody's session, an
        application may fail by itself: that is held against neither."""
        answers = [await self.ready.ask(one.endpoint, "/") for one in (old, new)]
        if answers[0].status >= 500 or 0 < answers[1].status < 500:
            return ""
        return f"answers {answers[1].status or answers[1].detail} to a first request"

    def forget_gone(self, service: str) -> None:
        """Forget the certificates of instances that live no more."""
        self._forget_gone(service)

    async def in_flight(self) -> dict[str, int]:
        """Requests under way at each place, as the edge counts them. Raises PlatformError."""
        return await self._admin.in_flight() if self._admin else {}

    def ports(self) -> tuple[tuple[str, Endpoint], ...]:
        """Every private port of services, with a name; all speak HTTPS."""
        instances = tuple(
            (view.name, Endpoint.read(view.endpoint)) for view in self.instances() if view.phase == "ready"
        )
        return (("edge for applications", self._private), ("gate of certificates", self._gate), *instances)

    def doors(self) -> Doors:
        """What the two sides of the private network offer one another."""
        instances = tuple(one.port for name in self.fleets for one in self._blueprint.places_of(name))
        return Doors(instances, (self._private.port, self._gate.port, self._ports.https, self._ports.http))

    def places(self) -> tuple[tuple[str, Endpoint], ...]:
        """The same ports, with every place where an instance may come to answer."""
        places = tuple(
            (f"{service} at {place}", place)
            for service in self.fleets
            for place in self._blueprint.places_of(service)
        )
        return (("edge for applications", self._private), ("gate of certificates", self._gate), *places)

    async def _replace(self, service: str) -> None:
        """New instances with new certificates."""
        try:
            await self.fleets[service].replace_all()
        finally:
            self._forget_gone(service)

    def _forget_gone(self, service: str) -> None:
        """Forget the certificates of instances that live no more: after a replacement that failed half-way,
        new and old ones live side by side."""
        living = {turn_of(view.name, view.generation) for view in self.fleets[service].views()}
        for holder in self._certificates.holders(lambda one: service_of(one) == service):
            if holder.name not in living:
                self._certificates.forget(holder)

    def _fleet(self, name: str, size: int, release: Release) -> Fleet:
        async def prepare(slot: str, generation: int, release: Release) -> Prepared:
            return self._blueprint.prepare(name, slot, generation, release)

        async def is_ready(endpoint: Endpoint) -> bool:
            app = self._settings.apps.get(name)
            path = app.health if app is not None else ""
            return await self.ready.is_started(endpoint) and (
                not path or await self.ready.is_well(endpoint, path)
            )

        fleet = Fleet(
            name,
            size,
            release=release,
            supervisor=self._supervisor,
            prepare=prepare,
            resume=lambda slot, generation, release: self._blueprint.resume(name, slot, generation, release),
            is_ready=is_ready,
            rebalance=self._rebalance,
        )
        fleet.watchers.append(self._tidy)
        return fleet

    def _tidy(self, change: Change) -> None:
        """The certificates of an instance that has stopped are nobody's, and must not fall due."""
        if change.phase != "stopped":
            return
        turn = turn_of(change.name, change.generation)
        for holder in self._certificates.holders(lambda one: service_of(one) == change.service):
            if holder.name == turn:
                self._certificates.forget(holder)

    async def _rebalance(self) -> None:
        """The edge is told nothing: it asks every place by itself, and has followed after this time."""
        if self._admin is not None:
            await asyncio.sleep(NOTICED_SECONDS)

    async def _start_edge(self, tell: Tell) -> str:
        edge = self._front.describe(self._settings)
        edge.storage.mkdir(mode=0o700, exist_ok=True)
        spec = edge_spec(edge, binary=caddy_binary(), log=self._state.logs / "edge-start.log")
        spec = self.network.at_the_door(spec, self._ports)
        runs = self._supervisor.find_kept(spec) is not None
        if not runs:
            write_secret(self._front.password, new_token().encode())
            write_config(edge)
        self._edge = self._supervisor.start(spec)
        self._admin = EdgeAdmin(edge.admin_socket, config_file(edge))
        self._edge_lags = runs and lags(edge)
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
        await self.tending.stop()
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()
        self.ready.close()
        if self._edge is not None:
            applications = (fleet for name, fleet in self.fleets.items() if name != WEB)
            await stop_edge(self._edge, applications)


async def notice() -> None:
    """The edge has followed a change by then."""
    await asyncio.sleep(NOTICED_SECONDS)


def _starting(fleet: Fleet) -> Callable[[Tell], Awaitable[str]]:
    async def start(tell: Tell) -> str:
        await fleet.start()
        return f"{fleet.size} instances are ready, mutual TLS"

    return start
