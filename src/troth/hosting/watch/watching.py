"""The watch: each source looked at in a rhythm of its own, so that one that hangs makes no other stale."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec

from troth.core.clock import Clock
from troth.core.errors import TrothError
from troth.hosting.plan import Duty
from troth.hosting.watch.metrics import Sample, Source

STALE_ROUNDS = 5
"""So many rhythms without a look, and a source is not watched any more; ten seconds at the least."""

_GAP = 0.2

_log = logging.getLogger(__name__)


class Look(msgspec.Struct, frozen=True):
    """What one look at a source saw: numbers, and the names of the resources that they are of."""

    samples: tuple[Sample, ...]
    resources: frozenset[str] = frozenset()


class Watched(msgspec.Struct, frozen=True):
    """A source: `look` at it every so many seconds; after `limit` a look is given up. `expected` names the
    resources that it has to see, read from what was asked for and not from what is there."""

    name: Source
    every: float
    look: Callable[[], Awaitable[Look]]
    expected: Callable[[], Iterable[str]] = tuple
    limit: float = 5.0

    @property
    def stale_seconds(self) -> float:
        """The age from which it counts as not watched."""
        return max(10.0, STALE_ROUNDS * self.every) + self.limit


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a source. `at` is the last look that saw it, `age` the seconds since (since the watch
    began, when there was none), `problem` why the last look failed, `missing` what it did not show."""

    source: Source
    age: float
    stale_seconds: float
    at: datetime | None = None
    seconds: float = 0.0
    look: Look = Look(())
    missing: tuple[str, ...] = ()
    problem: str = ""

    @property
    def is_stale(self) -> bool:
        return self.age > self.stale_seconds


class _Last(msgspec.Struct):
    """The last look, and when it was by the clock that nobody sets."""

    tick: float
    at: datetime | None = None
    seconds: float = 0.0
    look: Look = Look(())
    missing: tuple[str, ...] = ()
    problem: str = ""


class Watch:
    """Looks, and remembers the last look at each source. `ticks` are seconds that only ever grow: a clock
    that is set must not make anything look watched, or unwatched."""

    def __init__(
        self, sources: tuple[Watched, ...], clock: Clock, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self._sources: dict[Source, Watched] = {one.name: one for one in sources}
        self._clock, self._ticks = clock, ticks
        self._halted: frozenset[Source] = frozenset()
        self._last = self._unseen()

    def begin(self) -> None:
        """Ages count from now: nothing is looked at while the platform starts."""
        self._last = self._unseen()

    def duties(self) -> tuple[Duty, ...]:
        """One for each source."""
        return tuple(
            Duty(name=f"watch of {one.name}", every=one.every, work=self._round_of(one), limit=one.limit * 2)
            for one in self._sources.values()
        )

    def seen(self) -> tuple[Seen, ...]:
        """The last look at each source."""
        return tuple(self._see(name, last) for name, last in self._last.items())

    def blind(self) -> frozenset[Source]:
        """Sources of which nothing is known now: their alerts stay as they are."""
        unseen: set[Source] = {
            one.source for one in self.seen() if one.problem or one.is_stale or one.at is None
        }
        return self._halted.union(unseen)

    def samples(self) -> tuple[Sample, ...]:
        """Everything that is known now, and how old it is. A source that cannot be seen has no numbers: old
        ones would be taken for new."""
        seen = self.seen()
        found = [sample for one in seen if not (one.problem or one.is_stale) for sample in one.look.samples]
        found += [Sample("troth_watch_age_seconds", one.age, (one.source,)) for one in seen]
        found += [
            Sample("troth_watch_stale", float(one.is_stale), (one.source,), one.problem or "not looked at")
            for one in seen
            if one.source not in self._halted
        ]
        found += [Sample("troth_watch_look_seconds", one.seconds, (one.source,)) for one in seen if one.at]
        return tuple(found)

    @asynccontextmanager
    async def standing_still(self, source: Source) -> AsyncGenerator[None]:
        """For a drill: nobody looks at a source for as long as the block lasts, which begins once it is
        stale. Afterwards it is looked at before anything else."""
        self._halted = self._halted.union((source,))
        try:
            while not self._see(source, self._last[source]).is_stale:  # noqa: ASYNC110 - time has to pass
                await asyncio.sleep(_GAP)
            yield
        finally:
            self._halted = self._halted.difference((source,))
            await self._look(self._sources[source])

    def _unseen(self) -> dict[Source, _Last]:
        now = self._ticks()
        return {name: _Last(now) for name in self._sources}

    def _see(self, name: Source, last: _Last) -> Seen:
        return Seen(
            source=name,
            age=max(self._ticks() - last.tick, 0.0),
            stale_seconds=self._sources[name].stale_seconds,
            at=last.at,
            seconds=last.seconds,
            look=last.look,
            missing=last.missing,
            problem=last.problem,
        )

    def _round_of(self, source: Watched) -> Callable[[], Awaitable[str]]:
        async def work() -> str:
            if source.name not in self._halted:
                await self._look(source)
            return ""

        return work

    async def _look(self, source: Watched) -> None:
        """A look that fails is a finding of the watch and no failure of its duty."""
        began, last = self._ticks(), self._last[source.name]
        try:
            async with asyncio.timeout(source.limit):
                look = await source.look()
        except Exception as error:  # noqa: BLE001 - told as what it is: this source cannot be seen
            words = _words(error)
            if words != last.problem:
                _log.warning("%s cannot be seen: %s", source.name, words, exc_info=_trace(error))
            last.problem = words
            return
        self._last[source.name] = _Last(
            tick=self._ticks(),
            at=self._clock.now(),
            seconds=self._ticks() - began,
            look=look,
            missing=tuple(sorted(set(source.expected()) - look.resources)),
        )


def _words(error: BaseException) -> str:
    if isinstance(error, TrothError):
        return error.public
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


def _trace(error: BaseException) -> BaseException | None:
    return None if isinstance(error, TrothError | TimeoutError) else error
