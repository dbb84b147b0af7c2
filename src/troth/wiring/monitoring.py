"""The watch over the platform as a part of it: sources, metrics, alerts, and the probe of their promise."""

from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from troth.core.clock import SystemClock, to_wire
from troth.core.config import Settings
from troth.core.promise import Drill, Evidence, Probe
from troth.core.state import State
from troth.hosting.edge_routes import WEB_PATHS
from troth.hosting.plan import Plan, Step, Tell
from troth.hosting.supervisor import Supervisor
from troth.hosting.watch import promise
from troth.hosting.watch.endpoint import serve_metrics
from troth.hosting.watch.metrics import Sample, render
from troth.hosting.watch.promise import MonitoringView
from troth.hosting.watch.watching import Look, Watch, Watched
from troth.wiring.alert_targets import senders
from troth.wiring.alerting import Alerting
from troth.wiring.backup_drills import BackupDrills
from troth.wiring.backups import BackupsPart
from troth.wiring.certificates import Certificates
from troth.wiring.database import DatabasePart
from troth.wiring.drilling import read_drilled
from troth.wiring.history import History
from troth.wiring.residency import Residency
from troth.wiring.services import ServicesPart
from troth.wiring.tracing import Tracing
from troth.wiring.watching import (
    BackupsWatch,
    CertificatesWatch,
    DutyBook,
    EdgeWatch,
    InstancesWatch,
    KeeperWatch,
    MachineWatch,
    ProcessWatch,
)
from troth.wiring.watching_database import DatabaseWatch


class Parts(msgspec.Struct, frozen=True):
    """What is watched."""

    certificates: Certificates
    database: DatabasePart
    services: ServicesPart
    backups: BackupsPart
    backup_drills: BackupDrills


class Monitoring:
    """Everything that watches. The parts that are watched know nothing of it."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        supervisor: Supervisor,
        parts: Parts,
        residency: Residency,
    ) -> None:
        self._state = state
        self._residency = residency
        self._clock = SystemClock()
        self._duties = DutyBook()
        self._evidence: tuple[Evidence, ...] = ()
        self._database = DatabaseWatch(parts.database, self._clock)
        self._open = AsyncExitStack()
        self._tracing = Tracing(settings, state, tuple(path.removesuffix("/*") for path in WEB_PATHS))
        self.watch = Watch(
            (
                KeeperWatch(self._duties, self._at_hand).source(),
                ProcessWatch(supervisor).source(),
                MachineWatch(state.root, _folders(settings, state)).source(),
                InstancesWatch(parts.services).source(),
                EdgeWatch(parts.services).source(),
                *self._database.sources(),
                BackupsWatch(parts.backups, parts.backup_drills, self._clock).source(),
                CertificatesWatch(
                    parts.certificates, settings.certificates.lifetime_minutes, self._clock
                ).source(),
                Watched("promises", 5.0, self._promises),
            ),
            self._clock,
        )
        self.alerting = Alerting(
            settings, state.alerts, self.watch, senders(settings, self._clock), self._clock
        )

        self._history = History(self._database.connected, self.watch.samples, self._clock)

    def follow(self, settings: Settings) -> None:
        """Settings that were read again. Raises ConfigError for a target that cannot be told."""
        self.alerting.follow(settings, senders(settings, self._clock))
        self._tracing.follow(settings)

    # --- for the plan ---------------------------------------------------------------------------------------

    def over(self, plan: Plan) -> Plan:
        """The plan with the watch over it: the socket of the metrics as its last step, the duties noted down,
        and those of the watch itself. The watch begins with the duties."""
        step = Step(name="monitoring", title="Monitoring", start=self._begin, after=("edge",), stop=self._end)
        parts = (self.watch, self.alerting, self._history, self._tracing)
        own = (duty for part in parts for duty in part.duties())
        actions = {"metrics": self.metrics, **self.alerting.actions(), **self._history.actions()}
        return msgspec.structs.replace(
            plan,
            steps=(*plan.steps, step),
            duties=self._duties.over((*plan.duties, *own)),
            status={**plan.status, "alerts": self.alerting.report},
            actions={**plan.actions, **actions},
        )

    async def metrics(self, _: dict[str, object]) -> dict[str, object]:
        """For `troth metrics`."""
        return {"text": self.render()}

    def render(self) -> str:
        """Every number that is known now, in Prometheus' text format."""
        return render(self.watch.samples())

    def note(self, evidence: tuple[Evidence, ...]) -> None:
        """What the probes last saw."""
        self._evidence = evidence

    def probe(self) -> Probe:
        return promise.probe(self._view())

    def drill(self) -> Drill:
        return promise.drill(self._view(), self.watch.standing_still)

    # --- the work -------------------------------------------------------------------------------------------

    async def _begin(self, _: Tell) -> str:
        self.watch.begin()
        await self._open.enter_async_context(serve_metrics(self._state.metrics, self.render))
        told = len(self.alerting.told())
        return f"alerts go to {told} targets" if told else "alerts go to nobody: there is no [alerts]"

    async def _end(self) -> None:
        await self._open.aclose()
        await self._tracing.close()
        await self._history.close()
        await self._database.close()

    async def _at_hand(self) -> Iterable[Sample]:
        strays = await self._residency.troubles()
        stray = Sample("troth_undeclared_destinations", len(strays), (), "; ".join(strays))
        return (stray, *self.alerting.samples(), *self._tracing.samples())

    async def _promises(self) -> Look:
        broken = (
            Sample("troth_promise_broken", float(one.verdict == "broken"), (one.promise,), one.evidence)
            for one in self._evidence
        )
        drilled = (
            Sample("troth_drill_failed", float(not one.passed), (one.promise,), to_wire(self._clock.now()))
            for one in read_drilled(self._state)
        )
        return Look((*broken, *drilled), frozenset({"promises"}))

    def _view(self) -> MonitoringView:
        return MonitoringView(self.watch.seen, self.alerting.told, self.alerting.test_within, self._clock.now)


def _folders(settings: Settings, state: State) -> dict[str, Path]:
    """The file systems that the platform writes to."""
    folders = {"state": state.root}
    if settings.backup is not None and not settings.backup.store:
        folders["backups"] = state.root.parent
    return folders
