"""hosting.monitoring: every resource is looked at just now, and a test alert has really arrived.

The probe asks nothing of the resources themselves. It asks whether the watch that should see them still
does: a watch that stands still shows a calm platform for ever.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta

import msgspec

from troth.core.clock import to_wire
from troth.core.promise import Drill, Finding, Probe
from troth.hosting.watch.metrics import Source
from troth.hosting.watch.watching import Seen

PROMISE = "hosting.monitoring"

DRILLED: Source = "instances"

LATE = timedelta(hours=1)
"""By how much a test alert may be late: a target that is away for a moment is tried again."""

_NAMED = 5


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A target of alerts: when it last took a test, how many messages wait for it, and why."""

    name: str
    tested: datetime | None
    waiting: int
    problem: str


class MonitoringView(msgspec.Struct, frozen=True):
    """What the probe needs to see. A test has to have arrived at each target within `test_within`."""

    seen: Callable[[], tuple[Seen, ...]]
    told: Callable[[], tuple[Told, ...]]
    test_within: timedelta
    now: Callable[[], datetime]


def probe(view: MonitoringView) -> Probe:
    """The probe of hosting.monitoring."""

    async def look() -> Finding:
        return judge_monitoring(view.seen(), view.told(), view.test_within, view.now())

    return Probe(PROMISE, look)


def drill(
    view: MonitoringView, standing_still: Callable[[Source], AbstractAsyncContextManager[None]]
) -> Drill:
    """`standing_still` keeps the watch from looking at a source for as long as it lasts."""

    @asynccontextmanager
    async def broken() -> AsyncGenerator[Probe]:
        async with standing_still(DRILLED):
            yield probe(view)

    return Drill(PROMISE, f"the watch over the {DRILLED} stood still", broken)


def judge_monitoring(
    seen: tuple[Seen, ...], told: tuple[Told, ...], test_within: timedelta, now: datetime
) -> Finding:
    """Pure: the verdict."""
    raw: dict[str, object] = {
        "sources": {
            one.source: {
                "age_seconds": round(one.age, 3),
                "limit_seconds": one.stale_seconds,
                "resources": sorted(one.look.resources),
                "missing": list(one.missing),
                "problem": one.problem,
            }
            for one in seen
        },
        "targets": {one.name: to_wire(one.tested) if one.tested else one.problem for one in told},
    }
    if faults := (*_unseen(seen), *_untold(told, test_within, now)):
        return Finding("broken", f"{'; '.join(faults[:_NAMED])}.", raw)
    if not seen or any(one.at is None for one in seen):
        return Finding("unknown", "The watch has only begun.", raw)
    count = sum(len(one.look.resources) for one in seen)
    oldest = max(seen, key=lambda one: one.age)
    looked = (
        f"{count} resources are watched, of {len(seen)} kinds, each seen within its limit: the oldest look, "
        f"at the {oldest.source}, was {oldest.age:.0f} s ago"
    )
    if not told:
        return Finding("unknown", f"{looked}; alerts are told to nobody: there is no [alerts].", raw)
    if untried := [one.name for one in told if one.tested is None]:
        return Finding("unknown", f"{looked}; no test alert has reached {', '.join(untried)} yet.", raw)
    arrived = ", ".join(f"{one.name} at {to_wire(one.tested)[:16]}Z" for one in told if one.tested)
    return Finding("proved", f"{looked}; a test alert reached {arrived}.", raw)


def _unseen(seen: tuple[Seen, ...]) -> tuple[str, ...]:
    stale = (
        f"nobody has seen the {one.source} for {one.age:.0f} s ({one.problem or 'the watch stands still'})"
        for one in seen
        if one.is_stale
    )
    missing = (
        f"nobody watches {', '.join(one.missing[:_NAMED])} ({one.source})" for one in seen if one.missing
    )
    return (*stale, *missing)


def _untold(told: tuple[Told, ...], within: timedelta, now: datetime) -> tuple[str, ...]:
    """A target that takes nothing: none was delivered for too long, or the one under way is refused."""
    late = (one for one in told if one.tested is not None and now - one.tested > within + LATE)
    refused = (one for one in told if one.problem and (one.tested is None or now - one.tested > within))
    found = {one.name: one.problem or "no test arrived in time" for one in (*late, *refused)}
    return tuple(f"alerts do not reach {name}: {words}" for name, words in found.items())
