"""How many instances a service needs: decided from what the edge sees, without touching anything."""

import math

import msgspec

SAMPLES = 2
"""So many looks in a row must show a need before it is followed: one look alone may be a blip."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Between `least` and `most` instances; all times in seconds.

    An instance is meant to have `target` requests under way, and to answer 95 of 100 within `slow`. Growth
    follows at once, but not again for `up_rest`: what was started must be given the time to help, and many
    that start side by side slow each other down. An instance is given up when the peak of the last `calm`
    would have left the others with `spare` of what they can carry, and nothing was changed for `down_rest`.
    What one carries is learnt when there are too few, and believed for `learnt`.
    """

    least: int
    most: int
    target: float = 16.0
    slow: float = 1.0
    up_rest: float = 4.0
    calm: float = 60.0
    down_rest: float = 30.0
    spare: float = 0.7
    learnt: float = 900.0


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One look. `at` is in seconds of a clock that only goes forward, `instances` serve or are about to.

    `in_flight` are requests that wait for their answer, at all instances together; streams that were opened
    long ago are none. `rate` is how many were answered in a second. `slow` is the 95th percentile of the last
    answers' times in seconds, None when there were too few. `refused` counts requests shed since the look
    before. `room` is how many more instances the memory of this machine has a place for.
    """

    at: float
    instances: int
    in_flight: int
    rate: float = 0.0
    slow: float | None = None
    refused: int = 0
    room: int = 1_000


class Look(msgspec.Struct, frozen=True):
    """What is remembered of an observation."""

    at: float
    in_flight: int
    rate: float


class Past(msgspec.Struct, frozen=True):
    """What a decision remembers of those before: the looks that cover the last `calm` seconds, when the
    number last grew and last changed, and how many requests a second one instance carried when it was enough
    no more."""

    looks: tuple[Look, ...] = ()
    grown: float = -math.inf
    changed: float = -math.inf
    carried: float = math.inf
    learnt: float = -math.inf


class Decision(msgspec.Struct, frozen=True):
    """How many there should be, and why; `reason` is empty when nothing changes."""

    wanted: int
    reason: str = ""


def decide(seen: Observation, policy: Policy, past: Past) -> tuple[Decision, Past]:
    """What to do after this look, and what to remember of it."""
    looks = _covering(seen.at - policy.calm, (*past.looks, Look(seen.at, seen.in_flight, seen.rate)))
    past = msgspec.structs.replace(past, looks=looks)
    decision = _decide(seen, policy, past)
    if decision.wanted > seen.instances:
        past = msgspec.structs.replace(_learn(seen, policy, past), grown=seen.at)
    if decision.wanted != seen.instances:
        past = msgspec.structs.replace(past, changed=seen.at)
    return decision, past


def _covering(begins: float, looks: tuple[Look, ...]) -> tuple[Look, ...]:
    """Those since an instant, and the last one before it: without that, how far they reach back would depend
    on how often one looks."""
    older = sum(look.at <= begins for look in looks)
    return looks[max(0, older - 1) :]


def _learn(seen: Observation, policy: Policy, past: Past) -> Past:
    """While an instance is still coming, the others carry less than it seems: nothing is learnt then."""
    if not seen.rate or seen.at - past.grown < policy.up_rest:
        return past
    return msgspec.structs.replace(past, carried=seen.rate / seen.instances, learnt=seen.at)


def _decide(seen: Observation, policy: Policy, past: Past) -> Decision:
    if seen.instances < policy.least:
        return Decision(policy.least, f"at least {policy.least} are wanted")
    if seen.instances > policy.most:
        return Decision(policy.most, f"at most {policy.most} are wanted")
    needed, reason = _need(seen, policy, past)
    if needed > seen.instances:
        return _grow(seen, policy, needed, reason)
    if _may_shrink(seen, policy, past):
        return Decision(seen.instances - 1, f"{policy.calm:g} s of less than the others can carry")
    return Decision(seen.instances)


def _need(seen: Observation, policy: Policy, past: Past) -> tuple[int, str]:
    """How many it takes now, and the sign of it."""
    latest = [look.in_flight for look in past.looks[-SAMPLES:]]
    steady = min(latest) if len(latest) == SAMPLES else 0
    needed = math.ceil(steady / policy.target)
    if seen.at - past.grown < policy.up_rest:
        return seen.instances, ""
    if needed > seen.instances:
        return needed, f"{steady} requests under way"
    if seen.refused:
        return seen.instances + 1, f"{seen.refused} requests were refused"
    busy = steady >= seen.instances * policy.target / 2
    if busy and seen.slow is not None and seen.slow > policy.slow:
        # Slow while idle is no load, but a slow database or program: more instances would not help.
        return seen.instances + 1, f"95 of 100 answers took up to {seen.slow:.1f} s"
    return seen.instances, ""


def _grow(seen: Observation, policy: Policy, needed: int, reason: str) -> Decision:
    """At most twice as many at a time: a look that is wrong must not take the whole machine."""
    wanted = min(needed, policy.most, 2 * seen.instances, seen.instances + max(0, seen.room))
    if wanted > seen.instances:
        return Decision(wanted, reason)
    if seen.instances < policy.most:
        return Decision(seen.instances, f"{reason}, but the memory has no place for another")
    return Decision(seen.instances)


def _may_shrink(seen: Observation, policy: Policy, past: Past) -> bool:
    if seen.instances <= policy.least or seen.at - past.changed < policy.down_rest:
        return False
    if seen.at - past.looks[0].at < policy.calm:
        return False  # not watched for long enough to say
    others = (seen.instances - 1) * policy.spare
    if max(look.in_flight for look in past.looks) > others * policy.target:
        return False
    # Few requests under way are no sign of little load: an instance that keeps up has few at any rate.
    believed = seen.at - past.learnt <= policy.learnt
    return not believed or max(look.rate for look in past.looks) <= others * past.carried
