"""Work that comes back. A duty that fails is logged, shown as a trouble, and tried again."""

import asyncio
import logging
from datetime import datetime

import msgspec

from troth.core.clock import Clock
from troth.core.errors import TrothError
from troth.hosting.plan import Duty

_TOGETHER_SECONDS = 5.0
_EARLY = 0.1

_log = logging.getLogger(__name__)


class DutyView(msgspec.Struct, frozen=True):
    """How a duty last went."""

    name: str
    last: datetime | None
    words: str
    failed: bool


class Duties:
    """Runs each duty in a loop of its own, so that a slow one delays no other."""

    def __init__(self, duties: tuple[Duty, ...], clock: Clock) -> None:
        self._duties, self._clock = duties, clock
        self._views = {duty.name: DutyView(duty.name, None, "", False) for duty in duties}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._repeat(duty), name=duty.name) for duty in self._duties]

    async def stop(self) -> None:
        """Cancel them and wait until they have let go."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def views(self) -> tuple[DutyView, ...]:
        return tuple(self._views.values())

    def troubles(self) -> tuple[str, ...]:
        return tuple(f"{view.name} failed: {view.words}" for view in self._views.values() if view.failed)

    async def _repeat(self, duty: Duty) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(pause(duty.every, loop.time()))
            self._note(duty, await _outcome(duty))

    def _note(self, duty: Duty, outcome: str | BaseException) -> None:
        bad = isinstance(outcome, BaseException)
        words = _words(outcome) if isinstance(outcome, BaseException) else outcome
        self._views[duty.name] = DutyView(duty.name, self._clock.now(), words, bad)
        if isinstance(outcome, BaseException):
            _log.error("%s failed: %s", duty.name, words, exc_info=_trace(outcome))
        elif outcome:
            _log.info("%s: %s", duty.name, outcome)


def pause(every: float, now: float) -> float:
    """Seconds until the next round of a duty; pure. What comes often comes at the multiples of its time, so
    that many duties wake this process together and not one by one. A timer that goes off a little early does
    not lead to two rounds."""
    if every > _TOGETHER_SECONDS:
        return every
    return (int(now / every + _EARLY) + 1) * every - now


async def _outcome(duty: Duty) -> str | BaseException:
    """One round, bounded: a duty that hangs would otherwise never come back, and nobody would learn of it.

    Within the task of the loop, and without `asyncio.timeout`: either costs more than most rounds do.
    """
    task = asyncio.current_task()
    assert task is not None
    bound = _Bound(task, duty.limit)
    try:
        outcome: str | BaseException = await duty.work()
    except asyncio.CancelledError as error:
        outcome = error
    except Exception as error:  # noqa: BLE001 - noted, logged, and tried again
        outcome = error
    finally:
        bound.lift()
    if task.cancelling():  # we are to stop, and not something inside the round
        raise asyncio.CancelledError
    if bound.reached and isinstance(outcome, asyncio.CancelledError):
        return TimeoutError(f"not done within {duty.limit:g} s")
    return outcome


class _Bound:
    """Cancels a task after so many seconds, unless it is lifted before."""

    def __init__(self, task: asyncio.Task[None], seconds: float) -> None:
        self.reached = False
        self._task = task
        self._timer = asyncio.get_running_loop().call_later(seconds, self._cut)

    def lift(self) -> None:
        """What it cancelled is no longer asked to stop."""
        self._timer.cancel()
        if self.reached:
            self._task.uncancel()

    def _cut(self) -> None:
        self.reached = True
        self._task.cancel()


def _words(error: BaseException) -> str:
    if isinstance(error, TrothError):
        return error.public
    return str(error) or type(error).__name__


def _trace(error: BaseException) -> BaseException | None:
    """What we raise on purpose says enough by itself; anything else is a defect and keeps its traceback."""
    return None if isinstance(error, TrothError) else error
