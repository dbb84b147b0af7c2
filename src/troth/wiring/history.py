"""Metrics of the last days in the database: written by the keeper now and then, read for charts."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta

import msgspec

from troth.core.clock import Clock, to_wire
from troth.core.db import Database
from troth.core.errors import Unavailable, UsageError
from troth.hosting.plan import Action, Duty
from troth.hosting.watch.history import STEPS, Point, Rollup, Row
from troth.hosting.watch.metrics import METRICS, Sample

EVERY_SECONDS = 2.0
WAITING_ROWS = 60
"""Rows that wait for a leader; beyond, the oldest are dropped: a gap in a chart is no loss."""

LONGEST = timedelta(days=14)

_SPANS = {10: timedelta(hours=1), 60: timedelta(days=1), 600: LONGEST}

_log = logging.getLogger(__name__)


class History:
    """Writes as the auditor, who may call one function and change nothing else. `connected` gives its pool,
    or raises Unavailable."""

    def __init__(
        self,
        connected: Callable[[], Awaitable[Database]],
        samples: Callable[[], Iterable[Sample]],
        clock: Clock,
    ) -> None:
        self._connected, self._samples, self._clock = connected, samples, clock
        self._rollup = Rollup()
        self._waiting: deque[Row] = deque(maxlen=WAITING_ROWS)
        self._writing: asyncio.Task[None] | None = None

    def duties(self) -> tuple[Duty, ...]:
        return (Duty(name="history", every=EVERY_SECONDS, work=self.work),)

    def actions(self) -> dict[str, Action]:
        return {"history": self.read}

    async def work(self) -> str:
        """Gather, and write what has ended. Writing goes on by itself: without a leader it waits, and nothing
        else waits for it; one write is under way at most."""
        self._waiting.extend(self._rollup.add(self._samples(), self._clock.now()))
        if self._waiting and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write(), name="write history")
        return ""

    async def close(self) -> None:
        """End what is under way."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def read(self, asked: dict[str, object]) -> dict[str, object]:
        """The points of one metric, all its series, since so many hours ago. Raises UsageError for a metric
        that is none."""
        metric, hours = str(asked.get("metric", "")), asked.get("hours", 1)
        if metric not in METRICS:
            known = ", ".join(name for name in METRICS if name.startswith(metric[:14]))
            hint = f"Try one of: {known}" if known else "See: troth metrics"
            raise UsageError(f"There is no metric {metric[:100]!r}.", hint=hint)
        if not isinstance(hours, int | float) or not 0 < hours <= LONGEST / timedelta(hours=1):
            raise UsageError("History reaches back 14 days.", hint="Give --hours a number up to 336.")
        span = timedelta(hours=hours)
        step = next(step for step in STEPS if span <= _SPANS[step])
        series = await self._series(metric, step, self._clock.now() - span)
        return {"metric": metric, "step_seconds": step, "series": series}

    async def _series(self, metric: str, step: int, since: datetime) -> dict[str, list[dict[str, object]]]:
        rows = await (await self._connected()).fetch(
            "select h.at, p.key, p.value::text as value from metric_history h, jsonb_each(h.points) p"
            " where h.step = $1 and h.at >= $2 and (p.key = $3 or starts_with(p.key, $3 || '{'))"
            " order by h.at",
            step,
            since,
            metric,
            idempotent=True,
        )
        series: dict[str, list[dict[str, object]]] = {}
        for row in rows:
            point = msgspec.json.decode(row["value"], type=Point)
            told: dict[str, object] = {"at": to_wire(row["at"]), "mean": point.mean}
            series.setdefault(row["key"], []).append({**told, "low": point.low, "high": point.high})
        return series

    async def _write(self) -> None:
        try:
            auditor = await self._connected()
            while self._waiting:
                row = self._waiting[0]
                await _insert(auditor, row)
                if self._waiting and self._waiting[0] is row:
                    self._waiting.popleft()
        except Unavailable as error:
            # A failover: the members' own alarms tell of it, and what waits is written after it.
            _log.info("the history waits: %s", error.public)


async def _insert(auditor: Database, row: Row) -> None:
    """Confirmed by the leader alone: no chart is worth that a write of a customer's waits behind it."""
    async with auditor.transaction() as connection:
        await connection.execute("set local synchronous_commit = local")
        await connection.execute(
            "select troth.write_history($1::smallint, $2, $3::jsonb)",
            row.step,
            row.at,
            msgspec.json.encode(row.points).decode(),
        )
