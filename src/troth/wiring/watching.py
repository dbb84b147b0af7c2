"""What is looked at, how often, and which numbers are read from it: the sources of the watch but for the
database's, which are in `watching_database`."""

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from troth.core.clock import Clock
from troth.core.errors import PlatformError, TrothError
from troth.data.backups.schedule import newest_chain
from troth.hosting.crashes import Exit
from troth.hosting.edge_log import Answered
from troth.hosting.health import STARTED_PATH
from troth.hosting.machine import Memory, disk, memory_of_machine, usage_by_name
from troth.hosting.plan import Duty
from troth.hosting.supervisor import Supervisor
from troth.hosting.watch.metrics import Sample
from troth.hosting.watch.traffic import EDGE, Traffic
from troth.hosting.watch.watching import Look, Watched
from troth.wiring.backup_drills import BackupDrills
from troth.wiring.backups import BackupsPart
from troth.wiring.certificates import Certificates
from troth.wiring.services import ServicesPart

LATELY_SECONDS = 300.0
"""How long an exit that nobody asked for counts as recent."""

FEWEST_REQUESTS = 20
"""Within a minute; of fewer a ratio of errors says nothing."""

SHARES_SECONDS = 60.0
"""Between two looks at what each process has of the machine: the kernel goes through all of its pages."""

LATEST_SECONDS = 1.5
"""An answer of an instance that is no older counts as one of now."""

_LOOP_SECONDS = 0.2
_MOST_EXITS = 1000
_LEAVING = ("draining", "stopped")


class DutyBook:
    """How the keeper's duties last went, kept by going round them."""

    def __init__(self) -> None:
        self._failed: dict[str, str] = {}

    def over(self, duties: Iterable[Duty]) -> tuple[Duty, ...]:
        """The same duties, noted down."""
        return tuple(msgspec.structs.replace(one, work=self._noting(one)) for one in duties)

    def samples(self) -> tuple[Sample, ...]:
        return tuple(
            Sample("troth_duty_failed", float(bool(words)), (name,), words)
            for name, words in self._failed.items()
        )

    def _noting(self, duty: Duty) -> Callable[[], Awaitable[str]]:
        async def work() -> str:
            try:
                said = await duty.work()
            except TrothError as error:
                self._failed[duty.name] = error.public
                raise
            except asyncio.CancelledError:
                self._failed[duty.name] = f"it was cut short after {duty.limit:g} s, or the platform stops"
                raise
            except Exception as error:
                self._failed[duty.name] = str(error) or type(error).__name__
                raise
            self._failed[duty.name] = ""
            return said

        return work


class KeeperWatch:
    """The keeper itself: it lives, and comes to its work in time. `more` are numbers that are at hand."""

    def __init__(self, duties: DutyBook, more: Callable[[], Awaitable[Iterable[Sample]]]) -> None:
        self._duties, self._more = duties, more
        self._began = time.monotonic()

    def source(self) -> Watched:
        return Watched("keeper", 1.0, self._look, lambda: ("keeper",))

    async def _look(self) -> Look:
        asked = time.monotonic()
        await asyncio.sleep(_LOOP_SECONDS)
        now = time.monotonic()
        used = os.times()
        samples = (
            Sample("troth_keeper_uptime_seconds", now - self._began),
            Sample("troth_keeper_loop_lag_seconds", max(now - asked - _LOOP_SECONDS, 0.0)),
            Sample("troth_keeper_cpu_seconds", used.user + used.system),
            Sample("troth_keeper_open_files", len(os.listdir("/proc/self/fd"))),  # noqa: PTH208 - half the time
        )
        return Look((*samples, *self._duties.samples(), *await self._more()), frozenset({"keeper"}))


class ProcessWatch:
    """Every process that is kept running, and those that ended by themselves a moment ago: the keeper before,
    should this one have taken over."""

    def __init__(self, supervisor: Supervisor, ticks: Callable[[], float] = time.monotonic) -> None:
        self._supervisor, self._ticks = supervisor, ticks
        self._exits: deque[tuple[float, str]] = deque(maxlen=_MOST_EXITS)
        if supervisor.takes_over:
            self._exits.append((ticks(), "keeper"))
        supervisor.watchers.append(self._note)

    def source(self) -> Watched:
        return Watched("processes", 1.0, self._look)

    def _note(self, end: Exit) -> None:
        if not end.asked:
            self._exits.append((self._ticks(), end.name))

    async def _look(self) -> Look:
        since = self._ticks() - LATELY_SECONDS
        while self._exits and self._exits[0][0] < since:
            self._exits.popleft()
        exits = [name for _, name in self._exits]
        # While an instance takes over from another there are two of its name: the better one counts.
        views = {one.name: one for one in sorted(self._supervisor.views(), key=lambda one: one.pid or 0)}
        rows = views.items()
        samples = [
            *(Sample("troth_process_running", float(one.pid is not None), (name,)) for name, one in rows),
            *(Sample("troth_process_restarts", one.restarts, (name,)) for name, one in rows),
            *(Sample("troth_process_exits_lately", exits.count(name), (name,)) for name in {*views, *exits}),
        ]
        return Look(tuple(samples), frozenset(views))


class MachineWatch:
    """Disk, memory and load of the machine, and, now and then, what each process has of it."""

    def __init__(
        self, state: Path, folders: Mapping[str, Path], ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self._state, self._folders, self._ticks = state, folders, ticks
        self._shares: tuple[Sample, ...] = ()
        self._shared_at = -SHARES_SECONDS

    def source(self) -> Watched:
        return Watched("machine", 15.0, self._look, lambda: ("memory", *self._folders), limit=30.0)

    async def _look(self) -> Look:
        return await asyncio.to_thread(self._read)

    def _read(self) -> Look:
        memory = memory_of_machine()
        samples = [*_memory_samples(memory), Sample("troth_machine_load", os.getloadavg()[0])]
        for place, folder in self._folders.items():
            free, size = disk(folder)
            samples.append(Sample("troth_disk_free_bytes", free, (place,)))
            samples.append(Sample("troth_disk_size_bytes", size, (place,)))
            samples.append(Sample("troth_disk_free_ratio", free / max(size, 1), (place,)))
        if self._ticks() - self._shared_at >= SHARES_SECONDS:
            self._shared_at, self._shares = self._ticks(), tuple(_shares(self._state))
        return Look((*samples, *self._shares), frozenset({"memory", *self._folders}))


class InstancesWatch:
    """Every instance that should serve: the keeper's view of it, an answer of its own, and what it tells."""

    def __init__(self, services: ServicesPart) -> None:
        self._services = services

    def source(self) -> Watched:
        return Watched("instances", 1.0, self._look, self._expected)

    def _expected(self) -> Iterable[str]:
        """As many of each service as it should have; one on its way in counts, and is seen as well."""
        for name, fleet in self._services.fleets.items():
            present = sum(not one.held and one.phase not in _LEAVING for one in fleet.views())
            if present < fleet.size:
                yield f"{fleet.size - present} of the {fleet.size} instances of {name}"

    async def _look(self) -> Look:
        serving = {
            one.slot: (fleet.service, one)
            for fleet in self._services.fleets.values()
            for one in fleet.instances
            if one.balanced
        }
        ask = self._services.ready.lately  # the keeper's own checks ask the same each second
        asked = await asyncio.gather(
            *(ask(one.endpoint, STARTED_PATH, LATEST_SECONDS) for _, one in serving.values())
        )
        samples: list[Sample] = []
        for (service, one), answer in zip(serving.values(), asked, strict=True):
            labels = (service, one.slot)
            well = answer.ready and one.phase == "ready"
            samples.append(Sample("troth_instance_ready", float(well), labels, answer.detail))
            samples.append(Sample("troth_instance_answer_seconds", answer.seconds, labels))
            samples.append(Sample("troth_instance_generation", one.generation, labels))
            if (told := one.pulse.read() if one.pulse is not None else None) is not None:
                samples.append(Sample("troth_instance_loop_lag_seconds", told.lag, labels))
                samples.append(Sample("troth_instance_in_flight", told.in_flight, labels))
                samples.append(Sample("troth_instance_failures", told.failed, labels))
                samples.append(Sample("troth_instance_exceptions", told.raised, labels))
        return Look((*samples, *self._tended()), frozenset(one.name for one in self._services.instances()))

    def _tended(self) -> Iterable[Sample]:
        """What is done about the ill: relieved, one stands in no balancing and would not be missed above."""
        now, clock = time.monotonic(), datetime.now(UTC)
        for service, tender in self._services.tending.tenders.items():
            alarm = tender.alarm
            yield Sample(
                "troth_service_alarm", float(alarm is not None), (service,), alarm.why if alarm else ""
            )
            for patient in tender.patients(now):
                yield Sample("troth_instance_ill", 1.0, (service, patient.name), patient.why)
            deeds = [one for one in tender.deeds if (clock - one.at).total_seconds() < LATELY_SECONDS]
            last = f"{deeds[-1].name} was {deeds[-1].done}: {deeds[-1].why}" if deeds else ""
            yield Sample("troth_instance_deeds_lately", len(deeds), (service,), last)


class EdgeWatch:
    """The edge: it answers, how much it passes on, and what its access log says of the answers."""

    def __init__(self, services: ServicesPart) -> None:
        self._services = services
        self._traffic = Traffic()
        self._names: dict[str, str] = {}
        services.tending.log.heard.append(self._hear)

    def source(self) -> Watched:
        return Watched("edge", 2.0, self._look, lambda: ("edge",))

    async def _look(self) -> Look:
        self._names = {str(place): name.rsplit(" at ", 1)[0] for name, place in self._services.places()}
        try:
            in_flight = await self._services.in_flight()
        except PlatformError as error:
            return Look((Sample("troth_edge_up", 0.0, (), error.public),), frozenset({"edge"}))
        lively = self._services.in_balancing()
        samples = [Sample("troth_edge_up", 1.0)]
        for one in self._services.instances():
            if one.endpoint in lively and one.endpoint in in_flight:
                labels = (one.service, one.name)
                samples.append(Sample("troth_edge_in_flight", in_flight[one.endpoint], labels))
        return Look((*samples, *self._answers()), frozenset({"edge"}))

    def _hear(self, answered: Answered, now: float) -> None:
        service = self._names.get(answered.upstream, EDGE)
        self._traffic.count(service, answered.status, answered.duration, int(now))

    def _answers(self) -> Iterable[Sample]:
        tick = int(time.monotonic())
        for (service, status), count in self._traffic.answers.items():
            yield Sample("troth_edge_requests", count, (service, status))
        for service, seconds in tuple(self._traffic.seconds.items()):
            minute = self._traffic.minute(service, tick)
            yield Sample("troth_edge_request_seconds", seconds, (service,))
            yield Sample("troth_edge_requests_minute", minute.requests, (service,))
            if minute.requests >= FEWEST_REQUESTS:
                yield Sample("troth_edge_error_ratio", minute.error_ratio, (service,))
            for share, latency in minute.quantiles.items():
                yield Sample("troth_edge_latency_seconds", latency, (service, share))


class BackupsWatch:
    """How old the newest backup is, and what is wrong."""

    def __init__(self, backups: BackupsPart, drills: BackupDrills, clock: Clock) -> None:
        self._backups, self._drills, self._clock = backups, drills, clock

    def source(self) -> Watched:
        return Watched("backups", 5.0, self._look)

    async def _look(self) -> Look:
        if self._backups.settings is None:
            return Look(())
        now = self._clock.now()
        problems, failed = await self._backups.troubles(), self._drills.troubles()
        samples = [
            Sample("troth_backup_problems", len(problems), (), "; ".join(problems)),
            Sample("troth_backup_drill_failed", float(bool(failed)), (), "; ".join(failed)),
            Sample("troth_backup_log_age_seconds", self._backups.log.age()),
        ]
        if chain := newest_chain(self._backups.shelf.catalogue):
            samples.append(Sample("troth_backup_age_seconds", (now - chain[-1].ended).total_seconds()))
        return Look(tuple(samples), frozenset({"backups"}))


class CertificatesWatch:
    """Every certificate that the keeper issues and renews."""

    def __init__(self, certificates: Certificates, lifetime_minutes: int, clock: Clock) -> None:
        self._certificates, self._clock = certificates, clock
        self._lifetime = lifetime_minutes * 60.0

    def source(self) -> Watched:
        return Watched("certificates", 10.0, self._look, self._names)

    def _names(self) -> tuple[str, ...]:
        return tuple(f"{one.trust}/{one.name}" for one in self._certificates.report())

    async def _look(self) -> Look:
        now = self._clock.now()
        held = self._certificates.report()
        samples: list[Sample] = []
        for one in held:
            left = (datetime.fromisoformat(one.not_after) - now).total_seconds()
            labels = (one.trust, one.name)
            samples.append(Sample("troth_certificate_left_seconds", left, labels))
            samples.append(Sample("troth_certificate_left_ratio", left / self._lifetime, labels))
        return Look(tuple(samples), frozenset(f"{one.trust}/{one.name}" for one in held))


def _shares(state: Path) -> Iterable[Sample]:
    for name, usage in usage_by_name(state).items():
        yield Sample("troth_process_memory_bytes", usage.memory, (name,))
        yield Sample("troth_process_open_files", usage.files, (name,))


def _memory_samples(memory: Memory) -> tuple[Sample, ...]:
    return (
        Sample("troth_memory_available_bytes", memory.available),
        Sample("troth_memory_size_bytes", memory.size),
        Sample("troth_memory_available_ratio", memory.available / max(memory.size, 1)),
    )
