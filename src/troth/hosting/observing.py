"""From what the edge and the instances tell to one look at a service: what it is worth to decide on."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

from troth.core.process import Endpoint
from troth.hosting.pulse import Pulse
from troth.hosting.scaling import Observation

INSTANCE_BYTES = 160 * 1024 * 1024
"""What room is made for when an instance starts: more than one takes, for it grows with its work."""

RESERVE_BYTES = 256 * 1024 * 1024
"""What stays free for the database and for the system."""

FRESH_SECONDS = 0.3
"""What an instance told within three turns of its event loop is of now."""

_CGROUP = Path("/sys/fs/cgroup")


class Counted(msgspec.Struct, frozen=True):
    """What was counted of one instance at one look; `pid` tells whether it still is the same process."""

    pid: int
    at: float
    served: int
    refused: int


Counts = dict[Endpoint, Counted]


def observe(
    told: Mapping[Endpoint, Pulse | None],
    in_flight: Mapping[str, int],
    before: Counts,
    *,
    now: float,
    instances: int,
    room: int,
    slow: float | None = None,
) -> tuple[Observation, Counts]:
    """One look. `told` has what each instance last said, `in_flight` what the edge counts at each place;
    `slow` is within which time 95 of 100 answers of the slowest instance came, by the edge's log.

    The edge's count is the truer one of what waits, for an instance that is late to its loop does not know of
    all yet; but it counts streams too, of which only the instance knows.
    """
    counts = {
        place: Counted(pulse.pid, pulse.at, pulse.served, pulse.refused)
        for place, pulse in told.items()
        if pulse is not None
    }
    seen = Observation(
        at=now,
        instances=instances,
        in_flight=sum(_waiting(in_flight.get(str(place)), pulse) for place, pulse in told.items()),
        rate=sum(_rate(count, before.get(place)) for place, count in counts.items()),
        slow=slow,
        refused=sum(_refused(count, before.get(place)) for place, count in counts.items()),
        room=room,
    )
    return seen, counts


def is_at_rest(told: Mapping[Endpoint, Pulse | None], before: Counts, now: float) -> bool:
    """Whether the edge need not be asked: every instance has just told that it works on nothing, comes to its
    work in time, and has answered nothing since the last look. One that is late may not know of all that
    waits for it, and of one that tells nothing only the edge knows."""
    return all(
        pulse is not None
        and now - pulse.at < FRESH_SECONDS
        and pulse.lag < FRESH_SECONDS
        and pulse.in_flight == 0
        and (last := before.get(place)) is not None
        and (last.pid, last.served, last.refused) == (pulse.pid, pulse.served, pulse.refused)
        for place, pulse in told.items()
    )


def _waiting(at_the_edge: int | None, pulse: Pulse | None) -> int:
    if pulse is None:
        return at_the_edge or 0
    if at_the_edge is None:
        return pulse.waiting
    return max(0, at_the_edge - pulse.standing)


def _rate(now: Counted, before: Counted | None) -> float:
    if before is None or before.pid != now.pid or now.at <= before.at:
        return 0.0
    return max(0, now.served - before.served) / (now.at - before.at)


def _refused(now: Counted, before: Counted | None) -> int:
    if before is None or before.pid != now.pid:
        return 0
    return max(0, now.refused - before.refused)


def room_for_instances() -> int:
    """How many more instances have a place in the memory of this machine and of the group we are in."""
    free = psutil.virtual_memory().available
    return max(0, (min((free, *free_in_groups())) - RESERVE_BYTES) // INSTANCE_BYTES)


def free_in_groups(root: Path = _CGROUP) -> Sequence[int]:
    """What the limit of our own cgroup (v2) leaves; nothing where there is none."""
    try:
        limit = (root / "memory.max").read_text().strip()
        used = int((root / "memory.current").read_text())
    except (OSError, ValueError):
        return ()
    return () if limit == "max" else (max(0, int(limit) - used),)
