"""Instants as they go over the wire."""

from datetime import UTC, datetime, timedelta, timezone

from troth.core.clock import SystemClock, to_wire


def test_the_clock_tells_an_aware_instant_in_utc() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert timedelta(0) <= now - before + timedelta(milliseconds=1) < timedelta(seconds=5)


def test_an_instant_is_written_in_utc_with_milliseconds() -> None:
    berlin = timezone(timedelta(hours=1))
    assert to_wire(datetime(2026, 11, 23, 17, 0, 0, 123_999, tzinfo=berlin)) == "2026-11-23T16:00:00.123Z"
    assert to_wire(datetime(2026, 11, 23, 16, 0, tzinfo=UTC)) == "2026-11-23T16:00:00.000Z"
