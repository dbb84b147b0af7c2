"""Alerts as duties of the keeper: judged each second, kept in a file, told until each target has them."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from uuid_utils.compat import uuid7

from troth.core.clock import Clock, to_wire
from troth.core.config import Settings
from troth.core.errors import PlatformError, UsageError
from troth.core.secret import write_secret
from troth.core.settings import AlertTargetSettings
from troth.hosting.plan import Action, Duty
from troth.hosting.watch import queue as queues
from troth.hosting.watch.book import (
    LONGEST_SILENCE,
    Alert,
    Book,
    Message,
    Silence,
    Target,
    step,
    with_silence,
    without_silence,
)
from troth.hosting.watch.metrics import Sample
from troth.hosting.watch.promise import Told
from troth.hosting.watch.queue import Delivery, Queue
from troth.hosting.watch.rules import judge
from troth.hosting.watch.telling import test_alert
from troth.hosting.watch.watching import Watch
from troth.wiring.alert_targets import NotDelivered, Send

EVERY_SECONDS = 1.0
DELIVERY_LIMIT_SECONDS = 60.0
"""For one round: one message to each target, side by side."""

TEST_SECONDS = 25.0
"""How long `troth alerts test` waits for the targets to take it."""

_PATTERN_LIMIT, _REASON_LIMIT = 200, 200
_GAP = 0.1

_log = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True):
    """What outlives the keeper: `tested` says when each target last took a test."""

    book: Book = Book()
    queue: Queue = Queue()
    tested: dict[str, datetime] = {}


class Alerting:
    """Judges what the watch saw, and tells the targets of troth.toml."""

    def __init__(
        self, settings: Settings, file: Path, watch: Watch, senders: Mapping[str, Send], clock: Clock
    ) -> None:
        self._settings, self._file, self._watch = settings.alerts, file, watch
        self._senders, self._clock = senders, clock
        self._targets = tuple(_target(name, one) for name, one in settings.alerts.targets.items())
        self._kept = _read(file)
        names = [one.name for one in self._targets]
        tested = {name: at for name, at in self._kept.tested.items() if name in names}
        self._kept = Kept(self._kept.book, queues.for_targets(self._kept.queue, names), tested)
        self._unwritten = False
        self._jitter = random.Random().random  # noqa: S311 - spreads tries, hides nothing
        self._delivering = asyncio.Lock()

    def follow(self, settings: Settings, senders: Mapping[str, Send]) -> None:
        """Settings that were read again. What waits for a target that is gone is dropped."""
        self._settings, self._senders = settings.alerts, senders
        self._targets = tuple(_target(name, one) for name, one in settings.alerts.targets.items())
        names = [one.name for one in self._targets]
        tested = {name: at for name, at in self._kept.tested.items() if name in names}
        self._change(Kept(self._kept.book, queues.for_targets(self._kept.queue, names), tested))

    # --- for the plan ---------------------------------------------------------------------------------------

    def duties(self) -> tuple[Duty, ...]:
        """Judging never waits for a target."""
        delivery = Duty(
            name="alerts told", every=EVERY_SECONDS, work=self.deliver, limit=DELIVERY_LIMIT_SECONDS
        )
        return (Duty(name="alerts", every=EVERY_SECONDS, work=self.look), delivery)

    def actions(self) -> dict[str, Action]:
        """For the command line."""
        return {
            "alerts.list": self.list_alerts,
            "alerts.silence": self.silence,
            "alerts.unsilence": self.unsilence,
            "alerts.test": self.test,
        }

    def samples(self) -> tuple[Sample, ...]:
        """What the alerts themselves are measured by."""
        standing = self._kept.book.standing()
        queue = self._kept.queue
        counted = [
            Sample("troth_alerts_open", sum(one.severity == severity for one in standing), (severity,))
            for severity in ("warning", "critical")
        ]
        for target in self._targets:
            name = target.name
            counted += (
                Sample("troth_alerts_waiting", len(queue.waiting.get(name, ())), (name,)),
                Sample("troth_alerts_delivered", queue.delivered.get(name, 0), (name,)),
                Sample("troth_alerts_lost", queue.lost.get(name, 0), (name,)),
            )
        return tuple(counted)

    async def report(self) -> dict[str, object]:
        """For `troth status`."""
        now = self._clock.now()
        book = self._kept.book
        return {
            "standing": [
                f"{one.words}{' (silenced)' if book.silence_of(one.key, now) else ''}"
                for one in book.standing()
            ],
            "told": [one.name for one in self._targets] or "nobody: write [alerts] into troth.toml",
            "waiting": self._kept.queue.size(),
        }

    def told(self) -> tuple[Told, ...]:
        """How it stands with each target, for the probe."""
        return tuple(self._told(one.name) for one in self._targets)

    @property
    def test_within(self) -> timedelta:
        """How often a test has to arrive."""
        return timedelta(hours=self._settings.test_hours)

    # --- the work -------------------------------------------------------------------------------------------

    async def look(self) -> str:
        """Judge what is known now; a sentence when an alert begins or ends."""
        now = self._clock.now()
        book, messages = step(
            self._kept.book, judge(self._watch.samples()), self._watch.blind(), self._targets, now
        )
        words = _changes(self._kept.book, book)
        tests = self._tests_due(now)
        if book != self._kept.book or messages or tests:
            queue = queues.put(self._kept.queue, (_delivery(one, now) for one in (*messages, *tests)))
            self._change(Kept(book, queue, self._kept.tested))
        await self._write()
        return words

    async def deliver(self) -> str:
        """Try what is due: the first message of each target."""
        async with self._delivering:
            due = queues.due(self._kept.queue, self._clock.now())
            problems = await asyncio.gather(*map(self._try, due))
            await self._write()
        return "; ".join(filter(None, problems))

    async def list_alerts(self, _: dict[str, object]) -> dict[str, object]:
        """What stands, what is silenced, and how it stands with the targets."""
        now = self._clock.now()
        book = self._kept.book
        return {
            "alerts": [_row(one, book.silence_of(one.key, now)) for one in book.standing()],
            "silences": [
                {"pattern": one.pattern, "until": to_wire(one.until), "reason": one.reason}
                for one in book.silences
                if now < one.until
            ],
            "targets": [msgspec.to_builtins(one) for one in self.told()],
        }

    async def silence(self, asked: dict[str, object]) -> dict[str, object]:
        """Tell nobody of alerts of this key for so many hours. Raises UsageError."""
        pattern, reason = str(asked.get("pattern", "")), str(asked.get("reason", ""))
        hours = asked.get("hours")
        if not pattern or len(pattern) > _PATTERN_LIMIT or len(reason) > _REASON_LIMIT:
            raise UsageError("A silence needs the key of an alert.", hint="See: troth alerts list")
        if not isinstance(hours, int | float) or not 0 < hours <= LONGEST_SILENCE / timedelta(hours=1):
            raise UsageError("A silence lasts from a moment to 30 days.", hint="Give --hours a number.")
        until = self._clock.now() + timedelta(hours=hours)
        silence = Silence(pattern=pattern, until=until, reason=reason)
        self._change(msgspec.structs.replace(self._kept, book=with_silence(self._kept.book, silence)))
        await self._write()
        return {"pattern": pattern, "until": to_wire(silence.until)}

    async def unsilence(self, asked: dict[str, object]) -> dict[str, object]:
        """End a silence. Raises UsageError when there is none of this pattern."""
        pattern = str(asked.get("pattern", ""))
        if all(one.pattern != pattern for one in self._kept.book.silences):
            raise UsageError("There is no such silence.", hint="See: troth alerts list")
        self._change(msgspec.structs.replace(self._kept, book=without_silence(self._kept.book, pattern)))
        await self._write()
        return {"pattern": pattern}

    async def test(self, _: dict[str, object]) -> dict[str, object]:
        """Send a test to every target and wait until each took or refused it; one that refused is tried again
        later. Raises PlatformError without targets."""
        if not self._targets:
            raise PlatformError("Alerts are told to nobody.", hint="Write [alerts] into troth.toml.")
        now = self._clock.now()
        sent = {name: _delivery(_test(name, now), now) for name in self._senders}
        queue = queues.put(queues.hasten(self._kept.queue, now), sent.values())
        self._change(msgspec.structs.replace(self._kept, queue=queue))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TEST_SECONDS):
                while any(self._is_under_way(one) for one in sent.values()):
                    await self.deliver()
                    await asyncio.sleep(_GAP)
        waiting = {one.id for line in self._kept.queue.waiting.values() for one in line}
        rows = [
            {"target": name, "delivered": one.id not in waiting, "problem": self._told(name).problem}
            for name, one in sent.items()
        ]
        return {"tests": rows}

    def _is_under_way(self, delivery: Delivery) -> bool:
        """Neither taken, nor kept waiting by a target that refuses."""
        line = self._kept.queue.waiting.get(delivery.message.target, ())
        return any(one.id == delivery.id for one in line) and not line[0].problem

    def _tests_due(self, now: datetime) -> tuple[Message, ...]:
        """Targets whose last test is too old and that have none under way."""
        return tuple(
            _test(one.name, now)
            for one in self._targets
            if now - self._kept.tested.get(one.name, datetime.min.replace(tzinfo=now.tzinfo))
            >= self.test_within
            and not any(
                waiting.message.event == "test" for waiting in self._kept.queue.waiting.get(one.name, ())
            )
        )

    async def _try(self, delivery: Delivery) -> str:
        """One attempt; returns a sentence when a target begins to refuse."""
        name = delivery.message.target
        try:
            await self._senders[name](delivery)
        except NotDelivered as error:
            queue = queues.after_failure(
                self._kept.queue, delivery, error.public, self._clock.now(), self._jitter()
            )
            self._change(msgspec.structs.replace(self._kept, queue=queue))
            return f"{name} did not take an alert: {error.public}" if delivery.problem != error.public else ""
        tested = self._kept.tested
        if delivery.message.event == "test":
            tested = {**tested, name: self._clock.now()}
        self._change(Kept(self._kept.book, queues.after_success(self._kept.queue, delivery), tested))
        return ""

    def _told(self, name: str) -> Told:
        line = self._kept.queue.waiting.get(name, ())
        return Told(
            name=name,
            tested=self._kept.tested.get(name),
            waiting=len(line),
            problem=line[0].problem if line else "",
        )

    def _change(self, kept: Kept) -> None:
        self._kept, self._unwritten = kept, True

    async def _write(self) -> None:
        """A disk that is full is what has to be told: it must not keep anybody from being told."""
        if not self._unwritten:
            return
        self._unwritten = False
        try:
            await asyncio.to_thread(write_secret, self._file, msgspec.json.encode(self._kept))
        except OSError as error:
            self._unwritten = True
            _log.error("the alerts cannot be kept in %s: %s", self._file, error.strerror)


def _read(file: Path) -> Kept:
    """A file that cannot be read is told of in the log and begun anew."""
    if not file.exists():
        return Kept()
    try:
        return msgspec.json.decode(file.read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError) as error:
        _log.error("%s cannot be read and is begun anew: %s", file, error)
        return Kept()


def _target(name: str, settings: AlertTargetSettings) -> Target:
    return Target(
        name=name,
        least=settings.least,
        after=timedelta(minutes=settings.after_minutes),
        repeat=timedelta(hours=settings.repeat_hours),
    )


def _test(name: str, now: datetime) -> Message:
    return Message(target=name, event="test", alert=test_alert(now), at=now)


def _delivery(message: Message, now: datetime) -> Delivery:
    return Delivery(id=f"msg_{uuid7()}", message=message, next_at=now)


def _changes(before: Book, after: Book) -> str:
    """What began and what ended, for the log."""
    stood, stands = ({one.key: one for one in book.standing()} for book in (before, after))
    begun = [f"alert: {one.words}" for key, one in stands.items() if key not in stood]
    ended = [f"over: {one.words}" for key, one in stood.items() if key not in stands]
    return "; ".join((*begun, *ended))


def _row(alert: Alert, silence: Silence | None) -> dict[str, object]:
    return {
        "key": alert.key,
        "severity": alert.severity,
        "words": alert.words,
        "since": to_wire(alert.since),
        "told": sorted(alert.told),
        "silenced_until": to_wire(silence.until) if silence else None,
    }
