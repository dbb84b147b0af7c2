"""The bound: what is measured of sign-outs, and what turns the promise red."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from troth.access.bound import (
    Hearing,
    Measurement,
    Ring,
    Trial,
    Watched,
    deaf,
    judge_bound,
    percentile,
    slowest,
    sum_up,
    until_refused,
)
from troth.core.promise import Finding

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
OWN = Finding("proved", "Refused within 3 ms.", {"again": 401})
LIVELY = (Hearing("web-1", True, 0.2), Hearing("web-2", True, 0.4))
NOBODY: frozenset[str] = frozenset()


def measured(
    *refused: float | None, accepted: float = 0.0, opened: tuple[str, ...] = ()
) -> tuple[Measurement, ...]:
    """One measurement each half minute."""
    return tuple(
        Measurement(NOON + timedelta(seconds=30 * number), one, accepted, opened, opened)
        for number, one in enumerate(refused)
    )


def verdict(*measurements: Measurement, own: Finding = OWN) -> str:
    return judge_bound(own, Watched(sum_up(measurements), LIVELY)).verdict


def test_percentiles_are_values_that_were_measured() -> None:
    values = tuple(float(value) for value in range(100, 0, -1))
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1.0) == 100
    assert percentile((7.0,), 0.5) == 7
    assert percentile((), 0.99) is None


def test_only_the_last_measurements_count_and_the_ring_does_not_grow() -> None:
    ring = Ring(size=3)
    assert ring.bound() is None
    for one in measured(900.0, 1.0, 2.0, 3.0):
        ring.add(one)
    bound = ring.bound()
    assert bound is not None
    assert (bound.count, bound.seconds, bound.longest, bound.last) == (3, 60.0, 3.0, 3.0)


def test_the_slowest_instance_counts() -> None:
    one = slowest(NOON, (Trial("web-1", 3.0), Trial("web-1", 9.0, 4.0), Trial("web-2", 5.0)), NOBODY)
    assert one == Measurement(NOON, 9.0, 4.0)


def test_one_instance_that_never_refuses_is_not_outweighed_by_those_that_do() -> None:
    one = slowest(NOON, (Trial("web-1", 3.0), Trial("web-2", None, 4990.0)), NOBODY)
    assert one is not None
    assert one.refused is None


def test_where_nobody_could_be_asked_nothing_was_measured() -> None:
    assert slowest(NOON, (), NOBODY) is None


def test_what_a_silent_instance_accepts_is_noted_and_what_a_lively_one_accepts_is_not() -> None:
    trials = Trial("web-1", 9.0, 4.0), Trial("web-2", 9.0, 4.0), Trial("web-3", 3.0)
    one = slowest(NOON, trials, frozenset({"web-2", "web-3"}))
    assert one is not None
    assert (one.silent, one.opened) == (("web-2", "web-3"), ("web-2",))


@pytest.mark.parametrize(
    ("before", "after", "silent"),
    [
        (Hearing("web-1", False, 3.0), Hearing("web-1", False, 3.1), True),
        (Hearing("web-1", False, None), Hearing("web-1", False, None), True),
        (Hearing("web-1", False, 3.0), Hearing("web-1", False, 2.1), False),
        (Hearing("web-1", False, None), Hearing("web-1", False, 2.1), False),
        (Hearing("web-1", False, 3.0), Hearing("web-1", True, 0.1), False),
        (Hearing("web-1", True, 0.1), Hearing("web-1", False, 3.0), False),
        (Hearing("web-1", False, 3.0), Hearing("web-2", False, 3.1), False),
    ],
)
def test_a_feed_counts_as_silent_only_when_no_beat_came_in_between(
    before: Hearing, after: Hearing, silent: bool
) -> None:
    assert bool(deaf((before,), (after,))) is silent


async def answering(*statuses: int, seconds: float = 5.0) -> Trial | None:
    """A trial of an instance that answers these, the last one for ever."""
    left = list(statuses)

    async def ask() -> int:
        return left.pop(0) if len(left) > 1 else left[0]

    return await until_refused("web-1", ask, time.monotonic(), seconds=seconds)


async def test_an_instance_is_asked_until_it_refuses() -> None:
    trial = await answering(200, 200, 401)
    assert trial is not None
    assert trial.accepted is not None
    assert trial.refused is not None
    assert 0 <= trial.accepted < trial.refused


async def test_a_refusal_of_the_first_question_shows_that_nothing_was_accepted() -> None:
    trial = await answering(401)
    assert trial is not None
    assert trial.accepted is None


async def test_an_instance_that_accepts_to_the_end_never_refused() -> None:
    trial = await answering(200, seconds=0.02)
    assert trial is not None
    assert trial.refused is None


@pytest.mark.parametrize("statuses", [(0,), (503,), (200, 0)])
async def test_an_instance_that_goes_away_neither_accepts_nor_refuses(statuses: tuple[int, ...]) -> None:
    assert await answering(*statuses, seconds=0.02) is None


def test_quick_refusals_are_published_with_their_number_and_span() -> None:
    found = judge_bound(OWN, Watched(sum_up(measured(*[3.0] * 98, 20.0, 40.0)), LIVELY))
    assert found.verdict == "proved"
    assert found.evidence.startswith("Refused within 3 ms. Over the last 100 measurements in 50 min: ")
    assert "p50 3, p99 20, at most 40 ms" in found.evidence
    assert found.raw["again"] == 401


def test_one_token_that_was_never_refused_breaks_the_promise_until_it_is_out_of_sight() -> None:
    assert verdict(*measured(3.0, 3.0)) == "proved"
    assert verdict(*measured(3.0, None, 3.0)) == "broken"
    assert verdict(*measured(None)) == "broken"


def test_a_token_that_is_accepted_for_longer_than_an_instance_may_vouch_breaks_the_promise() -> None:
    assert verdict(*measured(1990.0, accepted=1980.0)) == "proved"
    assert verdict(*measured(2020.0, accepted=2010.0)) == "broken"


def test_a_refusal_that_came_late_breaks_nothing_when_nothing_was_accepted() -> None:
    assert verdict(*measured(3000.0)) == "proved"


def test_a_silent_feed_is_told_and_breaks_the_promise_only_when_its_instance_accepted() -> None:
    feeds = Hearing("web-1", True, 0.1), Hearing("web-2", False, 7.0), Hearing("web-3", False)
    found = judge_bound(OWN, Watched(sum_up(measured(3.0)), feeds))
    assert found.verdict == "proved"
    assert "asks the database at every use: web-2 (for 7 s), web-3 (since its start)" in found.evidence
    assert verdict(*measured(3.0, accepted=1.0, opened=("web-2",))) == "broken"


def test_before_the_first_measurement_the_probe_says_that_there_is_none() -> None:
    found = judge_bound(OWN, Watched(None, LIVELY))
    assert found.verdict == "proved"
    assert "not measured yet" in found.evidence


def test_the_bound_never_makes_good_what_the_probe_saw() -> None:
    quick = measured(3.0, 3.0)
    assert verdict(*quick, own=Finding("broken", "A token was given without a session.")) == "broken"
    assert verdict(*quick, own=Finding("unknown", "Not every instance accepted.")) == "unknown"
    assert verdict(*measured(None), own=Finding("unknown", "Not every instance accepted.")) == "broken"
