"""Instances are replaced one after the other because what they are started with has changed.

The first of the new ones is on trial: it serves beside the old ones and is held against them. Only then the
others follow, each ready and checked before it is let in. Whatever goes wrong, all are as before at the end.
Unlike a release of an application, the two sides never stand beside one another whole: the connections to
the database are shared out among the instances that there may be, and one.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable

from troth.core.errors import PlatformError, TrothError
from troth.hosting.deployment import Tally, Tell, judge_release
from troth.hosting.instance import Instance, Release
from troth.hosting.instances import Fleet, replacement_order

TRIAL_SECONDS = 3.0
"""So long the first of the new instances is held against the old ones."""

_GAP = 0.25
_SILENT_LOOKS = 8

Check = Callable[[Instance, Instance], Awaitable[str]]
_log = logging.getLogger(__name__)


class Rolling:
    """Brings one fleet from one release to another. `notice` returns once the edge has followed a change;
    `check` tells why a new instance must not serve while an old one does, empty when it may."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        notice: Callable[[], Awaitable[None]],
        check: Check,
        trial: float = TRIAL_SECONDS,
    ) -> None:
        self._fleet, self._notice, self._check, self._trial = fleet, notice, check, trial

    async def bring(self, release: Release, tell: Tell) -> None:
        """Replace every instance. Raises PlatformError with the reason when one is not fit to serve, or the
        first errs on its trial; all then run what they ran before."""
        async with self._fleet.changing:
            former = self._fleet.release
            old = {one.slot: one for one in self._fleet.instances if not one.held}
            order = replacement_order({slot: one.phase for slot, one in old.items()})
            try:
                await self._first(old[order[0]], release, tell)
                self._fleet.release = release
                for slot in order[1:]:
                    await self._next(old[slot], release)
            except BaseException:
                self._fleet.release = former
                await self._go_back(release)
                raise
        tell(f"{len(order)} instances of {self._fleet.service} were replaced")

    async def go_back(self, former: Release, tell: Tell) -> None:
        """The same without a trial: what ran before needs none. Raises PlatformError."""
        async with self._fleet.changing:
            leaving, self._fleet.release = self._fleet.release, former
            await self._go_back(leaving)
        tell(f"the instances of {self._fleet.service} run as before")

    async def _first(self, old: Instance, release: Release, tell: Tell) -> None:
        """The old one is held back meanwhile: to let it in again changes one byte."""
        new = await self._prove(old, release)
        tell(f"{new.slot} is ready and was checked")
        try:
            await self._swap(new, old)
            if why := await self._watch(new):
                raise PlatformError(f"{new.slot} went back: {why}.", hint=f"See {new.spec.log}")
        except BaseException:
            with contextlib.suppress(TrothError):
                await self._swap(old, new)
            await self._fleet.retire(new)
            raise
        await self._fleet.retire(old)

    async def _next(self, old: Instance, release: Release) -> None:
        new = await self._prove(old, release)
        await self._swap(new, old)
        await self._fleet.retire(old)

    async def _prove(self, old: Instance, release: Release) -> Instance:
        new = await self._fleet.add(release=release, beside=old, held=True)
        try:
            if why := await self._check(new, old):
                raise PlatformError(f"{new.slot} {why}.", hint=f"See {new.spec.log}")
        except BaseException:
            await self._fleet.retire(new)
            raise
        return new

    async def _swap(self, to: Instance, away: Instance) -> None:
        """Both serve until the edge has seen the one that comes."""
        self._fleet.admit(to)
        await self._notice()
        self._fleet.hold(away)
        await self._notice()

    async def _watch(self, new: Instance) -> str:
        """Why the first must not stay; empty when it may. Its peers are what it is held against."""
        peers = [one for one in self._fleet.instances if one is not new and one.balanced]
        begun = [_tally(one) for one in peers]
        silent = 0
        for _ in range(max(1, round(self._trial / _GAP))):
            await asyncio.sleep(_GAP)
            silent = silent + 1 if new.phase == "suspect" else 0
            if silent >= _SILENT_LOOKS:
                return "it does not answer"
            before = _sum(_less(_tally(one), then) for one, then in zip(peers, begun, strict=True))
            if why := judge_release(_tally(new), before):
                return why
        return ""

    async def _go_back(self, leaving: Release) -> None:
        """As far as it goes: one that cannot be replaced stays and serves, and the log says so."""
        for one in [each for each in self._fleet.instances if each.release == leaving]:
            try:
                await self._fleet.replace(one, self._fleet.release)
            except PlatformError as error:
                _log.error("%s could not go back: %s", one.slot, error.public)


def _tally(one: Instance) -> Tally:
    """What it did since it began."""
    told = one.told
    if told is None:
        return Tally(ended=int(one.exit is not None))
    return Tally(told.served, max(told.failed, told.raised), int(one.exit is not None))


def _less(now: Tally, then: Tally) -> Tally:
    return Tally(max(0, now.served - then.served), max(0, now.failed - then.failed), 0)


def _sum(tallies: Iterable[Tally]) -> Tally:
    rows = tuple(tallies)
    return Tally(sum(one.served for one in rows), sum(one.failed for one in rows))
