"""A drill passes only when its probe saw the defect, and saw it mended."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import pytest

from troth.assurance.drills import Drilled, run_drill, told
from troth.core.clock import SystemClock
from troth.core.promise import Drill, Finding, Probe, Verdict


class Patient:
    """A promise that is broken inside a block, and a probe that says what it is told to."""

    def __init__(self, *words: Verdict) -> None:
        self._words: Iterator[Verdict] = iter(words)
        self.broken = False
        self.looked: list[bool] = []

    async def look(self) -> Finding:
        self.looked.append(self.broken)
        return Finding(next(self._words), "seen")

    @asynccontextmanager
    async def breaking(self) -> AsyncGenerator[Probe]:
        self.broken = True
        try:
            yield Probe("access.tokens", self.look)
        finally:
            self.broken = False

    async def drill(self) -> Drilled:
        drill = Drill("access.tokens", "it was broken", self.breaking)
        return await run_drill(drill, Probe("access.tokens", self.look), SystemClock())


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        (("proved", "broken", "proved"), True),
        (("unknown", "broken", "unknown"), True),
        (("proved", "proved", "proved"), False),
        (("proved", "unknown", "proved"), False),
        (("proved", "broken", "broken"), False),
        (("broken", "broken", "broken"), False),
    ],
)
async def test_a_probe_passes_when_it_turns_red_and_back(words: tuple[Verdict, ...], passed: bool) -> None:
    patient = Patient(*words)
    drilled = await patient.drill()
    assert drilled.passed is passed
    assert patient.looked == [False, True, False]
    assert ("FAILED" in told(drilled)) is not passed


async def test_a_probe_that_cannot_look_fails_the_drill_and_the_defect_is_mended() -> None:
    patient = Patient("proved")  # the second look raises
    drilled = await patient.drill()
    assert drilled.during == "unknown"
    assert not drilled.passed
    assert not patient.broken


def test_nothing_is_told_of_a_promise_that_was_never_drilled() -> None:
    assert told(None) == ""
