"""hosting.balancing is proved by a spike that was followed, and red for whatever did not follow."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from troth.hosting.balancing import Acting, Rehearsed, judge_balancing, problem_of

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
BOTH = tuple((service, f"{service}-{n}", True) for service in ("web", "portal") for n in (1, 2))
GOOD = Rehearsed(
    at=NOW - timedelta(minutes=5),
    service="web",
    before=2,
    top=4,
    after=2,
    rise_seconds=2.5,
    fall_seconds=6.0,
    sent=4000,
    failed=0,
)


def but(**changed: object) -> Rehearsed:
    one = msgspec.structs.replace(GOOD, **changed)
    return msgspec.structs.replace(one, problem=problem_of(one))


def test_a_spike_that_was_followed_up_and_down_without_a_failure_proves_it() -> None:
    finding = judge_balancing(BOTH, Acting(rehearsed=but()), NOW)
    assert finding.verdict == "proved"
    assert "from 2 to 4 within 2.5 s" in finding.evidence
    assert "0 of 4,000 requests failed" in finding.evidence


@pytest.mark.parametrize(
    "rehearsed, words",
    [
        (but(top=2), "stayed at 2"),
        (but(failed=3), "3 of 4,000 requests failed"),
        (but(after=3), "3 instances stayed"),
    ],
)
def test_a_spike_that_was_not_followed_turns_it_red(rehearsed: Rehearsed, words: str) -> None:
    finding = judge_balancing(BOTH, Acting(rehearsed=rehearsed), NOW)
    assert finding.verdict == "broken"
    assert words in finding.evidence


def test_one_silent_instance_of_two_breaks_it_whatever_was_rehearsed() -> None:
    seen = (*BOTH[:3], ("portal", "portal-2", False))
    finding = judge_balancing(seen, Acting(rehearsed=GOOD), NOW)
    assert finding.verdict == "broken"
    assert "portal 1" in finding.evidence
    assert judge_balancing((), Acting(rehearsed=GOOD), NOW).verdict == "broken"


def test_a_number_that_a_person_fixed_does_not_follow_the_load() -> None:
    acting = Acting(hindered=("web stays at 3, by a person's word",), rehearsed=GOOD)
    finding = judge_balancing(BOTH, acting, NOW)
    assert finding.verdict == "broken"
    assert "web stays at 3" in finding.evidence


@pytest.mark.parametrize("rehearsed", [None, but(at=NOW - timedelta(days=8))])
def test_without_a_spike_of_late_nothing_is_proved(rehearsed: Rehearsed | None) -> None:
    assert judge_balancing(BOTH, Acting(rehearsed=rehearsed), NOW).verdict == "unknown"
