"""Messages on their way to targets: in order for each target, again with back-off, bounded. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from troth.hosting.watch.book import Message

MOST = 200
"""Messages that wait for one target. When there are more, the oldest is crowded out, and counted."""

GIVE_UP = timedelta(hours=24)
"""After so long a message helps nobody any more."""

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message with an id that stays the same however often it is tried: a target can tell repetitions."""

    id: str
    message: Message
    attempts: int = 0
    next_at: datetime
    problem: str = ""


class Queue(msgspec.Struct, frozen=True):
    """What waits for each target, the oldest first, and how many messages each took and lost so far."""

    waiting: dict[str, tuple[Delivery, ...]] = {}
    delivered: dict[str, int] = {}
    lost: dict[str, int] = {}

    def size(self) -> int:
        """How many messages wait, of all targets."""
        return sum(map(len, self.waiting.values()))


def put(queue: Queue, deliveries: Iterable[Delivery]) -> Queue:
    """More messages at the end."""
    waiting, lost = dict(queue.waiting), dict(queue.lost)
    for one in deliveries:
        name = one.message.target
        line = (*waiting.get(name, ()), one)
        lost[name] = lost.get(name, 0) + max(len(line) - MOST, 0)
        waiting[name] = line[-MOST:]
    return msgspec.structs.replace(queue, waiting=waiting, lost=lost)


def due(queue: Queue, now: datetime) -> tuple[Delivery, ...]:
    """The first message of each target, if its time has come: none overtakes another."""
    heads = (line[0] for line in queue.waiting.values() if line)
    return tuple(one for one in heads if one.next_at <= now)


def after_success(queue: Queue, delivery: Delivery) -> Queue:
    """The target took it."""
    name = delivery.message.target
    delivered = {**queue.delivered, name: queue.delivered.get(name, 0) + 1}
    return msgspec.structs.replace(_without(queue, delivery), delivered=delivered)


def after_failure(queue: Queue, delivery: Delivery, problem: str, now: datetime, jitter: float) -> Queue:
    """It is tried again later, or given up after `GIVE_UP`. `jitter` lies between 0 and 1."""
    name = delivery.message.target
    if now - delivery.message.at >= GIVE_UP:
        lost = {**queue.lost, name: queue.lost.get(name, 0) + 1}
        return msgspec.structs.replace(_without(queue, delivery), lost=lost)
    again = msgspec.structs.replace(
        delivery,
        attempts=delivery.attempts + 1,
        next_at=now + timedelta(seconds=pause(delivery.attempts, jitter)),
        problem=problem,
    )
    line = tuple(again if one.id == delivery.id else one for one in queue.waiting.get(name, ()))
    return msgspec.structs.replace(queue, waiting={**queue.waiting, name: line})


def hasten(queue: Queue, now: datetime) -> Queue:
    """Every target is tried now: somebody wants to know how it stands."""
    waiting = {
        name: tuple(msgspec.structs.replace(one, next_at=min(one.next_at, now), problem="") for one in line)
        for name, line in queue.waiting.items()
    }
    return msgspec.structs.replace(queue, waiting=waiting)


def for_targets(queue: Queue, names: Iterable[str]) -> Queue:
    """Without what waits for targets that are not configured any more."""
    known = set(names)
    return Queue(
        {name: line for name, line in queue.waiting.items() if name in known},
        {name: count for name, count in queue.delivered.items() if name in known},
        {name: count for name, count in queue.lost.items() if name in known},
    )


def pause(attempts: int, jitter: float) -> float:
    """Seconds before the next try: 2, 4, 8 … 300, each between half of it and the whole."""
    whole = min(FIRST_PAUSE * 2 ** min(attempts, 16), LONGEST_PAUSE)
    return whole * (0.5 + jitter / 2)


def _without(queue: Queue, delivery: Delivery) -> Queue:
    name = delivery.message.target
    line = tuple(one for one in queue.waiting.get(name, ()) if one.id != delivery.id)
    return msgspec.structs.replace(queue, waiting={**queue.waiting, name: line})
