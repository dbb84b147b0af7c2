"""A new release of a service takes over: beside the one before, checked, on probation, with a way back.

The old instances are not stopped when the new ones take over, but held back from balancing: they finish what
they are at, and one change of a byte each lets them in again. Until they are let go, the way back is instant.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from troth.core.errors import PlatformError
from troth.hosting.instance import Instance, Release
from troth.hosting.instances import Fleet

PROBATION_SECONDS = 20.0
"""For so long the errors of a new release are held against it."""

_GAP = 0.25
_FEW = 5
_SILENT_LOOKS = 8
"""Two seconds: by then an instance that is only busy has answered."""

Tell = Callable[[str], None]


class Tally(msgspec.Struct, frozen=True):
    """What instances answered over a time: all answers, those of 5xx or with an exception nobody caught, and
    how many of the instances ended."""

    served: int = 0
    failed: int = 0
    ended: int = 0

    @property
    def rate(self) -> float:
        return self.failed / self.served if self.served else 0.0


def judge_release(new: Tally, old: Tally) -> str:
    """Why a release has to go back; empty when it need not. `old` is the one before, over its whole life.

    A release is held against the one before, not against perfection: when both err alike, the reason lies
    elsewhere, and going back would help nobody.
    """
    if new.ended:
        return f"{new.ended} of its instances ended"
    if new.failed >= _FEW and new.rate > max(2 * old.rate, old.rate + 0.05):
        return (
            f"{new.failed} of its {new.served} answers were errors ({new.rate:.0%});"
            f" of the release before, {old.rate:.1%}"
        )
    return ""


class Deployment:
    """The releases of one service. `notice` returns once the edge has followed a change; `check` tells why an
    instance of the new release must not take over while one of the old serves, empty when it may."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        notice: Callable[[], Awaitable[None]],
        check: Callable[[Instance, Instance], Awaitable[str]],
    ) -> None:
        self._fleet, self._notice, self._check = fleet, notice, check
        self._former: Release | None = None

    @property
    def resting(self) -> Release | None:
        """The release whose instances are kept for a way back."""
        return self._former if self._of(self._former) else None

    async def take_over(self, release: Release, tell: Tell) -> None:
        """Start the release beside the one that serves, check it, and shift. Raises PlatformError when it is
        not fit to serve; everything then is as before."""
        await self.let_go()
        async with self._fleet.changing:
            old = [one for one in self._fleet.instances if one.balanced]
            if not old:
                raise PlatformError(f"No instance of {self._fleet.service} serves.", hint="See: troth status")
            try:
                new = await self._start(release, old)
                tell(f"{len(new)} instances of release {release.name} are ready")
                await self._check_all(new, old)
                tell("their answers were checked")
            except BaseException:
                await self._retire(self._of(release))
                raise
            await self._swap(to=new, away=old)
            self._former, self._fleet.release = self._fleet.release, release
            self._fleet.size = len(new)
        tell(f"release {release.name} serves; release {self._former.name} rests")

    async def probation(self, seconds: float) -> str:
        """Watch the release that took over; returns why it has to go back, or nothing."""
        release, former = self._fleet.release, self._former
        before = _tally(self._of(former))
        begun = {id(one): _counts(one) for one in self._of(release)}
        silent = 0
        for _ in range(max(1, round(seconds / _GAP))):
            await asyncio.sleep(_GAP)
            new = self._of(release)
            silent = silent + 1 if any(one.phase == "suspect" for one in new) else 0
            if silent >= _SILENT_LOOKS:
                return "one of its instances does not answer"
            reason = judge_release(_tally(new, begun), before)
            if reason:
                return reason
        return ""

    async def go_back(self, *, erring: bool = False) -> Release:
        """Let the former release in again and end the one that took over; when that is `erring`, the edge
        rather waits a moment for the former than asks it. Raises PlatformError when none rests."""
        async with self._fleet.changing:
            former, old = self._former, self._of(self._former)
            if former is None or not old:
                raise PlatformError(f"No former release of {self._fleet.service} rests.")
            new = self._of(self._fleet.release)
            if erring:
                for one in new:
                    self._fleet.hold(one)
            await self._swap(to=old, away=new)
            self._fleet.release, self._former = former, None
            self._fleet.size = len(old)
            await self._retire(new)
        return former

    async def let_go(self) -> Release | None:
        """End the instances of the former release, once they have finished; returns which it was."""
        former, self._former = self._former, None
        await self._retire(self._of(former))
        return former

    async def _start(self, release: Release, old: list[Instance]) -> list[Instance]:
        starting = (self._fleet.add(release=release, beside=one, held=True) for one in old)
        outcomes = await asyncio.gather(*starting, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [one for one in outcomes if isinstance(one, Instance)]

    async def _check_all(self, new: list[Instance], old: list[Instance]) -> None:
        for one in new:
            reason = await self._check(one, old[0])
            if reason:
                raise PlatformError(f"{one.slot} of the new release {reason}.", hint=f"See {one.spec.log}")

    async def _swap(self, *, to: list[Instance], away: list[Instance]) -> None:
        """Both serve until the edge has seen the ones that come: nobody is without an instance."""
        for one in to:
            self._fleet.admit(one)
        await self._notice()
        for one in away:
            self._fleet.hold(one)
        await self._notice()

    async def _retire(self, instances: Iterable[Instance]) -> None:
        await asyncio.gather(*(self._fleet.retire(one) for one in instances))

    def _of(self, release: Release | None) -> list[Instance]:
        return [one for one in self._fleet.instances if one.release == release]


_NOTHING = (0, 0)


def _counts(instance: Instance) -> tuple[int, int]:
    told = instance.told
    return (told.served, max(told.failed, told.raised)) if told is not None else _NOTHING


def _tally(instances: Iterable[Instance], begun: dict[int, tuple[int, int]] | None = None) -> Tally:
    """What they did since they began, or since what is given."""
    served = failed = ended = 0
    for one in instances:
        (now_served, now_failed), (then_served, then_failed) = (
            _counts(one),
            (begun or {}).get(id(one), _NOTHING),
        )
        served += max(0, now_served - then_served)
        failed += max(0, now_failed - then_failed)
        ended += one.exit is not None
    return Tally(served, failed, ended)
