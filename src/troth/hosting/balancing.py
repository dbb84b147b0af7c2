"""hosting.balancing: what a spike that was made on purpose showed, and the verdict on it.

A spike is rehearsed on the platform's own service: some clients on this machine ask for its page until one
more instance serves, and then so few that it goes again. Meanwhile no request may fail.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta

import msgspec

from troth.core.promise import Drill, Finding, Probe

STALE = timedelta(days=7)
"""An older rehearsal proves nothing of today."""

PROMISE = "hosting.balancing"

Seen = tuple[tuple[str, str, bool], ...]
"""Service, instance, and whether it answers."""


class Rehearsed(msgspec.Struct, frozen=True, kw_only=True):
    """What a rehearsal showed: instances before, at most and afterwards, the seconds from the first request
    until one more served and from the last one until they were as before, and requests sent and failed.
    `problem` is a sentence when it was not as it should be."""

    at: datetime
    service: str
    before: int
    top: int
    after: int
    rise_seconds: float
    fall_seconds: float
    sent: int
    failed: int
    problem: str = ""


class Acting(msgspec.Struct, frozen=True, kw_only=True):
    """How scaling stands: a sentence for each service that cannot follow its load; the last rehearsal."""

    hindered: tuple[str, ...] = ()
    rehearsed: Rehearsed | None = None


def judge_balancing(seen: Seen, acting: Acting, now: datetime) -> Finding:
    """The verdict on the instances that answer and on how scaling stands."""
    raw: dict[str, object] = {
        "instances": [list(row) for row in seen],
        "rehearsed": msgspec.to_builtins(acting.rehearsed),
    }
    services = sorted({service for service, _, _ in seen})
    if not services:
        return Finding("broken", "No service is behind the edge.", raw)
    counts = {name: sum(up for service, _, up in seen if service == name) for name in services}
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    if min(counts.values()) < 2:
        return Finding("broken", f"Fewer than two instances answer: {told}.", raw)
    if acting.hindered:
        return Finding("broken", f"{'; '.join(acting.hindered)}. Answering: {told}.", raw)
    last = acting.rehearsed
    if last is None or now - last.at > STALE:
        words = "No spike was rehearsed in the last week; see: troth drill hosting.balancing"
        return Finding("unknown", f"Instances answering behind the edge: {told}. {words}", raw)
    if last.problem:
        return Finding("broken", f"The spike of {last.at:%Y-%m-%d %H:%M} UTC: {last.problem}", raw)
    return Finding("proved", f"Instances answering behind the edge: {told}. {_told(last)}", raw)


def _told(last: Rehearsed) -> str:
    return (
        f"A spike of {last.at:%Y-%m-%d %H:%M} UTC raised {last.service} from {last.before} to {last.top}"
        f" within {last.rise_seconds:.1f} s, and the lull (shortened for it) brought it back to {last.after}"
        f" within {last.fall_seconds:.1f} s; {last.failed} of {last.sent:,} requests failed."
    )


def problem_of(rehearsed: Rehearsed) -> str:
    """What was not as it should be; empty when all was."""
    if rehearsed.top <= rehearsed.before:
        return f"the number of instances stayed at {rehearsed.before} while {rehearsed.sent:,} requests came."
    if rehearsed.failed:
        return f"{rehearsed.failed} of {rehearsed.sent:,} requests failed."
    if rehearsed.after > rehearsed.before:
        return f"{rehearsed.after} instances stayed after the lull, {rehearsed.before} there were before."
    return ""


def drill(
    look: Callable[[Rehearsed], Awaitable[Finding]],
    spike_in_vain: Callable[[], AbstractAsyncContextManager[Rehearsed]],
) -> Drill:
    """Scaling is halted, and a spike comes all the same."""

    @asynccontextmanager
    async def broken() -> AsyncGenerator[Probe]:
        async with spike_in_vain() as rehearsed:
            yield Probe(PROMISE, lambda: look(rehearsed))

    return Drill(PROMISE, "the number of instances was kept from following a spike", broken)
