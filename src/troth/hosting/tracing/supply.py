"""Spans that wait to be sent, and when to try again; pure but for what it keeps.

Bounded: when the collector is gone the oldest spans make room, and are counted. Nothing else waits for it.
"""

from collections import deque
from collections.abc import Iterable

from troth.core.tracing import Span

MOST_WAITING = 4096
MOST_AT_ONCE = 512
LONGEST_SECONDS = 60.0

Told = tuple[str, Span]


class Supply:
    """`sent`, `lost` and `refused` count spans: what the collector took, what was crowded out, and what it
    will not take however often it is asked. `problem` says why it took nothing the last time."""

    def __init__(self) -> None:
        self._waiting: deque[Told] = deque()
        self._not_before = 0.0
        self._failures = 0
        self._failing_since: float | None = None
        self.problem = ""
        self.sent = self.lost = self.refused = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, spans: Iterable[Told]) -> None:
        """The oldest make room."""
        for one in spans:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self.lost += 1
            self._waiting.append(one)

    def due(self, now: float) -> tuple[Told, ...]:
        """What to send now; nothing while it is to be left in peace. They wait until `took` or `refuse`."""
        if now < self._not_before:
            return ()
        return tuple(self._waiting[index] for index in range(min(MOST_AT_ONCE, len(self._waiting))))

    def took(self, spans: tuple[Told, ...]) -> None:
        """The collector has them."""
        self.sent += self._drop(spans)
        self._failures, self._failing_since, self._not_before, self.problem = 0, None, 0.0, ""

    def refuse(self, spans: tuple[Told, ...], problem: str, now: float) -> None:
        """It will never take them."""
        self.refused += self._drop(spans)
        self._fail(problem, now)

    def fail(self, problem: str, now: float) -> None:
        """It did not take them this time: again after 1, 2, 4 … 60 seconds."""
        self._fail(problem, now)

    def failing(self, now: float) -> float:
        """For how many seconds nothing has been taken that was sent."""
        return now - self._failing_since if self._failing_since is not None else 0.0

    def _fail(self, problem: str, now: float) -> None:
        self.problem = problem
        self._failing_since = self._failing_since if self._failing_since is not None else now
        self._not_before = now + min(LONGEST_SECONDS, 2.0**self._failures)
        self._failures = min(self._failures + 1, 10)

    def _drop(self, spans: tuple[Told, ...]) -> int:
        """Those that are still there: some may have made room meanwhile."""
        gone = {id(one) for one in spans}
        before = len(self._waiting)
        self._waiting = deque(one for one in self._waiting if id(one) not in gone)
        return before - len(self._waiting)
