"""The whole platform as a plan for the keeper."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

from troth.access.alarms import Alarm, recent_alarms
from troth.core import logs
from troth.core.clock import SystemClock
from troth.core.config import Settings
from troth.core.db import Database
from troth.core.secret import write_public
from troth.core.state import State
from troth.data.backups.tool import SLOT
from troth.data.epochs import begin_first, folder_beside
from troth.data.keys import make_root_key
from troth.data.postgres import find_binaries
from troth.data.recovery import make_recovery_key
from troth.data.roles import APP, AUDITOR
from troth.hosting.plan import Address, Duty, Launch, Plan, Step, Summary, Tell
from troth.hosting.supervisor import Supervisor
from troth.hosting.tending import EVERY_SECONDS as EVERY_LOOK_SECONDS
from troth.wiring import bounding, firewall, receipts, residency
from troth.wiring.administration import Office, recheck_domains
from troth.wiring.administration import actions as office_actions
from troth.wiring.backup_drills import BackupDrills
from troth.wiring.backups import BackupsPart
from troth.wiring.blueprint import WebConfiguration
from troth.wiring.bounding import Bounding
from troth.wiring.certificates import Certificates, Held
from troth.wiring.database import DatabasePart, find_programs
from troth.wiring.declaration import PROBE_TENANT, signins_to_show, with_probes
from troth.wiring.declaring import declare_all, mend_all
from troth.wiring.external_database import ExternalDatabase
from troth.wiring.firewall import Firewall
from troth.wiring.key_epochs import KeyEpochs
from troth.wiring.logouts import EVERY_SECONDS as LOGOUT_SECONDS
from troth.wiring.logouts import LogoutTelling
from troth.wiring.mailing import EVERY_SECONDS, LIMIT_SECONDS, Mailing
from troth.wiring.monitoring import Monitoring, Parts
from troth.wiring.private_network import PrivateNetwork
from troth.wiring.probing import Probing
from troth.wiring.reading import check, read_again
from troth.wiring.receipts import Receipts
from troth.wiring.reloaded_services import ReloadedServices
from troth.wiring.reloading import Hands, Reloading
from troth.wiring.replicas import Replicas
from troth.wiring.residency import Residency
from troth.wiring.resuming import PortBook, keep_settings, settings_of
from troth.wiring.revoking import Revoking
from troth.wiring.serving import Serving
from troth.wiring.trail import note

REPLACEMENT_SECONDS = 45.0
"""For one instance: its start, the edge's notice of it, and the end of the one before."""

RECHECK_SECONDS = 300.0
"""Between two looks at the records of a few domains, each of which is asked for once a day."""

CHECK_SECONDS = 1.0
"""Between two readiness checks of every instance."""


async def build(launch: Launch, supervisor: Supervisor) -> Plan:
    """Everything that `troth up` brings up. Raises ConfigError before anything has started."""
    settings, state = settings_of(launch, resume=supervisor.takes_over), State(launch.state)
    if not supervisor.takes_over:
        check(settings, state)
    network = PrivateNetwork(settings, state, supervisor, launch.not_apart)
    return Platform(settings, state, supervisor, partial(read_again, launch, state), network).plan()


def connections_for(instances: int) -> int:
    """The database connections of each web instance, besides the one that watches the leader and the one that
    listens for endings: a member takes 60 (`data.replicas`), of which all instances, and one that is about to
    replace another, share 51."""
    return max(1, min(8, 51 // (instances + 1) - 2))


class Platform:
    """The parts, and how they depend on one another."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        supervisor: Supervisor,
        read: Callable[[Settings], Settings],
        network: PrivateNetwork,
    ) -> None:
        """`settings` are checked; `read` reads them again, given those that it runs with."""
        self._declared, self._resumes = settings, supervisor.takes_over
        self._settings = settings = with_probes(settings)
        logs.log_as(settings.logging.format, "keeper")
        self._state = state
        self._network = network
        ports, private = network.ports(PortBook(state, resume=self._resumes))
        fresh = make_root_key(state.root_key, sealed=any(state.members.glob("*/data/PG_VERSION")))
        if fresh and not settings.database.hosts:
            begin_first(folder_beside(state.root_key))
        make_recovery_key(state.recovery_key)
        clock = SystemClock()
        self._certificates = Certificates(
            state, timedelta(minutes=settings.certificates.lifetime_minutes), clock
        )
        write_public(state.public_ca, self._certificates.ca("public").read_bytes())
        self._database = self._describe_database(supervisor, private)
        self._backups = BackupsPart(settings.backup, state, self._database, supervisor, clock)
        self._key_epochs = KeyEpochs(settings.backup, state, self._database.target, clock)
        self._backup_drills = BackupDrills(
            settings.backup, state, self._database, clock, self._backups.log.shipped, self._key_epochs.keep
        )
        self._backups.after.append(self._backup_drills.after_backup)
        self._backups.before_stop.append(self._backup_drills.stop)
        self._replicas = Replicas(state, self._database)
        self._services = ReloadedServices(
            settings,
            state,
            self._certificates,
            supervisor,
            ports=ports,
            private=private,
            web=self._web,
            network=network,
        )
        self._serving = Serving(settings, state, self._services, clock)
        port = self._services.face.https_port
        self._office = Office(settings, state, self._database.target, port)
        self._mailing = settings.mail and Mailing(settings.mail, state, self._database.target, port)
        self._bounding = Bounding(state, self._certificates, self._database, self._services)
        self._receipts = Receipts(state, self._database.target)
        self._residency = Residency(
            self._declared,
            state,
            self._database.target,
            edge_ports=frozenset({ports.https, ports.http}),
        )
        self._firewall = Firewall(self._declared, state, self._database.target, ports)
        parts = Parts(self._certificates, self._database, self._services, self._backups, self._backup_drills)
        self._monitoring = Monitoring(settings, state, supervisor, parts, self._residency)
        self._probing = Probing(
            settings,
            state,
            self._certificates,
            self._database,
            self._services,
            self._bounding,
            self._receipts,
            self._backup_drills,
            self._residency,
            self._replicas,
            self._serving.rehearsal,
            self._firewall,
            self._monitoring,
        )
        self._revoking = Revoking(self._certificates, self._database, self._services, clock)
        self._logouts = LogoutTelling(settings.outgoing, state, self._database.target, port)
        hands = Hands(read, self._follow, self._bring_in_line, self._keep, self._serving.busy, self._note)
        self._reloading = Reloading(self._declared, self._services, hands)
        self._serving.before_stop.append(self._reloading.stop)

    def _describe_database(self, supervisor: Supervisor, ports: Iterator[int]) -> DatabasePart:
        """Here, or elsewhere."""
        database = self._settings.database
        if database.hosts:
            return ExternalDatabase(self._state, self._settings, find_binaries(database.binaries))
        return DatabasePart(
            self._state,
            self._certificates,
            supervisor,
            members=database.members,
            programs=find_programs(database.binaries),
            ports=ports,
            slots=(SLOT,) if self._settings.backup is not None else (),
        )

    def plan(self) -> Plan:
        """For the keeper."""
        return self._monitoring.over(self._unwatched())

    def _unwatched(self) -> Plan:
        declaration = Step(
            name="declaration", title="Tenants and users", start=self._declare, after=("schema",)
        )
        return Plan(
            platform=self._settings.platform.name,
            steps=(
                *self._network.steps(self._services.doors),
                *self._database.steps(),
                declaration,
                *self._post_step(),
                Step(
                    name="sign-outs",
                    title="Sign-outs to clients",
                    start=self._open_logouts,
                    after=("schema",),
                    stop=self._logouts.close,
                ),
                Step(
                    name="receipts",
                    title="Receipts of writes",
                    start=self._receipts.open,
                    after=("declaration",),
                    stop=self._receipts.close,
                ),
                *self._services.steps(after="declaration"),
                self._serving.step(),
                *self._backups.steps(),
            ),
            summary=self._summarize,
            duties=(
                Duty(
                    name="owners of domains",
                    every=RECHECK_SECONDS,
                    work=lambda: recheck_domains(self._office),
                ),
                *self._network.duties(),
                *self._serving.duties(),
                Duty(name="health checks", every=CHECK_SECONDS, work=self._services.check),
                Duty(name="health of instances", every=EVERY_LOOK_SECONDS, work=self._services.tending.look),
                Duty(
                    name="certificates",
                    # Due at two thirds of a life: often enough not to miss the last third.
                    every=min(60.0, self._settings.certificates.lifetime_minutes * 60 / 12),
                    work=self._renew,
                    limit=60.0 + REPLACEMENT_SECONDS * self._services.size,
                ),
                Duty(name="bound", every=bounding.EVERY_SECONDS, work=self._bounding.measure, limit=60.0),
                *self._post_duty(),
                Duty(name="sign-outs told to clients", every=LOGOUT_SECONDS, work=self._logouts.work),
                Duty(
                    name="receipts",
                    every=receipts.EVERY_SECONDS,
                    work=self._receipts.work,
                    limit=receipts.LIMIT_SECONDS,
                ),
                *self._backups.duties(),
                *self._replicas.duties(),
                Duty(name="firewall", every=firewall.EVERY_SECONDS, work=self._firewall.work),
                *self._key_epochs.duties(),
                Duty(name="outgoing connections", every=residency.EVERY_SECONDS, work=self._residency.work),
            ),
            status={
                "addresses": self._report_addresses,
                "members": self._database.report,
                "replica_set": self._replicas.report,
                "instances": self._services.report_instances,
                "health": self._services.tending.report,
                **self._serving.reports(),
                "edge": self._services.report_edge,
                "certificates": self._report_certificates,
                "alarms": self._report_alarms,
                "bound": self._bounding.watched,
                "receipts": self._receipts.report,
                "backups": self._backups.report,
                "backup_drills": self._backup_drills.report,
                "keys": self._key_epochs.report,
                "residency": self._residency.report,
                "firewall": self._firewall.report,
                "network": self._network.report,
            },
            troubles=self._find_troubles,
            resumable=True,
            actions={
                "factsheet": self._probing.factsheet,
                "drills": self._probing.drills,
                "drill": self._probing.drill,
                **office_actions(self._office),
                **self._backups.actions(),
                **self._backup_drills.actions(),
                **self._key_epochs.actions(),
                **self._revoking.actions(),
                **self._serving.actions(),
                **self._replicas.actions(),
                **self._reloading.actions(),
            },
        )

    def _post_step(self) -> tuple[Step, ...]:
        if not self._mailing:
            return ()
        stop = self._mailing.close
        return (Step(name="post", title="Post", start=self._open_post, after=("schema",), stop=stop),)

    def _post_duty(self) -> tuple[Duty, ...]:
        if not self._mailing:
            return ()
        return (Duty(name="post", every=EVERY_SECONDS, work=self._mailing.work, limit=LIMIT_SECONDS),)

    async def _open_logouts(self, _: Tell) -> str:
        private = self._settings.outgoing.private
        return "private addresses too" if private else "public addresses alone"

    async def _open_post(self, _: Tell) -> str:
        mail = self._settings.mail
        return f"by {mail.host}, over TLS" if mail else ""

    def _web(self) -> WebConfiguration:
        return WebConfiguration(
            platform=self._settings.platform.name,
            database=self._database.target(APP),
            root_key=self._state.root_key,
            https_port=self._services.face.https_port,
            connections=connections_for(self._settings.web.most),
            collections=dict(self._settings.collections),
            public={name: app.public for name, app in self._settings.apps.items()},
            mail=self._settings.mail is not None,
            breached=self._settings.passwords.breached,
            name_servers=self._settings.dns.servers,
            name_server_port=self._settings.dns.port,
            client_per_second=self._settings.web.client_per_second,
            network_per_second=self._settings.web.network_per_second,
        )

    async def _declare(self, tell: Tell) -> str:
        if self._resumes:  # what troth.toml says now takes effect with a start or a reload
            await mend_all(self._database.target)
            return "as declared before"
        await self._bring_in_line(self._declared)
        declared = self._declared
        return (
            f"{len(declared.tenants)} tenants, {len(declared.domains)} domains, {len(declared.users)} users"
        )

    async def _bring_in_line(self, settings: Settings) -> None:
        await declare_all(with_probes(settings), self._state, self._database.target)

    def _follow(self, settings: Settings) -> None:
        """Settings that were read again, to whoever holds the former ones."""
        self._declared, self._settings = settings, with_probes(settings)
        logs.log_as(settings.logging.format, "keeper")
        self._residency.follow(settings)
        self._firewall.follow(settings)
        self._monitoring.follow(self._settings)
        self._office.follow(self._settings)
        self._probing.follow(self._settings)
        self._logouts.follow(settings.outgoing)
        if self._mailing and settings.mail:
            self._mailing.follow(settings.mail)
        for part in (self._backups, self._backup_drills, self._key_epochs):
            part.follow(settings.backup)
        self._serving.follow(self._settings)
        self._services.follow(self._settings)
        self._network.follow(self._settings, self._services.doors())

    def _keep(self, settings: Settings) -> None:
        """A keeper that takes over goes on with these."""
        keep_settings(self._state, settings)
        self._services.keep_web_release()

    async def _note(self, event: str, detail: object) -> None:
        await note(self._database.target, event, (detail,))

    async def _renew(self) -> str:
        """Both parts are looked after, even if one of them fails."""
        outcomes = await asyncio.gather(
            self._database.renew_certificates(), self._services.renew_certificates(), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return "; ".join(word for word in outcomes if isinstance(word, str) and word)

    async def _report_alarms(self) -> tuple[Alarm, ...]:
        auditor = await Database.open(self._database.target(AUDITOR), max_size=1)
        try:
            return await recent_alarms(auditor, probes=PROBE_TENANT)
        finally:
            await auditor.close()

    async def _report_certificates(self) -> tuple[Held, ...]:
        return self._certificates.report()

    async def _find_troubles(self) -> tuple[str, ...]:
        found = await asyncio.gather(
            self._database.troubles(),
            self._services.troubles(),
            self._backups.troubles(),
            self._residency.troubles(),
            self._firewall.troubles(),
        )
        kept = (*self._backup_drills.troubles(), *self._key_epochs.troubles())
        return (*(trouble for part in found for trouble in part), *kept)

    async def _report_addresses(self) -> tuple[Address, ...]:
        face = self._services.face
        return tuple(Address(one.branding.name, face.origin(one.name)) for one in self._declared.domains)

    async def _summarize(self) -> Summary:
        warning = self._database.replicas.binaries.warning
        return Summary(
            platform=self._settings.platform.name,
            addresses=await self._report_addresses(),
            signins=signins_to_show(self._declared, self._state, self._services.face.origin),
            ca=self._state.public_ca,
            notes=(warning,) if warning else (),
        )
