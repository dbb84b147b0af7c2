"""What is remembered of changes of leader."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from troth.data.failovers import (
    KEPT,
    Failover,
    describe_failover,
    keep_failover,
    read_failovers,
)

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def failover(number: int = 0, seconds: float | None = 1.25) -> Failover:
    noticed = NOON + timedelta(minutes=number)
    return Failover(noticed=noticed, cause="member-1 hung", old="member-1", new="member-2", seconds=seconds)


def test_the_newest_are_kept_and_no_more(tmp_path: Path) -> None:
    file = tmp_path / "failovers.json"
    assert read_failovers(file) == ()
    for number in range(KEPT + 3):
        keep_failover(file, failover(number))
    kept = read_failovers(file)
    assert len(kept) == KEPT
    assert kept[-1] == failover(KEPT + 2)


def test_a_failover_is_told_in_a_sentence() -> None:
    told = describe_failover(failover())
    assert (
        told
        == "2026-11-25 12:00:00 UTC: member-1 hung; member-2 took over from member-1, 1.2 s without writes"
    )
    assert "no write was confirmed" in describe_failover(failover(seconds=None))
