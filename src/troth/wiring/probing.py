"""The probes of every room, given the running platform to look at."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import httpx
import msgspec

from troth.access import promises as access
from troth.access.drills import Defects
from troth.access.drills import drills as access_drills
from troth.access.forgery import claims_of
from troth.access.oauth.strict_client import ProbeClients
from troth.access.signing import SigningKeys
from troth.access.tenants import DomainDirectory
from troth.access.tokens import ACCESS_TOKEN
from troth.access.visit import Account, Visit, fetch_token, sign_in, sign_out
from troth.assurance.drills import run_drill, told
from troth.assurance.evidence import gather_evidence
from troth.assurance.factsheet import draw_up
from troth.core.ca import LeafFiles
from troth.core.clock import SystemClock
from troth.core.config import Settings
from troth.core.db import Database
from troth.core.errors import PlatformError, UsageError
from troth.core.leader import client_context
from troth.core.process import Endpoint
from troth.core.promise import Drill, Probe
from troth.core.reach import PublicFace, Visitor
from troth.core.secret import Secret
from troth.core.state import State
from troth.data import promises as data
from troth.data import residency_promise
from troth.data.canary import new_marker
from troth.data.epochs import open_epochs
from troth.data.internal_tls import Hops
from troth.data.intrusion import Stranger
from troth.data.keys import KeyRing, Sealer
from troth.data.patroni import MemberStatus
from troth.data.roles import APP, AUDITOR, OWNER
from troth.data.sealing import read_header
from troth.hosting import doors, healing, network
from troth.hosting import promises as hosting
from troth.hosting.edge_state import WEB
from troth.hosting.tls import promise as ciphers
from troth.wiring.backup_drills import BackupDrills
from troth.wiring.bounding import Bounding
from troth.wiring.certificates import Certificates, Holder
from troth.wiring.database import DatabasePart
from troth.wiring.declaration import (
    CANARIES,
    PROBE_CALLBACK,
    PROBE_CLIENTS,
    PROBE_DOMAIN,
    PROBE_MEMBER,
    PROBE_OUTSIDER,
    PROBE_TENANT,
    read_signins,
)
from troth.wiring.drilling import PlantedDefects, keep_drilled, read_drilled
from troth.wiring.firewall import Firewall
from troth.wiring.hops import PrivateHops
from troth.wiring.monitoring import Monitoring
from troth.wiring.receipts import Receipts
from troth.wiring.rehearsing import Rehearsal
from troth.wiring.replicas import Replicas
from troth.wiring.residency import Residency
from troth.wiring.sampling import sample
from troth.wiring.services import KEEPER, ServicesPart

_STRANGER = Holder(trust="strangers", name="stranger", usage="client")
_SERVING = ("ready", "suspect", "failed")


class Probing:
    """Runs the probes from inside the keeper, one round at a time."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        certificates: Certificates,
        database: DatabasePart,
        services: ServicesPart,
        bounding: Bounding,
        receipts: Receipts,
        backups: BackupDrills,
        residency: Residency,
        replicas: Replicas,
        rehearsal: Rehearsal,
        firewall: Firewall,
        monitoring: Monitoring,
    ) -> None:
        self._settings = settings
        self._state = state
        self._certificates = certificates
        self._database = database
        self._services = services
        self._bounding = bounding
        self._receipts = receipts
        self._backups = backups
        self._residency = residency
        self._replicas = replicas
        self._rehearsal = rehearsal
        self._firewall = firewall
        self._network = services.network
        self._monitoring = monitoring
        self._clock = SystemClock()
        self._one_round = asyncio.Lock()

    def follow(self, settings: Settings) -> None:
        """Settings that were read again."""
        self._settings = settings

    async def factsheet(self, _: dict[str, object]) -> dict[str, object]:
        """Run every probe now and put the factsheet together."""
        async with self._one_round, self._databases(APP, AUDITOR) as (app, auditor):
            face = await self._sample(auditor)
            evidence = await gather_evidence(self._probes(app, auditor, face), self._clock)
        self._monitoring.note(evidence)
        drilled = {one.promise: told(one) for one in read_drilled(self._state)}
        sheet = draw_up(self._settings.platform.name, evidence, self._clock.now(), drilled)
        return msgspec.to_builtins(sheet)

    async def drills(self, _: dict[str, object]) -> dict[str, object]:
        """The promises that can be drilled, and what each drill breaks."""
        async with self._databases(APP, AUDITOR, OWNER) as (app, auditor, owner):
            known = self._drills(app, auditor, owner, self._services.face)
        return {"drills": [{"promise": one.promise, "defect": one.defect} for one in known]}

    async def drill(self, asked: dict[str, object]) -> dict[str, object]:
        """Break one promise on purpose, look, and mend it. Raises UsageError for one without a drill."""
        async with self._one_round, self._databases(APP, AUDITOR, OWNER) as (app, auditor, owner):
            face = await self._sample(auditor)
            drills = {one.promise: one for one in self._drills(app, auditor, owner, face)}
            probes = {one.promise: one for one in self._probes(app, auditor, face)}
            rehearsing = self._rehearsal.probe(self._hosting_view(face))
            probes[rehearsing.promise] = rehearsing
            name = str(asked.get("promise", ""))
            if name not in drills:
                raise UsageError(
                    f"There is no drill of {name[:100]!r}.", hint=f"Try one of: {', '.join(drills)}"
                )
            drilled = await run_drill(drills[name], probes[name], self._clock)
        keep_drilled(self._state, drilled)
        return {**msgspec.to_builtins(drilled), "passed": drilled.passed}

    @asynccontextmanager
    async def _databases(self, *roles: str) -> AsyncGenerator[tuple[Database, ...]]:
        async with AsyncExitStack() as stack:
            opened: list[Database] = []
            for role in roles:
                database = await Database.open(self._database.target(role), max_size=2)
                stack.push_async_callback(database.close)
                opened.append(database)
            yield tuple(opened)

    async def _sample(self, auditor: Database) -> PublicFace:
        return await sample(self._services.face, auditor, acme=self._settings.acme is not None)

    def _probes(self, app: Database, auditor: Database, face: PublicFace) -> tuple[Probe, ...]:
        return (
            *hosting.probes(self._hosting_view(face)),
            *healing.probes(self._services.tending.healing()),
            self._firewall.probe(),
            self._monitoring.probe(),
            *data.probes(self._data_view(auditor)),
            self._backups.probe(),
            residency_promise.probe(self._residency.view()),
            *access.probes(self._access_view(app, auditor, face)),
        )

    def _drills(
        self, app: Database, auditor: Database, owner: Database, face: PublicFace
    ) -> tuple[Drill, ...]:
        defects = PlantedDefects(owner)
        return (
            *data.drills(self._data_view(auditor), defects.weaken, *self._replicas.drills()),
            *self._backups.drills(),
            self._rehearsal.drill(self._hosting_view(face)),
            *hosting.network_drills(self._hosting_view(face), self._network.planted),
            *healing.drills(self._services.tending.healing()),
            residency_promise.drill(self._residency.view(), self._residency.planted),
            self._monitoring.drill(),
            ciphers.drill(face, self._issue_for_drill),
            *doors.drills(face, self._issue_for_drill),
            *self._firewall.drills(),
            *access_drills(self._access_view(app, auditor, face), Defects(defects.promote, defects.register)),
        )

    @contextmanager
    def _issue_for_drill(self, domain: str) -> Generator[LeafFiles]:
        """A certificate for a weak server that stands in for the edge while a drill lasts."""
        holder = Holder(trust="public", name="drill", usage="server", dns=(domain,))
        try:
            yield self._certificates.issue(holder)
        finally:
            self._certificates.forget(holder)

    def _hosting_view(self, face: PublicFace) -> hosting.HostingView:
        async def listeners() -> tuple[hosting.Listener, ...]:
            return await asyncio.to_thread(network.listeners, self._state.root)

        async def instances() -> tuple[hosting.ServiceInstance, ...]:
            return tuple(
                hosting.ServiceInstance(view.service, view.name, self._asking(view.endpoint))
                for view in self._services.instances()
                if view.phase in _SERVING
            )

        async def answering(ports: tuple[int, ...]) -> hosting.Answering:
            return await self._network.answering(ports)

        seen = (face, listeners, answering, instances, self._rehearsal.acting, self._clock.now)
        return hosting.HostingView(*seen, self._network.apart, self._network.why_not)

    def _asking(self, endpoint: str) -> Callable[[], Awaitable[bool]]:
        return lambda: self._services.ready.is_ready(Endpoint.read(endpoint))

    def _data_view(self, auditor: Database) -> data.DataView:
        canary = _Canary(self, auditor)
        stranger = self._certificates.issue(_STRANGER)
        private = PrivateHops(self._state, self._database, self._services)

        async def password_hashes() -> Sequence[str]:
            rows = await auditor.fetch("select password_shape from person where password_shape is not null")
            return [row["password_shape"] for row in rows]

        async def members() -> tuple[data.Seen, ...]:
            reported, streaming = await asyncio.gather(self._database.report(), self._database.streaming())
            return tuple(data.Seen(one.name, one.role, _state(one, streaming)) for one in reported)

        return data.DataView(
            state_root=self._state.root,
            plant=canary.plant,
            uproot=canary.uproot,
            password_hashes=password_hashes,
            members=members,
            hops=Hops(
                private.ports,
                Stranger(stranger.certificate, stranger.key),
                lambda: private.captured(lambda: self._drive(_Canary(self, auditor))),
            ),
            survivals=self._receipts.history,
            elsewhere=self._database.judge_elsewhere,
            last_failover=self._replicas.last_failover,
        )

    async def _drive(self, canary: "_Canary") -> None:
        """A visit through every hop: a document is written, read and deleted, a page of the application is
        asked for, and the members tell how they are."""
        try:
            await canary.plant(new_marker())
            async with self.visitor() as visitor:
                await visitor.request("GET", PROBE_DOMAIN, "/")
            await self._database.report()
        finally:
            await canary.uproot()

    def _access_view(self, app: Database, auditor: Database, face: PublicFace) -> access.AccessView:
        port = self._services.face.https_port
        directory = DomainDirectory(app, self._clock, port=port)
        ring = KeyRing(app, open_epochs(self._state.root_key))
        keys = SigningKeys(app, Sealer(ring), self._clock)

        async def mint(good: str, instead: Mapping[str, object]) -> str:
            domain = await directory.find(PROBE_DOMAIN)
            claims = {**claims_of(good), **instead}
            return (await keys.ring(domain)).signer.sign(claims, ACCESS_TOKEN)

        async def instances() -> tuple[access.Ask, ...]:
            views = [one for one in self._services.instances() if one.service == WEB]
            return tuple(self._asking_directly(one.endpoint) for one in views if one.phase in _SERVING)

        async def rows_without_grants(collection: str) -> int:
            return await count_rows_without_grants(app, auditor, collection)

        return access.AccessView(
            face=face,
            visitor=self.visitor,
            clients=ProbeClients(*PROBE_CLIENTS, PROBE_CALLBACK, f"{CANARIES}:read"),
            member=self.account(PROBE_MEMBER),
            outsider=self.account(PROBE_OUTSIDER),
            collections=(CANARIES, *self._settings.collections),
            mint=mint,
            instances=instances,
            rows_without_grants=rows_without_grants,
            watched=self._bounding.watched,
        )

    def account(self, email: str) -> Account:
        """One of the users that were declared for probing."""
        password = read_signins(self._state)[f"{PROBE_TENANT}/{email}"]
        return Account(PROBE_DOMAIN, email, Secret(password.encode()))

    def visitor(self) -> Visitor:
        """A client of the public side."""
        return Visitor(self._services.face)

    async def enter(self, visitor: Visitor) -> Visit:
        """Sign in as the probes' member."""
        return await sign_in(visitor, self._services.face, self.account(PROBE_MEMBER))

    async def leave(self, visitor: Visitor, visit: Visit) -> None:
        """Sign out again."""
        await sign_out(visitor, self._services.face, visit)

    def _asking_directly(self, endpoint: str) -> access.Ask:
        """Ask one instance past the edge, as the edge does: over mutual TLS, as one of its callers."""
        files = self._certificates.files(KEEPER)
        context = client_context(self._certificates.ca("instances"), files.certificate, files.key)
        authority = self._services.face.origin(PROBE_DOMAIN).removeprefix("https://")

        async def ask(domain: str, token: str) -> int:
            async with httpx.AsyncClient(verify=context, timeout=5.0, trust_env=False) as client:
                answer = await client.get(
                    f"https://{endpoint}/api/v1/{CANARIES}?limit=1",
                    headers={"Host": authority, "Authorization": f"Bearer {token}"},
                )
            return answer.status_code

        return ask


def _state(member: MemberStatus, streaming: frozenset[str]) -> str:
    """A standby's state as the set reports it, unless the leader sees nothing of it."""
    if member.state == "streaming" and member.name not in streaming:
        return "silent"
    return member.state


async def count_rows_without_grants(app: Database, auditor: Database, collection: str) -> int:
    """How many rows of a collection the database shows to a context that names a tenant and no grant."""
    shown = 0
    for row in await auditor.fetch("select id from tenant"):
        async with app.transaction() as connection:
            await connection.execute("select set_config('troth.tenant', $1, true)", str(row["id"]))
            shown += await connection.fetchval(
                "select count(*) from document where collection = $1", collection
            )
    return shown


class _Canary:
    """One canary: written through the public API like any document, and taken away the same way."""

    def __init__(self, probing: Probing, auditor: Database) -> None:
        self._probing = probing
        self._auditor = auditor
        self._identifier = ""

    async def plant(self, marker: str) -> str:
        """Write and read back; returns the algorithm in the stored header. Raises PlatformError."""
        async with self._probing.visitor() as visitor:
            visit = await self._probing.enter(visitor)
            bearer = {"Authorization": f"Bearer {await fetch_token(visitor, visit)}"}
            created = await visitor.request(
                "POST", visit.domain, f"/api/v1/{CANARIES}", headers=bearer, json={"text": marker}
            )
            if created.status_code != 201:
                raise PlatformError(f"The canary was not stored: status {created.status_code}.")
            self._identifier = created.json()["_meta"]["id"]
            read = await visitor.request("GET", visit.domain, self._path, headers=bearer)
            await self._probing.leave(visitor, visit)
        if read.json().get("text") != marker:
            raise PlatformError("The canary did not come back as it was written.")
        seal: bytes = await self._auditor.fetchval(
            "select seal from document where collection = $1 and id = $2::uuid", CANARIES, self._identifier
        )
        return read_header(seal).cipher

    async def uproot(self) -> None:
        """Delete it, if it was written. Raises PlatformError when it stays."""
        if not self._identifier:
            return
        async with self._probing.visitor() as visitor:
            visit = await self._probing.enter(visitor)
            bearer = {"Authorization": f"Bearer {await fetch_token(visitor, visit)}"}
            gone = await visitor.request("DELETE", visit.domain, self._path, headers=bearer)
            await self._probing.leave(visitor, visit)
        if gone.status_code != 204:
            raise PlatformError(f"The canary could not be deleted: status {gone.status_code}.")

    @property
    def _path(self) -> str:
        return f"/api/v1/{CANARIES}/{self._identifier}"
