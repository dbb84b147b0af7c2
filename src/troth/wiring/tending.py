"""The health of every instance as a part of the platform: watched, told, and acted upon."""

import time
from collections.abc import Callable

import msgspec

from troth.core.state import State
from troth.hosting.edge_log import EdgeLog, Ledger
from troth.hosting.healing import HealingView
from troth.hosting.instances import Fleet
from troth.hosting.judging import Observation, Patient
from troth.hosting.sentinels import Sentinels
from troth.hosting.supervisor import ALWAYS, Supervisor
from troth.hosting.tending import Alarm, Deed, Tender


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What `troth status` shows: the last look at every instance, what was done about the ill, what no
    replacement would help, and how many bytes of the edge's log were passed over."""

    seen: tuple[Observation, ...]
    deeds: tuple[Deed, ...]
    alarms: tuple[Alarm, ...]
    passed_over: int


class Tending:
    """Looks after all fleets. `alarmed` are called at the beginning of every alarm; they must not block."""

    def __init__(self, fleets: dict[str, Fleet], state: State, supervisor: Supervisor) -> None:
        self.ledger = Ledger()
        self.alarmed: list[Callable[[Alarm], None]] = []
        self.log = EdgeLog(state.logs / "access.log", self.ledger)
        self._clock = supervisor.clock
        self.tenders: dict[str, Tender] = {}
        for name, fleet in fleets.items():
            self.adopt(name, fleet)
        # Apart from the platform's processes, whose ends are told and kept.
        folder = state.run / "sentinels"
        apart = Supervisor(state.root, folder / "crashes", supervisor.machine, supervisor.clock)
        self._sentinels = Sentinels(apart, folder)

    def adopt(self, name: str, fleet: Fleet) -> None:
        """Look after one more."""
        self.tenders[name] = Tender(fleet, self.ledger, clock=self._clock, alarmed=self._tell)

    async def drop(self, name: str) -> None:
        """Look after this one no more."""
        await self.tenders.pop(name).stop()

    async def look(self) -> str:
        """One look at everything; what it leads to goes on by itself and tells of itself."""
        now = time.monotonic()
        self.log.follow(now)
        for tender in self.tenders.values():
            tender.look(now)
        return ""

    async def stop(self) -> None:
        """Let go of everything that is under way."""
        for tender in self.tenders.values():
            await tender.stop()
        self.log.close()

    async def report(self) -> Health:
        """For the status."""
        tenders = self.tenders.values()
        deeds = sorted((deed for tender in tenders for deed in tender.deeds), key=lambda one: one.at)
        return Health(
            seen=tuple(one for tender in tenders for one in tender.seen),
            deeds=tuple(deeds[-20:]),
            alarms=tuple(tender.alarm for tender in tenders if tender.alarm is not None),
            passed_over=self.ledger.passed_over,
        )

    def healing(self) -> HealingView:
        """For the probes of hosting.restart and hosting.replacement."""
        return HealingView(
            self._patients,
            lambda cared: self._sentinels.restart(ALWAYS if cared else None),
            lambda cared: self._sentinels.replacement(tended=cared),
        )

    def _patients(self) -> tuple[Patient, ...]:
        now = time.monotonic()
        return tuple(one for tender in self.tenders.values() for one in tender.patients(now))

    def troubles(self) -> tuple[str, ...]:
        """A sentence for each service that no replacement helps."""
        return tuple(trouble for tender in self.tenders.values() for trouble in tender.troubles())

    def _tell(self, alarm: Alarm) -> None:
        for one in self.alarmed:
            one(alarm)
