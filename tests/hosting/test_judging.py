"""Who is ill, who is only busy, and when replacing would not help: on observations alone."""

from typing import Any

import msgspec
import pytest

from troth.hosting.judging import (
    NOTHING,
    Errors,
    Illness,
    Observation,
    Past,
    Policy,
    Verdict,
    judge,
    relieved,
)

POLICY = Policy()
BAD = Errors(200, 40)
GOOD = Errors(200, 0)


def seen(name: str = "toy-1", **what: Any) -> Observation:
    well = Observation(name=name, generation=1, release="one", balanced=True)
    return msgspec.structs.replace(well, **what)


def verdicts(*observations: Observation, past: Past = NOTHING) -> tuple[Verdict, ...]:
    return judge(observations, POLICY, past).verdicts


@pytest.mark.parametrize(
    ("what", "illness"),
    [
        ({"stopped": True, "still": 0.6}, "stopped"),
        ({"still": 2.1}, "hung"),
        ({"still": 2.1, "worked": 2.0}, "spinning"),
    ],
)
def test_whose_loop_does_not_turn_is_ended(what: dict[str, Any], illness: Illness) -> None:
    (verdict,) = verdicts(seen(**what), seen("toy-2"))
    assert (verdict.name, verdict.illness, verdict.action) == ("toy-1", illness, "end")


@pytest.mark.parametrize(
    ("what", "illness"),
    [
        ({"recent": BAD}, "erring"),
        ({"unanswered": 1.0, "missed": 2}, "silent"),
        ({"ended": 6.0}, "gone"),
        ({"memory": 900 << 20, "memory_first": 100 << 20}, "leaking"),
        ({"memory": 900 << 20, "memory_first": 800 << 20, "memory_most": 1024 << 20}, "exhausted"),
        ({"descriptors": 900, "descriptors_most": 1024}, "exhausted"),
    ],
)
def test_who_is_ill_is_relieved_and_replaced_while_another_serves(
    what: dict[str, Any], illness: Illness
) -> None:
    (verdict,) = verdicts(seen(**what), seen("toy-2", recent=GOOD))
    assert (verdict.name, verdict.illness, verdict.action) == ("toy-1", illness, "replace")
    assert verdict.relieve


@pytest.mark.parametrize(
    "what",
    [
        {"still": 1.9},
        {"stopped": True, "still": 0.1},
        {"busy": True, "unanswered": 10.0, "missed": 9},
        {"unanswered": 10.0, "missed": 1},
        {"unanswered": 0.8, "missed": 2},
        {"ended": 1.0},
        {"recent": Errors(19, 19)},
        {"recent": Errors(1000, 10)},
        {"memory": 300 << 20, "memory_first": 100 << 20},
        {"memory": 2000 << 20, "memory_first": 1500 << 20},
    ],
)
def test_who_is_busy_slow_or_large_is_left_alone(what: dict[str, Any]) -> None:
    assert judge((seen(**what), seen("toy-2", recent=GOOD)), POLICY).verdicts == ()


def test_all_that_err_alike_are_the_release_and_nobody_is_replaced() -> None:
    judgement = judge((seen(recent=BAD), seen("toy-2", recent=BAD)), POLICY)
    assert judgement.verdicts == ()
    assert "all instances of one are ill alike" in judgement.alarm


def test_an_instance_that_always_erred_so_and_whose_peers_do_too_is_not_the_one_to_blame() -> None:
    usual, worse = Errors(1000, 60), Errors(200, 15)
    judgement = judge((seen(recent=worse, before=usual), seen("toy-2", recent=Errors(200, 9))), POLICY)
    assert judgement.verdicts == () and not judgement.alarm


def test_what_hangs_is_ended_even_when_nobody_else_serves() -> None:
    found = verdicts(seen(still=3.0), seen("toy-2", still=3.0))
    assert [verdict.action for verdict in found] == ["end", "end"]


def test_one_at_a_time_is_replaced_and_what_does_not_run_comes_first() -> None:
    (verdict,) = verdicts(seen(recent=BAD), seen("toy-2", ended=9.0), seen("toy-3", recent=GOOD))
    assert verdict.name == "toy-2"


def test_nobody_is_relieved_whose_peers_have_more_to_do_than_they_can() -> None:
    (verdict,) = verdicts(seen(recent=BAD), seen("toy-2", recent=GOOD, busy=True))
    assert verdict.action == "replace" and not verdict.relieve


def test_one_that_is_held_back_is_nobody_to_fall_back_on() -> None:
    judgement = judge((seen(recent=BAD), seen("toy-2", balanced=False)), POLICY)
    assert judgement.verdicts == () and judgement.alarm


def test_there_is_an_end_to_ending_and_to_replacing() -> None:
    judgement = judge((seen(still=3.0), seen("toy-2")), POLICY, Past(ends=POLICY.ends))
    assert judgement.verdicts == () and "hung within" in judgement.alarm
    judgement = judge((seen(recent=BAD), seen("toy-2")), POLICY, Past(replacements=POLICY.replacements))
    assert judgement.verdicts == () and "it does not help" in judgement.alarm


LATE: dict[str, Any] = {"still": 0.6, "quiet": 0.6}
COMPUTING: dict[str, Any] = {"still": 1.1, "quiet": 1.1, "worked": 1.1}


def spared(*observations: Observation) -> set[str]:
    return {name for name, _ in relieved(observations, POLICY)}


@pytest.mark.parametrize("what", [LATE, COMPUTING, {"quiet": 1.1}, {"doubted": True}])
def test_a_doubt_is_enough_to_keep_requests_from_one_and_for_nothing_more(what: dict[str, Any]) -> None:
    both = (seen(**what), seen("toy-2"))
    assert spared(*both) == {"toy-1"}
    assert judge(both, POLICY).verdicts == ()


@pytest.mark.parametrize(
    "what",
    [
        {"still": 0.4, "quiet": 0.4},
        {"still": 0.9, "quiet": 0.9, "worked": 0.9},
        {**LATE, "busy": True},
        {"doubted": True, "busy": True},
        {"ended": 1.0, "doubted": True},
    ],
)
def test_who_is_busy_or_has_ended_is_not_doubted(what: dict[str, Any]) -> None:
    assert spared(seen(**what), seen("toy-2")) == set()


def test_a_doubt_about_everybody_keeps_requests_from_nobody() -> None:
    """As after a machine that stood still, or while all wait for the same."""
    assert spared(seen(**LATE), seen("toy-2", **LATE)) == set()
    assert spared(seen(doubted=True), seen("toy-2", doubted=True)) == set()
    assert spared(seen(**LATE)) == set()
    assert spared(seen(**LATE), seen("toy-2", balanced=False)) == set()


def test_requests_are_kept_from_no_more_than_others_can_take_over_from() -> None:
    found = spared(seen(**LATE), seen("toy-2", still=0.9, quiet=0.9), seen("toy-3"))
    assert found == {"toy-2"}, "the one that has been quiet for longest"


def test_others_that_have_enough_to_do_take_over_from_one_that_hangs_alone() -> None:
    busy = seen("toy-2", busy=True)
    assert spared(seen(**LATE), busy) == {"toy-1"}
    assert spared(seen(doubted=True), busy) == set()


def test_who_is_relieved_stays_so_while_the_doubt_lasts_and_is_no_reason_for_an_alarm() -> None:
    kept = seen(balanced=False, relieved=True, still=1.2, quiet=1.2)
    assert spared(kept, seen("toy-2")) == {"toy-1"}
    back = seen(balanced=False, relieved=True)
    assert spared(back, seen("toy-2")) == set()
    (verdict,) = judge((kept, seen("toy-2", recent=BAD)), POLICY).verdicts
    assert verdict.name == "toy-2" and not verdict.relieve, "nobody would be left"
