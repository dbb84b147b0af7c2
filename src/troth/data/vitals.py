"""Whether a database member lives, is busy or hangs: judged from what was seen of it; pure.

A member that is merely busy answers late, and meanwhile its processes run: it is left alone. It hangs when a
part of it leaves a question unanswered *and* its processes do not run: because somebody stopped them
(SIGSTOP, a debugger), or because for seconds none of them ran or wanted to. One that could run and is given
no processor does not hang: a machine that has none left has none for the next leader either.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

Answer = Literal["answers", "refuses", "silent"]
"""`refuses` is an answer too: there is no server, or it is one that starts, stops or is full."""

Part = Literal["PostgreSQL", "Patroni"]

STOPPED_LOOKS = 2
"""So many silent looks in a row at a process that was stopped are a hang."""

STILL_SECONDS = 5.0
"""So long a part must be silent without its processes having run, when nobody has stopped them."""

LONGEST_GAP = 3.0
"""Seconds between two looks beyond which they say nothing together: the keeper itself was held up then."""


class Motion(msgspec.Struct, frozen=True):
    """The processes of one part at one moment. `stopped` says whether any of them is held (state T of
    proc(5)), `waiting` whether any could run (state R); `counts` changes as soon as one of them runs, comes
    or goes."""

    stopped: bool
    counts: frozenset[tuple[int, int]]
    waiting: bool = False


class Seen(msgspec.Struct, frozen=True):
    """What one part did with one question. `motion` is looked at when it was silent, else None."""

    answer: Answer
    motion: Motion | None = None


class Look(msgspec.Struct, frozen=True):
    """One look at one member: `at` is monotonic, in seconds."""

    at: float
    postgres: Seen
    patroni: Seen


def is_suspect(look: Look) -> bool:
    """Whether the next look should follow at once."""
    return "silent" in (look.postgres.answer, look.patroni.answer)


def find_hang(looks: Sequence[Look]) -> Part | None:
    """The part that hangs, as the looks show that led up to now; the newest is the last."""
    if _hangs([(look.at, look.postgres) for look in looks]):
        return "PostgreSQL"
    if _hangs([(look.at, look.patroni) for look in looks]):
        return "Patroni"
    return None


def _hangs(seen: Sequence[tuple[float, Seen]]) -> bool:
    silent = _silence(seen)
    held = silent[-STOPPED_LOOKS:]
    if len(held) == STOPPED_LOOKS and all(motion.stopped for _, motion in held):
        return True
    if not silent or silent[-1][0] - silent[0][0] < STILL_SECONDS:
        return False
    return len({motion.counts for _, motion in silent}) == 1 and not any(one.waiting for _, one in silent)


def _silence(seen: Sequence[tuple[float, Seen]]) -> list[tuple[float, Motion]]:
    """The unbroken silence up to now: when it was noticed, and how the processes stood then."""
    silence: list[tuple[float, Motion]] = []
    for at, one in reversed(seen):
        if one.answer != "silent" or one.motion is None or not one.motion.counts:
            break
        if silence and silence[-1][0] - at > LONGEST_GAP:
            break
        silence.append((at, one.motion))
    return silence[::-1]
