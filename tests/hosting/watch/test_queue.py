"""Messages on their way: in order, again with back-off, bounded, given up at last."""

from datetime import UTC, datetime, timedelta

from troth.hosting.watch.book import Message
from troth.hosting.watch.queue import (
    GIVE_UP,
    LONGEST_PAUSE,
    MOST,
    Delivery,
    Queue,
    after_failure,
    after_success,
    due,
    for_targets,
    pause,
    put,
)
from troth.hosting.watch.telling import test_alert as a_test

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def delivery(number: int, target: str = "night") -> Delivery:
    message = Message(target=target, event="test", alert=a_test(NOW), at=NOW)
    return Delivery(id=f"msg_{number}", message=message, next_at=NOW)


def test_no_message_overtakes_another_and_a_target_that_fails_holds_up_no_other() -> None:
    queue = put(Queue(), (delivery(1), delivery(2), delivery(3, "boss")))
    assert [one.id for one in due(queue, NOW)] == ["msg_1", "msg_3"]
    queue = after_failure(queue, delivery(1), "refused", NOW, 1.0)
    assert [one.id for one in due(queue, NOW)] == ["msg_3"]
    (first, *_) = due(queue, NOW + timedelta(seconds=2))
    assert (first.id, first.attempts, first.problem) == ("msg_1", 1, "refused")
    queue = after_success(queue, first)
    assert [one.id for one in due(queue, NOW)] == ["msg_2", "msg_3"]
    assert queue.delivered == {"night": 1}


def test_pauses_grow_to_five_minutes_and_are_spread() -> None:
    assert [pause(attempts, 1.0) for attempts in range(4)] == [2, 4, 8, 16]
    assert pause(1000, 1.0) == LONGEST_PAUSE
    assert pause(3, 0.0) == 8


def test_what_waits_is_bounded_and_what_is_crowded_out_is_counted() -> None:
    queue = put(Queue(), map(delivery, range(MOST + 3)))
    assert queue.size() == MOST
    assert queue.lost == {"night": 3}
    assert queue.waiting["night"][0].id == "msg_3"


def test_after_a_day_a_message_is_given_up_and_counted() -> None:
    queue = after_failure(put(Queue(), (delivery(1),)), delivery(1), "refused", NOW + GIVE_UP, 0.5)
    assert (queue.size(), queue.lost) == (0, {"night": 1})


def test_what_waits_for_a_target_that_is_gone_is_forgotten() -> None:
    assert for_targets(put(Queue(), (delivery(1), delivery(2, "boss"))), ["boss"]).size() == 1
