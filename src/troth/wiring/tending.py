"""The health of every instance as a part of the platform: watched, told, and acted upon."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from troth.core.clock import Clock
from troth.hosting.edge_log import EdgeLog, Ledger
from troth.hosting.instances import Fleet
from troth.hosting.judging import Observation, Verdict
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

    def __init__(self, fleets: dict[str, Fleet], access_log: Path, clock: Clock) -> None:
        self.ledger = Ledger()
        self.alarmed: list[Callable[[Alarm], None]] = []
        self._log = EdgeLog(access_log, self.ledger)
        self.tenders = {
            name: Tender(fleet, self.ledger, clock=clock, alarmed=self._tell)
            for name, fleet in fleets.items()
        }

    async def look(self) -> str:
        """One look at everything; what it leads to goes on by itself and tells of itself."""
        now = time.monotonic()
        self._log.follow(now)
        for tender in self.tenders.values():
            tender.look(now)
        return ""

    async def stop(self) -> None:
        """Let go of everything that is under way."""
        for tender in self.tenders.values():
            await tender.stop()
        self._log.close()

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

    def ill(self) -> tuple[Verdict, ...]:
        """Whoever is ill now, by what the last look saw."""
        return tuple(verdict for tender in self.tenders.values() for verdict in tender.ill())

    def troubles(self) -> tuple[str, ...]:
        """A sentence for each service that no replacement helps."""
        return tuple(trouble for tender in self.tenders.values() for trouble in tender.troubles())

    def _tell(self, alarm: Alarm) -> None:
        for one in self.alarmed:
            one(alarm)
