"""The verdict on hosting.monitoring: every source fresh and complete, and a test alert that arrived."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from troth.hosting.watch.promise import Told, judge_monitoring
from troth.hosting.watch.watching import Look, Seen

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)
FRESH = Seen(
    source="instances",
    age=1.0,
    stale_seconds=15.0,
    at=NOW,
    look=Look((), frozenset({"web-1", "web-2"})),
)
TOLD = Told(name="night", tested=NOW - timedelta(hours=2), waiting=0, problem="")


def test_it_is_proved_by_fresh_looks_and_a_test_that_arrived() -> None:
    found = judge_monitoring((FRESH,), (TOLD,), DAY, NOW)
    assert found.verdict == "proved"
    assert "2 resources" in found.evidence
    assert "night at 2026-11-25T10:00Z" in found.evidence


def test_a_watch_that_stands_still_breaks_it() -> None:
    found = judge_monitoring((msgspec.structs.replace(FRESH, age=15.1),), (TOLD,), DAY, NOW)
    assert found.verdict == "broken"
    assert "the watch stands still" in found.evidence


def test_a_resource_that_nobody_sees_breaks_it() -> None:
    found = judge_monitoring((msgspec.structs.replace(FRESH, missing=("web-3",)),), (TOLD,), DAY, NOW)
    assert found.verdict == "broken"
    assert "nobody watches web-3" in found.evidence


@pytest.mark.parametrize(
    "told",
    [
        msgspec.structs.replace(TOLD, tested=NOW - timedelta(hours=26)),
        msgspec.structs.replace(TOLD, tested=None, problem="it answered 500"),
        msgspec.structs.replace(TOLD, tested=NOW - timedelta(hours=24.5), problem="it answered 500"),
    ],
)
def test_alerts_that_do_not_arrive_break_it(told: Told) -> None:
    assert judge_monitoring((FRESH,), (told,), DAY, NOW).verdict == "broken"


def test_without_a_target_or_a_test_or_a_first_look_it_is_not_known() -> None:
    assert judge_monitoring((FRESH,), (), DAY, NOW).verdict == "unknown"
    untried = msgspec.structs.replace(TOLD, tested=None)
    assert judge_monitoring((FRESH,), (untried,), DAY, NOW).verdict == "unknown"
    assert (
        judge_monitoring((msgspec.structs.replace(FRESH, at=None),), (TOLD,), DAY, NOW).verdict == "unknown"
    )
