"""Drills: a promise is broken on purpose, its probe has to see it, and has to see it mended."""

import time
from collections.abc import Awaitable, Callable

import msgspec

from troth.core.clock import Clock, to_wire
from troth.core.promise import Drill, Finding, Probe, Verdict


class Drilled(msgspec.Struct, frozen=True, kw_only=True):
    """What a drill showed: the probe's word before, while the defect was there, and after. `at` is RFC 3339;
    `seconds` is from the defect to the first look that saw it."""

    promise: str
    defect: str
    before: Verdict
    during: Verdict
    seen: str
    after: Verdict
    seconds: float
    at: str

    @property
    def passed(self) -> bool:
        """Whether the probe turned red, and back to what it had said before, which was not red."""
        return self.before != "broken" and self.during == "broken" and self.after == self.before


async def run_drill(drill: Drill, probe: Probe, clock: Clock) -> Drilled:
    """Look, break, look, mend, look. The defect is gone when this returns or raises."""
    before = await _look(probe.look)
    async with drill.broken() as faulty:
        started = time.monotonic()
        during = await _look(faulty.look)
        seconds = time.monotonic() - started
    after = await _look(probe.look)
    return Drilled(
        promise=drill.promise,
        defect=drill.defect,
        before=before.verdict,
        during=during.verdict,
        seen=during.evidence,
        after=after.verdict,
        seconds=round(seconds, 3),
        at=to_wire(clock.now()),
    )


async def _look(look: Callable[[], Awaitable[Finding]]) -> Finding:
    """A probe that could not look has seen nothing: the drill then fails, with the reason."""
    try:
        return await look()
    except Exception as error:  # noqa: BLE001 - whatever the reason, it is told and the drill goes on to mend
        return Finding("unknown", f"The probe could not look: {error or type(error).__name__}"[:200])


def told(drilled: Drilled | None) -> str:
    """What a factsheet says of the last drill; nothing when there was none."""
    if drilled is None:
        return ""
    when = drilled.at[:16].replace("T", " ")
    if drilled.passed:
        return f"Drill of {when} UTC: turned broken when {drilled.defect}, and back when it was mended."
    return (
        f"Drill of {when} UTC FAILED: {drilled.before} before, {drilled.during} when {drilled.defect},"
        f" {drilled.after} after."
    )
