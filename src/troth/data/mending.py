"""When a standby cannot come back by itself, and when a leader's disk is too full to lead: pure.

Patroni starts a standby again, rewinds it, and copies the database when a rewind fails. What it did not
foresee lasts for ever: a copy that was cut short, a damaged control file, catalogues that nobody can read.
Such a member is told from one that is merely slow by what it does: nothing of it has worked for long, and it
has not come further.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile

import msgspec

STUCK_SECONDS = 30.0
"""So long a standby may neither follow nor work nor come further before its copy counts as useless."""

STARTING_SECONDS = 300.0
"""The same for one whose PostgreSQL starts: until its data agree it cannot tell how far it is."""

LONGEST_GAP = 15.0
"""Seconds between two looks beyond which they say nothing together: the keeper itself was held up then."""

FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0
"""Seconds between two new copies of one member; the pause doubles as long as it does not follow."""

LOW = 64 * 2**20
"""Free bytes below which a disk is as good as full: a few segments of the log, written in seconds."""

NOTHING = 16 * 2**20
"""Free bytes below which PostgreSQL cannot begin the next segment of its log: it may stop at any moment, and
could not stop in order, for which it has to write."""


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a standby while another member leads. `at` is monotonic, in seconds; `state` is Patroni's
    word; `working` says whether a program below its Patroni, a copy or a rewind, has run for a while;
    `replayed` how far it is in the log, None when it does not tell."""

    at: float
    state: str
    working: bool = False
    replayed: str | None = None

    @property
    def follows(self) -> bool:
        return self.state == "streaming"


def is_stuck(sights: Sequence[Sight]) -> bool:
    """Whether the looks that led up to now, the newest last, show one that will not come back by itself."""
    idle = _idle(sights)
    at_rest: list[Sight] = list(takewhile(lambda one: one.state != "starting", reversed(idle)))[::-1]
    return _span(idle) >= STARTING_SECONDS or _span(at_rest) >= STUCK_SECONDS


def _idle(sights: Sequence[Sight]) -> list[Sight]:
    """The unbroken time up to now in which nothing came of it."""
    idle: list[Sight] = []
    for one in reversed(sights):
        if one.follows or one.working:
            break
        if idle and (idle[-1].at - one.at > LONGEST_GAP or idle[-1].replayed != one.replayed):
            break
        idle.append(one)
    return idle[::-1]


def _span(sights: Sequence[Sight]) -> float:
    return sights[-1].at - sights[0].at if sights else 0.0


def pause_after(copies: int) -> float:
    """Seconds until the next new copy of a member that still does not follow after so many."""
    return 0.0 if copies == 0 else min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(copies - 1, 30))


def has_room(own: int, free: int, needed: int) -> bool:
    """Whether a copy of `needed` bytes fits once the `own` bytes of the useless one are deleted."""
    return own + free >= needed + LOW


def roomier(leader: str, free: Mapping[str, int], confirming: Sequence[str]) -> str | None:
    """The standby that should lead since the leader's disk is as good as full; None when all is well or none
    is better off. It must have twice of what is too little, or the lead would go to and fro."""
    if free.get(leader, LOW) >= LOW:
        return None
    better = [name for name in confirming if free.get(name, 0) >= 2 * LOW]
    return max(better, key=lambda name: free[name], default=None)


def describe_room(free: int, folder: str) -> str:
    """What a person has to know of a disk that is as good as full."""
    return f"has {free / 1e6:.0f} MB left on the disk of {folder}; make room there"
