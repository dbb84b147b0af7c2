"""The book of alerts: one alert for each fault, told once to each target, silenced, escalated, over."""

from datetime import UTC, datetime, timedelta

import pytest

from troth.hosting.watch.book import (
    CROWD,
    MOST_ALERTS,
    Book,
    Message,
    Silence,
    Target,
    step,
    with_silence,
    without_silence,
)
from troth.hosting.watch.metrics import Sample, Source
from troth.hosting.watch.rules import Fault, judge

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DOWN = judge((Sample("troth_instance_ready", 0.0, ("web", "web-1")),))
KEY = "instance.down/web/web-1"
NIGHT = Target(name="night")
BOSS = Target(name="boss", least="critical", after=timedelta(minutes=15))


class Course:
    """A book through time."""

    def __init__(self, *targets: Target) -> None:
        self.book, self.now, self.targets = Book(), NOW, targets

    def look(self, faults: tuple[Fault, ...], *, after: float = 0.0, blind: bool = False) -> list[str]:
        """One look so many seconds later; returns what was told, as `target event`."""
        self.now += timedelta(seconds=after)
        sources: frozenset[Source] = frozenset(("instances",)) if blind else frozenset()
        self.book, told = step(self.book, faults, sources, self.targets, self.now)
        return [f"{one.target} {one.event}" for one in told]


def test_a_fault_is_told_once_it_has_lasted_and_only_once() -> None:
    course = Course(NIGHT)
    assert course.look(DOWN) == []
    assert course.look(DOWN, after=0.5) == []
    assert course.look(DOWN, after=1) == ["night raised"]
    assert course.look(DOWN, after=60) == []
    assert [one.key for one in course.book.standing()] == [KEY]


def test_one_late_answer_wakes_nobody() -> None:
    course = Course(NIGHT)
    course.look(DOWN)
    assert course.look((), after=0.5) == []
    assert course.look(DOWN, after=0.5) == []
    assert course.look((), after=60) == []
    assert course.book == Book()


def test_what_flaps_is_one_alert_and_its_end_is_told_when_it_is_calm() -> None:
    course = Course(NIGHT)
    course.look(DOWN)
    told = course.look(DOWN, after=2)
    for _ in range(20):
        told += course.look((), after=5)
        told += course.look(DOWN, after=5)
    told += course.look((), after=5)
    told += course.look((), after=31)
    assert told == ["night raised", "night ended"]


def test_it_is_told_again_while_it_stands() -> None:
    course = Course(NIGHT)
    course.look(DOWN)
    told = course.look(DOWN, after=2) + course.look(DOWN, after=4 * 3600)
    assert told == ["night raised", "night repeated"]


def test_what_stands_too_long_is_escalated_and_both_hear_of_its_end() -> None:
    course = Course(NIGHT, BOSS)
    course.look(DOWN)
    assert course.look(DOWN, after=2) == ["night raised"]
    assert course.look(DOWN, after=14 * 60) == []
    assert course.look(DOWN, after=60) == ["boss escalated"]
    course.look(())
    assert course.look((), after=31) == ["night ended", "boss ended"]


def test_who_wants_critical_ones_alone_hears_of_no_warning() -> None:
    course = Course(BOSS)
    warned = judge((Sample("troth_process_exits_lately", 1.0, ("web-1",)),))
    assert course.look(warned) == []
    assert course.look(warned, after=3600) == []


def test_a_silenced_alert_is_watched_told_to_nobody_and_told_when_the_silence_ends() -> None:
    course = Course(NIGHT)
    until = NOW + timedelta(hours=1)
    course.book = with_silence(course.book, Silence(pattern="instance.*", until=until, reason="work"))
    course.look(DOWN)
    assert course.look(DOWN, after=10) == []
    assert [one.key for one in course.book.standing()] == [KEY]
    assert course.look(DOWN, after=3600) == ["night raised"]


def test_a_silence_can_be_ended() -> None:
    course = Course(NIGHT)
    silence = Silence(pattern=KEY, until=NOW + timedelta(hours=1), reason="")
    course.book = with_silence(course.book, silence)
    course.look(DOWN)
    course.book = without_silence(course.book, KEY)
    assert course.look(DOWN, after=2) == ["night raised"]


def test_an_alert_whose_source_cannot_be_seen_is_not_over() -> None:
    course = Course(NIGHT)
    course.look(DOWN)
    course.look(DOWN, after=2)
    assert course.look((), after=600, blind=True) == []
    assert course.book.standing()


def test_a_platform_in_ruins_is_told_in_one_message_more_and_not_in_thousands() -> None:
    course = Course(NIGHT)
    ruins = judge(
        tuple(Sample("troth_process_exits_lately", 1.0, (f"p{n}",)) for n in range(MOST_ALERTS + 500))
    )
    told = course.look(ruins)
    assert len(told) == MOST_ALERTS + 1
    assert CROWD.key in course.book.alerts
    assert course.look(ruins, after=1) == []


@pytest.mark.parametrize("event", ["raised", "ended"])
def test_a_message_says_what_is_wrong(event: str) -> None:
    course = Course(NIGHT)
    course.look(DOWN)
    course.now += timedelta(seconds=2)
    _, (message,) = step(course.book, DOWN, frozenset(), course.targets, course.now)
    assert isinstance(message, Message)
    assert message.alert.words == "Instance web-1 of web does not answer"
