"""Carries out the steps of a plan: side by side where they do not depend on one another, and back again."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from graphlib import TopologicalSorter
from typing import Any

import msgspec

from troth.core.errors import PlatformError
from troth.hosting.plan import Step
from troth.hosting.progress import StepChange, StepCondition

_log = logging.getLogger(__name__)


class StepView(msgspec.Struct, frozen=True):
    """A step as `troth status` shows it."""

    name: str
    title: str
    condition: StepCondition
    words: str
    seconds: float


class StepRunner:
    """Runs each step once. `tell` hears of every change. Raises ValueError on a step that waits for nobody
    known, or for itself (graphlib.CycleError)."""

    def __init__(self, steps: tuple[Step, ...], tell: Callable[[StepChange], None]) -> None:
        self._steps = {step.name: step for step in steps}
        self._tell = tell
        unknown = {name for step in steps for name in step.after} - set(self._steps)
        if unknown:
            raise ValueError(f"steps wait for what is not in the plan: {', '.join(sorted(unknown))}")
        TopologicalSorter({step.name: step.after for step in steps}).prepare()
        self._done = {name: asyncio.Event() for name in self._steps}
        self._stopped = {name: asyncio.Event() for name in self._steps}
        self._began: dict[str, float] = {}
        self._changes = {name: StepChange(name, "waiting") for name in self._steps}

    async def bring_up(self) -> None:
        """Run them all. The first that fails cancels the others and its error is raised."""
        await _together([self._start(step) for step in self._steps.values()])

    async def take_down(self) -> None:
        """Stop what was begun, each step after everything that was built on it. A stop that fails is logged
        and the others go on."""
        await asyncio.gather(*(self._stop(step) for step in self._steps.values()))

    def views(self) -> tuple[StepView, ...]:
        return tuple(
            StepView(step.name, step.title, change.condition, change.words, round(change.seconds, 3))
            for step, change in zip(self._steps.values(), self._changes.values(), strict=True)
        )

    async def _start(self, step: Step) -> None:
        for name in step.after:
            await self._done[name].wait()
        self._began[step.name] = time.monotonic()
        self._change(step, "running")
        try:
            words = await step.start(lambda words: self._change(step, "running", words))
        except BaseException:
            self._change(step, "failed", self._changes[step.name].words)
            raise
        self._change(step, "done", words)
        self._done[step.name].set()

    async def _stop(self, step: Step) -> None:
        for other in self._steps.values():
            if step.name in other.after:
                await self._stopped[other.name].wait()
        if step.name in self._began:
            await self._stop_begun(step)
        self._stopped[step.name].set()

    async def _stop_begun(self, step: Step) -> None:
        self._began[step.name] = time.monotonic()
        self._change(step, "stopping")
        (outcome,) = await asyncio.gather(step.stop(), return_exceptions=True)
        if isinstance(outcome, BaseException):
            _log.error("stopping %s failed", step.name, exc_info=outcome)
        self._change(step, "stopped")

    def _change(self, step: Step, condition: StepCondition, words: str = "") -> None:
        seconds = time.monotonic() - self._began.get(step.name, time.monotonic())
        change = StepChange(step.name, condition, words, seconds)
        self._changes[step.name] = change
        self._tell(change)


async def _together(work: list[Coroutine[Any, Any, None]]) -> None:
    """Like a TaskGroup, but the first failure is raised as itself."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if task.cancelled():
            raise PlatformError("A part of the start was cut short.")
        task.result()
