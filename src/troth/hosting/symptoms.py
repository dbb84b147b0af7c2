"""What can be seen of an instance from outside it: its pulse, its process in /proc (proc(5)), and what the
edge wrote of its answers."""

import os
from pathlib import Path

import msgspec

from troth.hosting.edge_log import Ledger
from troth.hosting.instance import Instance
from troth.hosting.judging import Errors, Observation
from troth.hosting.pulse import BEAT_SECONDS, Pulse
from troth.hosting.shedding import MOST_WAITING

_PROC = Path("/proc")
_HELD = ("T", "t")
_BUSY_LAG = 0.25
"""An event loop that comes so late to its turn has more to do than it can."""

_SLOW_SECONDS = 1.0
"""Between two looks at what changes slowly: memory and descriptors."""


class Thread(msgspec.Struct, frozen=True):
    """The main thread of a process, where its event loop runs: seconds on a processor and seconds for which
    it could have run and got none, since it began."""

    worked: float
    waited: float
    stopped: bool


class _Memory:
    """What is remembered of one run of an instance."""

    def __init__(self, pid: int, now: float) -> None:
        self.pid, self.since = pid, now
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
        for memory in (self._runs, self._unanswered, self._ended):
            for gone in set(memory) - known:
                del memory[gone]
        return tuple(self._look(one, now) for one in here)

    def _look(self, one: Instance, now: float) -> Observation:
        key = (one.slot, one.generation)
        pid = one.process.pid if one.process is not None else None
        seen = Observation(
            name=one.slot, generation=one.generation, release=one.release.name, balanced=one.balanced
        )
        if one.phase == "failed" or pid is None:
            self._runs.pop(key, None)
            began = self._ended.setdefault(key, now)
            return msgspec.structs.replace(seen, ended=now - began)
        self._ended.pop(key, None)
        silent = self._unanswered.setdefault(key, now) if one.phase == "suspect" else None
        if silent is None:
            self._unanswered.pop(key, None)
        run = self._runs.get(key)
        if run is None or run.pid != pid:
            run = self._runs[key] = _Memory(pid, now)
        pulse = one.pulse.read() if one.pulse is not None else None
        still, worked, stopped = _stillness(run, pulse if pulse and pulse.pid == pid else None, now)
        self._look_slowly(run, now)
        place = str(one.endpoint)
        recent = self._ledger.recent(place, now, since=run.since)
        return msgspec.structs.replace(
            seen,
            still=still,
            worked=worked,
            stopped=stopped,
            unanswered=now - silent if silent is not None else 0.0,
            recent=_worse(recent, _told(run, pulse, now)),
            before=self._ledger.before(place, now, since=run.since),
            memory=run.bytes,
            memory_first=run.bytes_first,
            descriptors=run.descriptors,
            descriptors_most=run.descriptors_most,
            busy=pulse is not None and (pulse.lag >= _BUSY_LAG or pulse.in_flight >= MOST_WAITING // 2),
        )

    def _look_slowly(self, run: _Memory, now: float) -> None:
        if now - run.looked < _SLOW_SECONDS:
            return
        run.looked = now
        run.bytes = own_memory(run.pid)
        run.bytes_first = run.bytes_first or run.bytes
        run.descriptors, run.descriptors_most = descriptors(run.pid)


def _stillness(run: _Memory, pulse: Pulse | None, now: float) -> tuple[float, float, bool]:
    """For how long the event loop has not turned although it could have, and how long its thread computed in
    that time. A thread that waits for a processor is not blamed: the machine is busy, not the instance."""
    thread = look_at_thread(run.pid)
    if pulse is None or thread is None:
        return 0.0, 0.0, False
    if pulse.beats != run.beats or run.at is None:
        run.beats, run.at = pulse.beats, thread
        return 0.0, 0.0, thread.stopped
    waited = thread.waited - run.at.waited
    still = max(0.0, now - pulse.at - BEAT_SECONDS - waited)
    return still, thread.worked - run.at.worked, thread.stopped


def _told(run: _Memory, pulse: Pulse | None, now: float, window: float = 10.0) -> Errors:
    """What the instance itself counted in the last seconds: answers, and those that were errors."""
    if pulse is None:
        return Errors()
    asked, failed = pulse.served + pulse.raised, pulse.failed + pulse.raised
    run.told.append((now, asked, failed))
    while len(run.told) > 1 and run.told[0][0] < now - window:
        run.told.pop(0)
    _, asked_then, failed_then = run.told[0]
    return Errors(max(0, asked - asked_then), max(0, failed - failed_then))


def _worse(first: Errors, second: Errors) -> Errors:
    """Two that counted the same answers; whoever saw more errors is believed."""
    return second if second.failed > first.failed and second.asked else first


def look_at_thread(pid: int) -> Thread | None:
    """The main thread of a process; None when it has ended."""
    try:
        schedule = (_PROC / str(pid) / "schedstat").read_text().split()
        state = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return None
    return Thread(int(schedule[0]) / 1e9, int(schedule[1]) / 1e9, state in _HELD)


def own_memory(pid: int) -> int:
    """Bytes that a process holds and shares with nobody (RssAnon); 0 when it has ended."""
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return 0
    return next((int(row.split()[1]) << 10 for row in status.splitlines() if row.startswith("RssAnon:")), 0)


def descriptors(pid: int) -> tuple[int, int]:
    """How many descriptors a process holds, and how many it may; zeros when it cannot be seen."""
    try:
        held = len(os.listdir(_PROC / str(pid) / "fd"))  # noqa: PTH208 - half the time
        limits = (_PROC / str(pid) / "limits").read_text()
    except OSError:
        return 0, 0
    row = next((row for row in limits.splitlines() if row.startswith("Max open files")), "")
    soft = row.split()[3] if row else "0"
    return held, int(soft) if soft.isdigit() else 0
