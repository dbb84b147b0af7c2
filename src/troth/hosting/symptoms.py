"""What can be seen of an instance from outside it: its pulse, its process in /proc (proc(5)), and what the
edge wrote of its answers."""

from pathlib import Path

import msgspec

from troth.hosting.cgroups.groups import memory_file
from troth.hosting.edge_log import Ledger
from troth.hosting.instance import Instance
from troth.hosting.judging import Errors, Observation
from troth.hosting.pulse import BEAT_SECONDS, Pulse
from troth.hosting.reading import Reading, Thread
from troth.hosting.shedding import MOST_WAITING

_BUSY_LAG = 0.25
"""An event loop that comes so late to its turn has more to do than it can."""

_SLOW_SECONDS = 1.0
"""Between two looks at what changes slowly: memory and descriptors."""


class _Memory:
    """What is remembered of one run of an instance."""

    def __init__(self, pid: int, now: float, memory: Path | None) -> None:
        self.reading, self.since = Reading(pid, memory), now
        self.counted = memory is not None
        self.beats = -1
        self.at: Thread | None = None
        self.looked = 0.0
        self.bytes = self.bytes_first = self.descriptors = self.descriptors_most = 0
        self.told: list[tuple[float, int, int]] = []


class Observer:
    """Watches the instances of one service; all times are of CLOCK_MONOTONIC."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._runs: dict[tuple[str, int], _Memory] = {}
        self._unanswered: dict[tuple[str, int], float] = {}
        self._ended: dict[tuple[str, int], float] = {}

    def observe(self, instances: tuple[Instance, ...], now: float) -> tuple[Observation, ...]:
        """All that serve or should serve; whoever is on the way in or out is nobody's business here."""
        here = tuple(one for one in instances if one.phase in ("ready", "suspect", "failed"))
        known = {(one.slot, one.generation) for one in here}
        for gone in self._runs.keys() - known:
            self._forget(gone)
        for memory in (self._unanswered, self._ended):
            for gone in memory.keys() - known:
                del memory[gone]
        return tuple(self._look(one, now) for one in here)

    def close(self) -> None:
        """Look no more."""
        for key in tuple(self._runs):
            self._forget(key)

    def _forget(self, key: tuple[str, int]) -> None:
        run = self._runs.pop(key, None)
        if run is not None:
            run.reading.close()

    def _look(self, one: Instance, now: float) -> Observation:
        key = (one.slot, one.generation)
        pid = one.process.pid if one.process is not None else None
        seen = Observation(
            name=one.slot, generation=one.generation, release=one.release.name, balanced=one.balanced
        )
        if one.phase == "failed" or pid is None:
            self._forget(key)
            began = self._ended.setdefault(key, now)
            return msgspec.structs.replace(seen, ended=now - began)
        self._ended.pop(key, None)
        silent = self._unanswered.setdefault(key, now) if one.phase == "suspect" else None
        if silent is None:
            self._unanswered.pop(key, None)
        run = self._runs.get(key)
        if run is None or run.reading.pid != pid:
            self._forget(key)
            counted = memory_file(one.process.groups) if one.process is not None else None
            run = self._runs[key] = _Memory(pid, now, counted)
        pulse = one.pulse.read() if one.pulse is not None else None
        own = pulse if pulse is not None and pulse.pid == pid else None
        still, worked, stopped = _stillness(run, own, now)
        self._look_slowly(run, now)
        place = str(one.endpoint)
        recent = self._ledger.recent(place, now, since=run.since)
        return msgspec.structs.replace(
            seen,
            still=still,
            quiet=max(0.0, now - own.at - BEAT_SECONDS) if own is not None else 0.0,
            doubted=silent is not None,
            missed=one.missed,
            relieved=one.relieved,
            worked=worked,
            stopped=stopped,
            unanswered=now - silent if silent is not None else 0.0,
            recent=_worse(recent, _told(run, pulse, now)),
            before=self._ledger.before(place, now, since=run.since),
            memory=run.bytes,
            memory_first=run.bytes_first,
            memory_most=one.spec.bounds.memory if run.counted and one.spec.bounds is not None else 0,
            descriptors=run.descriptors,
            descriptors_most=run.descriptors_most,
            busy=pulse is not None and (pulse.lag >= _BUSY_LAG or pulse.in_flight >= MOST_WAITING // 2),
        )

    def _look_slowly(self, run: _Memory, now: float) -> None:
        if now - run.looked < _SLOW_SECONDS:
            return
        run.looked = now
        run.bytes = run.reading.own_memory()
        run.bytes_first = run.bytes_first or run.bytes
        run.descriptors, run.descriptors_most = run.reading.descriptors()


def _stillness(run: _Memory, pulse: Pulse | None, now: float) -> tuple[float, float, bool]:
    """For how long the event loop has not turned although it could have, and how long its thread computed in
    that time. A thread that waits for a processor is not blamed: the machine is busy, not the instance."""
    thread = run.reading.thread()
    if pulse is None or thread is None:
        return 0.0, 0.0, False
    if pulse.beats != run.beats or run.at is None:
        run.beats, run.at = pulse.beats, thread
        return 0.0, 0.0, False
    waited = thread.waited - run.at.waited
    still = max(0.0, now - pulse.at - BEAT_SECONDS - waited)
    return still, thread.worked - run.at.worked, run.reading.is_held()


def _told(run: _Memory, pulse: Pulse | None, now: float, window: float = 10.0) -> Errors:
    """What the instance itself counted in the last seconds: answers, and those that were errors."""
    if pulse is None:
        return Errors()
    asked, failed = pulse.served + pulse.raised, pulse.failed + pulse.raised
    if not run.told or run.told[-1][1:] != (asked, failed):
        run.told.append((now, asked, failed))
    while len(run.told) > 1 and run.told[1][0] <= now - window:
        run.told.pop(0)
    _, asked_then, failed_then = run.told[0]
    return Errors(max(0, asked - asked_then), max(0, failed - failed_then))


def _worse(first: Errors, second: Errors) -> Errors:
    """Two that counted the same answers; whoever saw more errors is believed."""
    return second if second.failed > first.failed and second.asked else first
