"""Which instances of a service are ill, and what is done about it: pure, from what was observed.

Three questions are kept apart. Is it alive: does its event loop turn? Is it ready: does it answer what it is
asked? Is it well: do its answers err more than those of its peers and than its own before? Being slow because
there is much to do is none of the three: who is busy is relieved by others, and never ended for it.

To keep requests from one costs little and is taken back at the next look, so a doubt is enough for it; to
replace or end one takes more.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

Illness = Literal["", "stopped", "hung", "spinning", "gone", "silent", "erring", "leaking", "exhausted"]
Action = Literal["none", "end", "replace"]

HANGING = ("stopped", "hung", "spinning")
"""Whose event loop does not turn: it serves nobody, and what it was given breaks off when it is ended."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When an instance counts as ill. Seconds, shares of one, bytes.

    `stopped`: a signal holds it, and its event loop has not turned for so long. `hung`: it has not turned for
    so long although it could have, because it waits for something or computes without a pause. Both are
    shorter than the five seconds for which the edge tries again, so that no request is lost that may be
    repeated.
    `late`: it waits for something and has not turned for so long; `quiet`: nor for so long, whatever it does
    or lacks. Both are a doubt, and no illness.
    `silent`: so long, and for `misses` questions in a row, without answering the keeper as it should while
    its loop turns. `gone`: so long without running again after it ended. `erring`: the share of its answers
    that are errors, of at least `asked`, and at least `worse` times that of its peers and of its own past.
    `grown`: it holds so many times what it held when it began to serve, and at least `grown_bytes` more.
    `memory`, `descriptors`: share of its limit. `lively`: a loop that turned within so long is alive. `ends`
    and `replacements` within `period` are the most that are made; after that something is wrong that no
    replacement mends.
    """

    stopped: float = 0.5
    hung: float = 2.0
    silent: float = 0.9
    misses: int = 2
    gone: float = 5.0
    late: float = 0.5
    quiet: float = 1.0
    erring: float = 0.05
    asked: int = 20
    worse: float = 3.0
    grown: float = 3.0
    grown_bytes: int = 256 << 20
    memory: float = 0.85
    descriptors: float = 0.85
    lively: float = 0.5
    ends: int = 6
    replacements: int = 4
    period: float = 300.0


class Errors(msgspec.Struct, frozen=True):
    """Answers and how many of them were errors of the instance: 500, 502, 504, an answer cut off half-way, or
    an exception that nobody caught. 503 is none: it says that there is too much to do."""

    asked: int = 0
    failed: int = 0

    @property
    def share(self) -> float:
        return self.failed / self.asked if self.asked else 0.0

    def __add__(self, other: "Errors") -> "Errors":
        return Errors(self.asked + other.asked, self.failed + other.failed)


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One instance at one moment.

    `still` is for how long its event loop has not turned though it could have: what its thread waited for a
    processor is not in it, but in `quiet`. `worked` is what its thread used of a processor in that time.
    `stopped`: a signal holds it. `doubted`: it did not answer the last question as it should; `missed`: so
    many in a row. `unanswered` and `ended` are for how long it has not answered, and not run. `balanced`: the
    edge may send it requests; `relieved`: it may not, for no more than a doubt. `recent` are its errors of
    the last seconds, `before` those of the minutes before.
    """

    name: str
    generation: int
    release: str
    balanced: bool
    still: float = 0.0
    quiet: float = 0.0
    worked: float = 0.0
    stopped: bool = False
    doubted: bool = False
    relieved: bool = False
    unanswered: float = 0.0
    missed: int = 0
    ended: float | None = None
    recent: Errors = Errors()
    before: Errors = Errors()
    memory: int = 0
    memory_first: int = 0
    memory_most: int = 0
    descriptors: int = 0
    descriptors_most: int = 0
    busy: bool = False


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is the matter with an instance, what to do, whether to keep requests from it at once, and why."""

    name: str
    generation: int
    illness: Illness
    action: Action = "none"
    relieve: bool = False
    why: str = ""


class Patient(msgspec.Struct, frozen=True, kw_only=True):
    """An instance that is not well: `seconds` since when, and what is the matter, without its subject."""

    name: str
    why: str
    away: bool
    seconds: float


class Judgement(msgspec.Struct, frozen=True):
    """The verdicts on the ill, and a sentence when replacing does not help: all are ill alike, which is the
    release's fault or that of something they all need, or too much was replaced already."""

    verdicts: tuple[Verdict, ...] = ()
    alarm: str = ""


class Past(msgspec.Struct, frozen=True):
    """How many were ended and replaced within the policy's period."""

    ends: int = 0
    replacements: int = 0


NOTHING = Past()


def judge(observations: Sequence[Observation], policy: Policy, past: Past = NOTHING) -> Judgement:
    """All instances of one service at one moment.

    At most one is replaced at a time, and only while another one serves that is well. What hangs is ended
    however many there are, for it serves nobody.
    """
    found = {one: diagnose(one, observations, policy) for one in observations}
    hanging = [(one, word) for one, (illness, word) in found.items() if illness in HANGING]
    if hanging and past.ends + len(hanging) > policy.ends:
        return Judgement(alarm=f"{past.ends} instances hung within {policy.period:g} s; {hanging[0][1]}")
    ends = tuple(_verdict(one, found[one], "end") for one, _ in hanging)
    ill = [one for one, (illness, _) in found.items() if illness and illness not in HANGING]
    if not ill:
        return Judgement(ends)
    well = [one for one, (illness, _) in found.items() if not illness and (one.balanced or one.relieved)]
    first = min(ill, key=lambda one: (found[one][0] != "gone", -one.recent.share, one.name))
    why = found[first][1]
    if not well:
        return Judgement(ends, f"all instances of {first.release} are ill alike; {first.name} {why}")
    if past.replacements >= policy.replacements:
        many = f"{past.replacements} were replaced within {policy.period:g} s"
        return Judgement(ends, f"{many} and it does not help; {first.name} {why}")
    spared = any(one.balanced and not one.busy for one in well)
    return Judgement((*ends, _verdict(first, found[first], "replace", relieve=spared)))


def relieved(observations: Sequence[Observation], policy: Policy) -> frozenset[tuple[str, int]]:
    """From whom requests are to be kept now, for no more than a doubt: name and generation.

    Never from more than there are others to take over, whose loops turn and who answer. Who is busy is not
    doubted for coming late; and who merely answers badly is left alone while all others have enough to do.
    """
    fit = [one for one in observations if _is_fit(one, policy)]
    has_time = any(not one.busy for one in fit)
    doubtful = [
        one for one in observations if _hangs_perhaps(one, policy) or (has_time and _declines(one, policy))
    ]
    worst = sorted(doubtful, key=lambda one: (-one.quiet, one.name))[: len(fit)]
    return frozenset((one.name, one.generation) for one in worst)


def _hangs_perhaps(one: Observation, policy: Policy) -> bool:
    waits = one.still >= policy.late and one.worked < one.still / 2
    return one.ended is None and not one.busy and (waits or one.quiet >= policy.quiet)


def _declines(one: Observation, policy: Policy) -> bool:
    return one.ended is None and one.doubted and not one.busy and one.still < policy.lively


def _is_fit(one: Observation, policy: Policy) -> bool:
    runs = one.balanced and one.ended is None and not one.doubted
    return runs and one.still < policy.lively and one.quiet < policy.lively


def diagnose(one: Observation, all_of_them: Sequence[Observation], policy: Policy) -> tuple[Illness, str]:
    """What is the matter with one, in a word and in a sentence without its subject; empty when it is well."""
    if one.ended is not None:
        if one.ended < policy.gone:
            return "", ""
        return "gone", f"ended and has not come back for {one.ended:.1f} s"
    if one.stopped and one.still >= policy.stopped:
        return "stopped", f"is held by a signal: its event loop has not turned for {one.still:.1f} s"
    if one.still >= policy.hung:
        if one.worked >= one.still / 2:
            return "spinning", f"computes without letting anybody have a turn for {one.still:.1f} s"
        return "hung", f"hangs: its event loop has not turned for {one.still:.1f} s"
    missed = one.unanswered >= policy.silent and one.missed >= policy.misses
    if missed and one.still < policy.lively and not one.busy:
        return "silent", f"does not answer although its event loop turns, for {one.unanswered:.1f} s"
    if _errs_much(one, policy) and _errs(
        one, peers := sum((other.recent for other in all_of_them if other is not one), Errors()), policy
    ):
        return (
            "erring",
            f"erred in {one.recent.failed} of {one.recent.asked} answers, its peers in {_of(peers)}",
        )
    if one.memory >= one.memory_first + policy.grown_bytes and one.memory >= one.memory_first * policy.grown:
        return "leaking", f"holds {one.memory >> 20} MiB, {one.memory_first >> 20} when it began"
    if one.memory_most and one.memory >= one.memory_most * policy.memory:
        return "exhausted", f"holds {one.memory >> 20} of the {one.memory_most >> 20} MiB that it may"
    if one.descriptors_most and one.descriptors >= one.descriptors_most * policy.descriptors:
        return "exhausted", f"holds {one.descriptors} of {one.descriptors_most} descriptors"
    return "", ""


def _errs_much(one: Observation, policy: Policy) -> bool:
    return one.recent.asked >= policy.asked and one.recent.share >= policy.erring


def _errs(one: Observation, peers: Errors, policy: Policy) -> bool:
    """Worse than it used to be; or as bad as ever, but worse than its peers.

    Peers that err alike are no excuse: they make it the release's fault, which `judge` finds out.
    """
    usual = one.before.asked >= policy.asked and one.recent.share < policy.worse * one.before.share
    return not usual or (peers.asked >= policy.asked and one.recent.share >= policy.worse * peers.share)


def _verdict(
    one: Observation, found: tuple[Illness, str], action: Action, *, relieve: bool = False
) -> Verdict:
    illness, why = found
    return Verdict(
        name=one.name, generation=one.generation, illness=illness, action=action, relieve=relieve, why=why
    )


def _of(errors: Errors) -> str:
    return f"{errors.failed} of {errors.asked}"
