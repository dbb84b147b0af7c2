"""The history of metrics in a real PostgreSQL: written by who may do no more, bounded, read for charts."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import cast

import asyncpg
import pytest

from support.access import HeldClock
from support.postgres import Server
from troth.core.db import Database
from troth.core.errors import Unavailable, UsageError
from troth.data.roles import APP, AUDITOR
from troth.hosting.watch.history import MOST_SERIES, Point, Rollup
from troth.hosting.watch.metrics import Sample
from troth.wiring.history import WAITING_ROWS, History

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
LAG, KEY = "troth_member_lag_bytes", 'troth_member_lag_bytes{member="b"}'


def lag(value: float) -> tuple[Sample, ...]:
    return (Sample(LAG, value, ("b",)),)


def test_a_step_holds_mean_lowest_and_highest_once_it_has_ended() -> None:
    rollup = Rollup()
    for second, value in enumerate((1.0, 2.0, 9.0)):
        assert rollup.add(lag(value), NOON + timedelta(seconds=second)) == ()
    (row,) = rollup.add(lag(5.0), NOON + timedelta(seconds=10))
    assert (row.step, row.at, row.points) == (10, NOON, {KEY: Point(4.0, 1.0, 9.0)})
    rows = rollup.add(lag(5.0), NOON + timedelta(seconds=600))
    assert {one.step: one.points[KEY].high for one in rows} == {10: 5.0, 60: 9.0, 600: 9.0}


def test_a_moment_has_no_more_series_than_the_bound() -> None:
    rollup = Rollup()
    rollup.add((Sample("troth_process_running", 1.0, (f"p{n}",)) for n in range(MOST_SERIES * 2)), NOON)
    (row,) = rollup.add((), NOON + timedelta(seconds=10))
    assert len(row.points) == MOST_SERIES


class Past:
    """A history whose time the test passes."""

    def __init__(self, auditor: Database) -> None:
        self.clock = HeldClock()
        self.value = 1.0

        async def connected() -> Database:
            return auditor

        self.history = History(connected, lambda: lag(self.value), self.clock)

    async def pass_seconds(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)
        await self.history.work()
        await self.written()

    async def written(self) -> None:
        writing = self.history._writing  # pyright: ignore[reportPrivateUsage]
        if writing is not None:
            await writing


@pytest.fixture
async def past(postgres: Server, owner_database: Database) -> AsyncGenerator[Past]:
    await owner_database.execute("delete from troth.metric_history")
    auditor = await Database.open(postgres.target(AUDITOR), max_size=2)
    found = Past(auditor)
    yield found
    await found.history.close()
    await auditor.close()


async def test_what_was_seen_is_read_back(past: Past) -> None:
    await past.pass_seconds(0)
    past.value = 7.0
    await past.pass_seconds(10)
    await past.pass_seconds(10)
    told = await past.history.read({"metric": LAG, "hours": 1})
    assert told["step_seconds"] == 10
    series = cast("dict[str, list[dict[str, float]]]", told["series"])
    assert [one["mean"] for one in series[KEY]] == [1.0, 7.0]


async def test_each_step_keeps_its_span_and_no_more(past: Past, owner_database: Database) -> None:
    for _ in range(4):
        await past.pass_seconds(1800)
    count = await owner_database.fetchval("select count(*) from troth.metric_history where step = 10")
    assert count <= 3
    assert await owner_database.fetchval("select count(*) from troth.metric_history where step = 600") == 3


async def test_what_cannot_be_is_refused_with_what_can(past: Past) -> None:
    with pytest.raises(UsageError, match="no metric"):
        await past.history.read({"metric": "troth_member_x"})
    for hours in (0, -1, 400, 1e300, "x"):
        with pytest.raises(UsageError, match="14 days"):
            await past.history.read({"metric": LAG, "hours": hours})


async def test_the_auditor_writes_history_by_its_function_alone_and_the_application_not_at_all(
    postgres: Server, past: Past
) -> None:
    auditor = await Database.open(postgres.target(AUDITOR), max_size=1)
    app = await Database.open(postgres.target(APP), max_size=1)
    call = "select troth.write_history(10::smallint, now(), '{}'::jsonb)"
    try:
        await auditor.execute(call)
        for statement in (
            "insert into metric_history values (10, now(), '{}')",
            "delete from metric_history",
            "update metric_history set points = '{}'",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await auditor.execute(statement)
        for statement in (call, "select * from metric_history"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(statement)
    finally:
        await auditor.close()
        await app.close()


async def test_without_a_leader_rows_wait_bounded_and_nothing_waits_for_them() -> None:
    clock = HeldClock()

    async def connected() -> Database:
        raise Unavailable("The database has no leader at present.")

    history = History(connected, lambda: lag(1.0), clock)
    for _ in range(WAITING_ROWS * 2):
        clock.advance(seconds=10)
        await history.work()
    waiting = history._waiting  # pyright: ignore[reportPrivateUsage]
    assert len(waiting) == WAITING_ROWS
    await history.close()
