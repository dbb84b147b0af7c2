"""The bound: how long a token is still accepted after its session ended, measured again and again.

Each measurement ends a session and asks every instance until it refuses, both where the database is asked at
every use and where the feed of endings may vouch (living.py). The slowest answer counts. An instance whose
feed was silent before the session ended has to refuse the first question after it: it fails closed, or the
promise is broken.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec

from troth.access.endings import SILENT_SECONDS
from troth.core.promise import Finding

KEPT = 120
LIMIT_SECONDS = 5.0
"""An instance that accepts for longer has never refused."""

LONGEST_MS = SILENT_SECONDS * 1000
"""As long as an instance may vouch without a beat; nothing is accepted after that."""

_PAUSE_SECONDS = 0.001
_OK, _REFUSED = 200, 401


class Hearing(msgspec.Struct, frozen=True):
    """The feed of one instance: lively, or silent for so many seconds; None when it never heard a beat."""

    instance: str
    lively: bool
    silent_seconds: float | None = None


class Trial(msgspec.Struct, frozen=True):
    """One instance after the end of a session: milliseconds until it `refused`, None for never, and after
    which it was asked for the last time what it still `accepted`, None when it accepted nothing."""

    instance: str
    refused: float | None
    accepted: float | None = None


class Measurement(msgspec.Struct, frozen=True):
    """All trials of one session: the slowest refusal (None: never), the last acceptance, the instances whose
    feed was silent, and those of them that accepted all the same."""

    at: datetime
    refused: float | None
    accepted: float
    silent: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """What the last measurements come to. Milliseconds of those that were refused; `never` counts the others,
    `accepted` is the longest that any instance went on accepting, `opened` names instances that did with a
    silent feed."""

    count: int
    seconds: float
    p50: float | None
    p99: float | None
    longest: float | None
    last: float | None
    accepted: float
    never: int
    silent: int
    opened: tuple[str, ...]


class Watched(msgspec.Struct, frozen=True):
    """The bound, None before the first measurement, and how each instance hears now."""

    bound: Bound | None
    feeds: tuple[Hearing, ...]


class Ring:
    """The last measurements, so many and no more."""

    def __init__(self, size: int = KEPT) -> None:
        self._kept: deque[Measurement] = deque(maxlen=size)

    def add(self, measurement: Measurement) -> None:
        self._kept.append(measurement)

    def bound(self) -> Bound | None:
        return sum_up(tuple(self._kept))


def percentile(values: tuple[float, ...], part: float) -> float | None:
    """The nearest rank: the least value that at least `part` of all do not exceed. None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else None


def deaf(before: tuple[Hearing, ...], after: tuple[Hearing, ...]) -> frozenset[str]:
    """The instances whose feed was silent all the time between: no beat of it was sent and came back."""
    later = {one.instance: one for one in after}
    return frozenset(
        one.instance
        for one in before
        if not one.lively and one.instance in later and _still_silent(one, later[one.instance])
    )


def _still_silent(before: Hearing, after: Hearing) -> bool:
    if after.lively or after.silent_seconds is None or before.silent_seconds is None:
        return not after.lively and after.silent_seconds is None
    return after.silent_seconds >= before.silent_seconds


def slowest(at: datetime, trials: tuple[Trial, ...], silent: frozenset[str]) -> Measurement | None:
    """What the trials of one session come to; None when no instance could be asked."""
    if not trials:
        return None
    refusals = [trial.refused for trial in trials if trial.refused is not None]
    opened = {trial.instance for trial in trials if trial.accepted is not None} & silent
    return Measurement(
        at,
        max(refusals) if len(refusals) == len(trials) else None,
        max(trial.accepted or 0.0 for trial in trials),
        tuple(sorted(silent)),
        tuple(sorted(opened)),
    )


def sum_up(measured: tuple[Measurement, ...]) -> Bound | None:
    """The bound of these measurements, the oldest first."""
    if not measured:
        return None
    refused = tuple(one.refused for one in measured if one.refused is not None)
    return Bound(
        count=len(measured),
        seconds=(measured[-1].at - measured[0].at).total_seconds(),
        p50=percentile(refused, 0.5),
        p99=percentile(refused, 0.99),
        longest=percentile(refused, 1.0),
        last=measured[-1].refused,
        accepted=max(one.accepted for one in measured),
        never=len(measured) - len(refused),
        silent=sum(bool(one.silent) for one in measured),
        opened=tuple(sorted({name for one in measured for name in one.opened})),
    )


async def until_refused(
    instance: str, ask: Callable[[], Awaitable[int]], ended: float, *, seconds: float = LIMIT_SECONDS
) -> Trial | None:
    """Ask until the answer is 401. `ask` returns the status, 0 for no answer; `ended` is the monotonic time
    of the end. None when the instance went away: it neither accepts nor refuses."""
    accepted, status, asked = None, 0, time.monotonic()
    while asked - ended < seconds:
        status = await ask()
        if status == _REFUSED:
            return Trial(instance, (time.monotonic() - ended) * 1000, accepted)
        if status == _OK:
            accepted = (asked - ended) * 1000
        await asyncio.sleep(_PAUSE_SECONDS)
        asked = time.monotonic()
    return Trial(instance, None, accepted) if status == _OK else None


def judge_bound(own: Finding, watched: Watched) -> Finding:
    """The verdict on the bound, beside what the probe saw of its own sign-out, which it never improves."""
    raw = {**own.raw, "bound": msgspec.to_builtins(watched)}
    fault = _fault(watched.bound)
    if own.verdict == "broken" or (own.verdict != "proved" and not fault):
        return msgspec.structs.replace(own, raw=raw)
    if fault:
        return Finding("broken", fault, raw)
    words = f"{own.evidence} {_tell(watched.bound)}{_tell_silence(watched.feeds)}"
    return Finding("proved", words, raw)


def _fault(bound: Bound | None) -> str:
    if bound is None:
        return ""
    if bound.never:
        return f"After {bound.never} of the last {bound.count} sign-outs an instance never refused the token."
    if bound.accepted > LONGEST_MS:
        return f"An instance accepted a token for {bound.accepted:.0f} ms after its session had ended."
    if bound.opened:
        return f"Hears of no endings and still accepted an ended session: {', '.join(bound.opened)}."
    return ""


def _tell(bound: Bound | None) -> str:
    if bound is None:
        return "Since the start the bound was not measured yet."
    silence = f"; in {bound.silent} of them a feed was silent, and refused at once" if bound.silent else ""
    return (
        f"Over the last {bound.count} measurements in {_span(bound.seconds)}: p50 {bound.p50:.0f}, "
        f"p99 {bound.p99:.0f}, at most {bound.longest:.0f} ms{silence}."
    )


def _tell_silence(feeds: tuple[Hearing, ...]) -> str:
    silent = [f"{one.instance} ({_age(one.silent_seconds)})" for one in feeds if not one.lively]
    if not silent:
        return ""
    return f" Hears of no endings and asks the database at every use: {', '.join(silent)}."


def _age(seconds: float | None) -> str:
    return "since its start" if seconds is None else f"for {seconds:.0f} s"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
