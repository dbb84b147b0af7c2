"""Looks after the instances of one service: observes, judges, and has the ill ended, relieved or replaced."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from datetime import datetime

import msgspec

from troth.core.clock import Clock
from troth.core.errors import TrothError
from troth.hosting.backoff import Restart, delay
from troth.hosting.edge_log import Ledger
from troth.hosting.instance import Instance
from troth.hosting.instances import Fleet
from troth.hosting.judging import Observation, Past, Patient, Policy, Verdict, diagnose, judge, relieved
from troth.hosting.symptoms import Observer

EVERY_SECONDS = 0.2
"""Between two looks."""

_AGAIN = Restart(first=5.0, longest=300.0)
"""After a replacement that failed."""

_KEPT = 50
_log = logging.getLogger("troth.keeper")


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done about an ill instance: `ended`, `replaced`, or `kept` where no new one came up.
    `seconds` are from the verdict to the end of it."""

    service: str
    name: str
    generation: int
    illness: str
    why: str
    done: str
    seconds: float
    at: datetime


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """No replacement would help: all instances of a release are ill alike, or too many were replaced."""

    service: str
    release: str
    why: str
    at: datetime


class Tender:
    """Looks after one fleet. `alarmed` is called once for every alarm, when it begins; it must not block.

    Nobody is replaced while somebody else changes the fleet: a deployment judges its instances by itself.
    """

    def __init__(
        self,
        fleet: Fleet,
        ledger: Ledger,
        *,
        clock: Clock,
        policy: Policy | None = None,
        alarmed: Callable[[Alarm], None] | None = None,
    ) -> None:
        self.policy = policy or Policy()
        self.observer = Observer(ledger)
        self.seen: tuple[Observation, ...] = ()
        self.deeds: deque[Deed] = deque(maxlen=_KEPT)
        self.alarm: Alarm | None = None
        self._fleet, self._clock, self._alarmed = fleet, clock, alarmed
        self._ill: dict[tuple[str, int], tuple[str, bool]] = {}
        self._ill_since: dict[tuple[str, int], float] = {}
        self._ends: deque[float] = deque()
        self._replacements: deque[float] = deque()
        self._failures = 0
        self._not_before = 0.0
        self._suspected: frozenset[tuple[str, int, str]] = frozenset()
        self._work: set[asyncio.Task[None]] = set()
        self._busy_with: set[tuple[str, int]] = set()

    def look(self, now: float) -> tuple[Verdict, ...]:
        """One look, at a moment of CLOCK_MONOTONIC; what it leads to goes on by itself. Returns what is being
        done because of it.

        Only what two looks in a row saw is acted upon: after the whole machine stood still, everybody seems
        to hang at the first.
        """
        self.seen = self.observer.observe(self._fleet.of_release, now)
        self._note_ill(now)
        self._relieve()
        judgement = judge(self.seen, self.policy, self._past(now))
        self._note_alarm(judgement.alarm)
        before = self._suspected
        self._suspected = frozenset((one.name, one.generation, one.action) for one in judgement.verdicts)
        by_key = {(one.slot, one.generation): one for one in self._fleet.of_release}
        return tuple(
            one
            for one in judgement.verdicts
            if (one.name, one.generation, one.action) in before
            and self._begin(one, by_key[one.name, one.generation], now)
        )

    def patients(self, now: float) -> tuple[Patient, ...]:
        """Whoever was not well at the last look, whether or not anything can be done about it."""
        return tuple(
            Patient(name=name, why=why, away=away, seconds=now - self._ill_since[name, generation])
            for (name, generation), (why, away) in self._ill.items()
        )

    async def stop(self) -> None:
        """Cut short whatever is under way."""
        for task in tuple(self._work):
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        self.observer.close()

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._work:
            await asyncio.wait(self._work)

    def troubles(self) -> tuple[str, ...]:
        """A sentence when replacing does not help."""
        return (f"{self.alarm.service}: {self.alarm.why}",) if self.alarm is not None else ()

    def _relieve(self) -> None:
        """Taken back as soon as the doubt is gone; what comes of it otherwise, the next looks tell."""
        doubted = relieved(self.seen, self.policy)
        for one in self._fleet.of_release:
            doubtful = (one.slot, one.generation) in doubted
            if doubtful and not one.relieved:
                _log.warning("%s is late; others serve for it meanwhile", one.slot)
            self._fleet.relieve(one, relieved=doubtful)

    def _begin(self, verdict: Verdict, instance: Instance, now: float) -> bool:
        key = (verdict.name, verdict.generation)
        if key in self._busy_with:
            return False
        if verdict.action == "replace" and (now < self._not_before or self._fleet.changing.locked()):
            return False
        work = self._end if verdict.action == "end" else self._replace
        self._busy_with.add(key)
        task = asyncio.create_task(work(verdict, instance), name=f"{verdict.action} {verdict.name}")
        self._work.add(task)
        task.add_done_callback(lambda done: self._finish(done, key))
        return True

    def _finish(self, done: asyncio.Task[None], key: tuple[str, int]) -> None:
        self._work.discard(done)
        self._busy_with.discard(key)
        if not done.cancelled() and (error := done.exception()) is not None:
            _log.error("an ill instance of %s cannot be helped", self._fleet.service, exc_info=error)

    async def _end(self, verdict: Verdict, instance: Instance) -> None:
        began = asyncio.get_running_loop().time()
        self._ends.append(began)
        _log.warning("%s %s; it is ended", verdict.name, verdict.why)
        await self._fleet.end(instance, last_words=verdict.illness != "stopped")
        self._note(verdict, "ended", began)

    async def _replace(self, verdict: Verdict, instance: Instance) -> None:
        """The old one stays, and serves again, when no new one proves itself."""
        began = asyncio.get_running_loop().time()
        _log.warning("%s %s; another one takes its place", verdict.name, verdict.why)
        async with self._fleet.changing:
            if verdict.relieve:
                self._fleet.hold(instance)
            try:
                await self._fleet.replace(instance)
            except BaseException as error:
                self._fleet.admit(instance)
                if not isinstance(error, TrothError):
                    raise
                self._failures += 1
                self._not_before = began + delay(_AGAIN, self._failures, random.random)
                _log.error("%s", error.public)
                self._note(verdict, "kept", began)
                return
        self._failures = 0
        self._replacements.append(began)
        self._note(verdict, "replaced", began)

    def _note_ill(self, now: float) -> None:
        found = {(one.name, one.generation): diagnose(one, self.seen, self.policy) for one in self.seen}
        self._ill = {key: (why, illness == "gone") for key, (illness, why) in found.items() if illness}
        self._ill_since = {key: self._ill_since.get(key, now) for key in self._ill}

    def _past(self, now: float) -> Past:
        for times in (self._ends, self._replacements):
            while times and times[0] < now - self.policy.period:
                times.popleft()
        return Past(len(self._ends), len(self._replacements))

    def _note(self, verdict: Verdict, done: str, began: float) -> None:
        seconds = round(asyncio.get_running_loop().time() - began, 3)
        deed = Deed(
            service=self._fleet.service,
            name=verdict.name,
            generation=verdict.generation,
            illness=verdict.illness,
            why=verdict.why,
            done=done,
            seconds=seconds,
            at=self._clock.now(),
        )
        self.deeds.append(deed)
        _log.info("%s was %s after %.1f s", deed.name, done, seconds)

    def _note_alarm(self, why: str) -> None:
        if not why:
            self.alarm = None
            return
        began = self.alarm is None
        release = self.seen[0].release if self.seen else self._fleet.release.name
        self.alarm = Alarm(service=self._fleet.service, release=release, why=why, at=self._clock.now())
        if began:
            _log.error("%s: %s", self._fleet.service, why)
            if self._alarmed is not None:
                self._alarmed(self.alarm)
