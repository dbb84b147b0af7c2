"""hosting.restart and hosting.replacement: what became of sentinels that were killed and that fell ill, and
how the instances themselves stand.

Sentinels are under the same care as instances (`hosting/sentinels.py`); what each fault costs those who ask
is measured in tests with a real edge and real instances, `docs/faults.md`.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec

from troth.core.promise import Drill, Finding, Probe
from troth.hosting.judging import Patient
from troth.hosting.sentinels import PATIENCE_SECONDS, Replaced

RESTART = "hosting.restart"
REPLACEMENT = "hosting.replacement"

AWAY_SECONDS = 60.0
"""Whoever has not come back after so long is not restarted, whatever the reason."""


class HealingView(msgspec.Struct, frozen=True):
    """What the two probes look at. `restart` kills a sentinel, with `False` one that nobody starts again;
    `replacement` lets one of two fall ill, with `False` where nobody looks after them."""

    patients: Callable[[], tuple[Patient, ...]]
    restart: Callable[[bool], Awaitable[float | None]]
    replacement: Callable[[bool], Awaitable[Replaced]]


def probes(view: HealingView) -> tuple[Probe, ...]:
    """The probes of both."""
    return (probe_of_restart(view), probe_of_replacement(view))


def drills(view: HealingView) -> tuple[Drill, ...]:
    """Both with the same probes, of sentinels that nobody cares for."""

    @asynccontextmanager
    async def not_started() -> AsyncGenerator[Probe]:
        yield probe_of_restart(view, cared=False)

    @asynccontextmanager
    async def not_looked_after() -> AsyncGenerator[Probe]:
        yield probe_of_replacement(view, cared=False)

    return (
        Drill(RESTART, "a process that ended was not started again", not_started),
        Drill(REPLACEMENT, "nobody looked after instances that err", not_looked_after),
    )


def probe_of_restart(view: HealingView, *, cared: bool = True) -> Probe:
    """Kill a sentinel; broken when it does not come back, or an instance has been away for long."""

    async def look() -> Finding:
        return judge_restart(await view.restart(cared), view.patients())

    return Probe(RESTART, look, good_for=timedelta(minutes=15))


def probe_of_replacement(view: HealingView, *, cared: bool = True) -> Probe:
    """Let a sentinel fall ill; broken when it is not replaced, or an instance has been ill for long."""

    async def look() -> Finding:
        return judge_replacement(await view.replacement(cared), view.patients())

    return Probe(REPLACEMENT, look, good_for=timedelta(minutes=15))


def judge_restart(seconds: float | None, patients: tuple[Patient, ...]) -> Finding:
    """The verdict on a process that was killed for it, and on the instances that have ended."""
    away = _long(patients, away=True)
    raw: dict[str, object] = {"seconds": seconds, "away": [one.name for one in away]}
    if seconds is None:
        told = f"A process that was killed for the probe did not run again within {PATIENCE_SECONDS:g} s."
        return Finding("broken", told, raw)
    if away:
        return Finding("broken", f"Not running again: {_told(away)}.", raw)
    return Finding(
        "proved",
        f"A process that was killed for the probe ran again after {seconds:.1f} s; no instance stays away.",
        raw,
    )


def judge_replacement(replaced: Replaced, patients: tuple[Patient, ...]) -> Finding:
    """The verdict on a pair of which one fell ill for it, and on the instances that are ill."""
    ill = _long(patients, away=False)
    raw: dict[str, object] = {**msgspec.to_builtins(replaced), "ill": [one.name for one in ill]}
    if replaced.relieved is None or replaced.replaced is None:
        told = "An instance made for the probe that erred was not"
        what = "relieved" if replaced.relieved is None else "replaced"
        return Finding("broken", f"{told} {what} within {PATIENCE_SECONDS:g} s.", raw)
    if ill:
        return Finding("broken", f"Ill and not replaced: {_told(ill)}.", raw)
    return Finding(
        "proved",
        f"An instance made for the probe that erred was out of balancing after {replaced.relieved:.1f} s and"
        f" replaced after {replaced.replaced:.1f} s by one that had proved itself first;"
        " no instance has been ill for long.",
        raw,
    )


def _long(patients: tuple[Patient, ...], *, away: bool) -> tuple[Patient, ...]:
    return tuple(one for one in patients if one.away is away and one.seconds >= AWAY_SECONDS)


def _told(patients: tuple[Patient, ...]) -> str:
    return "; ".join(f"{one.name} {one.why}" for one in patients[:3])
