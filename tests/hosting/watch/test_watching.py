"""The watch: what is seen is fresh, what cannot be seen has no numbers, what stands still is stale."""

import asyncio

from support.access import HeldClock
from troth.core.errors import PlatformError
from troth.hosting.watch.metrics import Sample
from troth.hosting.watch.rules import judge
from troth.hosting.watch.watching import Look, Watch, Watched

UP = Look((Sample("troth_edge_up", 1.0),), frozenset({"edge"}))


class Ticks:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Edge:
    """A source that does as it is told."""

    def __init__(self) -> None:
        self.answer: Look | Exception | None = UP

    async def look(self) -> Look:
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer


def watch_over(edge: Edge, ticks: Ticks) -> Watch:
    source = Watched("edge", 1.0, edge.look, lambda: ("edge", "gate"), limit=0.05)
    return Watch((source,), HeldClock(), ticks)


def value(watch: Watch, metric: str) -> float | None:
    return next((one.value for one in watch.samples() if one.metric == metric), None)


async def test_a_look_gives_numbers_their_age_and_what_it_did_not_see() -> None:
    ticks, watch = (ticks := Ticks()), watch_over(Edge(), ticks)
    assert watch.blind() == {"edge"}, "not looked at yet"
    await watch.duties()[0].work()
    ticks.now += 3
    (seen,) = watch.seen()
    assert (seen.age, seen.is_stale, seen.missing) == (3.0, False, ("gate",))
    assert value(watch, "troth_edge_up") == 1.0
    assert watch.blind() == frozenset()


async def test_what_cannot_be_seen_has_no_numbers_and_becomes_an_alarm() -> None:
    ticks, edge = Ticks(), Edge()
    watch = watch_over(edge, ticks)
    (duty,) = watch.duties()
    await duty.work()
    edge.answer = PlatformError("It is gone.")
    assert await duty.work() == "", "a finding of the watch, no failure of its duty"
    assert value(watch, "troth_edge_up") is None
    assert watch.blind() == {"edge"}
    assert not judge(watch.samples())
    ticks.now += 60
    (fault,) = judge(watch.samples())
    assert (fault.key, fault.words) == ("watch.blind/edge", "Nobody sees the edge any more: It is gone.")


async def test_a_look_that_hangs_is_given_up() -> None:
    edge = Edge()
    watch = watch_over(edge, Ticks())
    edge.answer = None
    await watch.duties()[0].work()
    assert watch.seen()[0].problem == "no answer in time"


async def test_a_watch_that_stands_still_in_a_drill_is_stale_alarms_nobody_and_goes_on() -> None:
    ticks, edge = Ticks(), Edge()
    watch = watch_over(edge, ticks)
    (duty,) = watch.duties()
    await duty.work()
    ticks.now += 60
    async with watch.standing_still("edge"):
        await duty.work()
        assert watch.seen()[0].is_stale
        assert watch.blind() == {"edge"}
        assert not judge(watch.samples())
    assert not watch.seen()[0].is_stale
