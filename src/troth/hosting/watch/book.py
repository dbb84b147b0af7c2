"""The book of alerts: what stands, since when, who was told, and what is silenced. Pure: time is passed in.

A fault becomes an alert once it has lasted for its rule's `hold`, and ends once it has been gone for its
`calm`: there is one alert for each key, however often it flaps. Each target is told once, again after
`repeat`, and of the end if it was told of the beginning. A target with an `after` is the next step of the
escalation: it is told of what has stood for so long and was not silenced.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from troth.hosting.watch.metrics import METRICS, Source
from troth.hosting.watch.rules import RULES, Fault, Rule, Severity

Event = Literal["raised", "escalated", "repeated", "ended", "test"]

MOST_ALERTS = 200
"""Beyond these, new faults are told as one: a platform in ruins has a single message, not a thousand."""

MOST_SILENCES = 100
LONGEST_SILENCE = timedelta(days=30)

CROWD = Fault("alerts.crowd", "alerts.crowd", "critical", "More faults stand than can be told one by one")

_BY_NAME: dict[str, Rule] = {rule.name: rule for rule in RULES}
_RANK: dict[Severity, int] = {"warning": 0, "critical": 1}


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Whom alerts are told to: of at least this severity, and of those that have stood for `after`."""

    name: str
    least: Severity = "warning"
    after: timedelta = timedelta(0)
    repeat: timedelta = timedelta(hours=4)


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A fault from its first sight on. `raised` is when it had lasted long enough, `gone` since when it is
    not seen any more, `told` the targets that were told and when for the last time."""

    key: str
    rule: str
    severity: Severity
    words: str
    since: datetime
    raised: datetime | None = None
    gone: datetime | None = None
    told: dict[str, datetime] = {}


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody is told of alerts whose key matches `pattern` (`*`, `?`) until then. `reason` is for people."""

    pattern: str
    until: datetime
    reason: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Something to tell a target."""

    target: str
    event: Event
    alert: Alert
    at: datetime


class Book(msgspec.Struct, frozen=True):
    """All alerts by their key, and the silences."""

    alerts: dict[str, Alert] = {}
    silences: tuple[Silence, ...] = ()

    def standing(self) -> tuple[Alert, ...]:
        """What was raised and is not over, the newest first."""
        raised = [one for one in self.alerts.values() if one.raised is not None]
        return tuple(sorted(raised, key=lambda one: one.since, reverse=True))

    def silence_of(self, key: str, now: datetime) -> Silence | None:
        """The silence that covers an alert now."""
        return next((one for one in self.silences if now < one.until and fnmatchcase(key, one.pattern)), None)


def step(
    book: Book,
    faults: Iterable[Fault],
    blind: frozenset[Source],
    targets: tuple[Target, ...],
    now: datetime,
) -> tuple[Book, tuple[Message, ...]]:
    """The book after one look, and what to tell whom. An alert whose source cannot be seen stays as it is."""
    found = _bounded({fault.key: fault for fault in faults}, book.alerts)
    alerts: dict[str, Alert] = {}
    messages: list[Message] = []
    for key in {**book.alerts, **found}:
        alert = _next(book.alerts.get(key), found.get(key), blind, now)
        if _is_over(alert, now):
            messages += (Message(target=name, event="ended", alert=alert, at=now) for name in alert.told)
            continue
        told = {} if book.silence_of(key, now) else _tell(alert, targets, now)
        messages += (Message(target=name, event=event, alert=alert, at=now) for name, event in told.items())
        alerts[key] = msgspec.structs.replace(alert, told={**alert.told, **dict.fromkeys(told, now)})
    silences = tuple(one for one in book.silences if now < one.until)
    return Book(alerts, silences), tuple(messages)


def with_silence(book: Book, silence: Silence) -> Book:
    """One more, in place of an older one of the same pattern."""
    others = [one for one in book.silences if one.pattern != silence.pattern]
    return Book(book.alerts, (*others, silence)[-MOST_SILENCES:])


def without_silence(book: Book, pattern: str) -> Book:
    """What was silenced by this pattern is told again."""
    return Book(book.alerts, tuple(one for one in book.silences if one.pattern != pattern))


def _bounded(found: Mapping[str, Fault], known: Mapping[str, Alert]) -> dict[str, Fault]:
    room = MOST_ALERTS - len(known)
    fresh = [key for key in found if key not in known]
    kept = {key: fault for key, fault in found.items() if key in known or key in fresh[: max(room, 0)]}
    return kept if len(fresh) <= room else {**kept, CROWD.key: CROWD}


def _next(alert: Alert | None, fault: Fault | None, blind: frozenset[Source], now: datetime) -> Alert:
    if fault is None:
        assert alert is not None, "a key comes from a fault or from an alert"
        if alert.gone is None and source_of(alert.rule) not in blind:
            return msgspec.structs.replace(alert, gone=now)
        return alert
    if alert is None:
        alert = Alert(key=fault.key, rule=fault.rule, severity=fault.severity, words=fault.words, since=now)
    raised = alert.raised
    if raised is None and now - alert.since >= timedelta(seconds=_rule(fault.rule).hold):
        raised = now
    return msgspec.structs.replace(alert, words=fault.words, gone=None, raised=raised)


def _is_over(alert: Alert, now: datetime) -> bool:
    if alert.gone is None:
        return False
    return alert.raised is None or now - alert.gone >= timedelta(seconds=_rule(alert.rule).calm)


def _tell(alert: Alert, targets: tuple[Target, ...], now: datetime) -> dict[str, Event]:
    """Which targets hear of it now, and as what."""
    if alert.raised is None or alert.gone is not None:
        return {}
    told: dict[str, Event] = {}
    for target in targets:
        if _RANK[alert.severity] < _RANK[target.least] or now - alert.raised < target.after:
            continue
        last = alert.told.get(target.name)
        if last is None:
            told[target.name] = "escalated" if target.after else "raised"
        elif now - last >= target.repeat:
            told[target.name] = "repeated"
    return told


def source_of(rule: str) -> Source:
    """Who sees whether a rule is broken."""
    return METRICS[_rule(rule).metric].source


def _rule(name: str) -> Rule:
    """The rule of this name; one that an older Troth knew holds and calms like any other."""
    return _BY_NAME.get(name, _UNKNOWN)


_UNKNOWN = Rule(
    name="", severity="warning", metric="troth_watch_stale", breaks=lambda _: False, says="", calm=0.0
)
