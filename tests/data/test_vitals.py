"""What is a hang and what is not: a busy member is never ended, however late it answers."""

from itertools import count

import pytest

from troth.data.vitals import Look, Motion, Seen, find_hang, is_suspect

ANSWERS = Seen("answers")
REFUSES = Seen("refuses")


def silent(*, stopped: bool = False, ran: int = 0, waiting: bool = False) -> Seen:
    return Seen("silent", Motion(stopped, frozenset({(7, 100 + ran)}), waiting))


def looks(*seen: Seen, every: float = 1.2, patroni: Seen = ANSWERS) -> list[Look]:
    return [Look(number * every, one, patroni) for number, one in enumerate(seen)]


def test_a_stopped_process_that_answers_twice_nothing_hangs() -> None:
    assert find_hang(looks(ANSWERS, silent(stopped=True))) is None
    assert find_hang(looks(ANSWERS, silent(stopped=True), silent(stopped=True))) == "PostgreSQL"


def test_a_stopped_child_of_a_member_that_answers_is_nobodys_hang() -> None:
    """An operator who looks at one backend with a debugger does not lose the leader by it."""
    assert find_hang(looks(ANSWERS, ANSWERS, ANSWERS)) is None


@pytest.mark.parametrize("seconds", [6, 60, 600])
def test_a_busy_member_is_left_alone_however_long_it_is_silent(seconds: int) -> None:
    ran = count()
    busy = [silent(ran=next(ran)) for _ in range(seconds)]
    assert find_hang(looks(*busy, every=1.0)) is None


def test_processes_that_neither_answer_nor_run_for_seconds_hang() -> None:
    assert find_hang(looks(*[silent()] * 5, every=1.2)) is None
    assert find_hang(looks(*[silent()] * 6, every=1.2)) == "PostgreSQL"


def test_processes_that_could_run_and_are_given_no_processor_do_not_hang() -> None:
    assert find_hang(looks(*[silent(waiting=True)] * 12, every=1.2)) is None
    assert find_hang(looks(*[silent()] * 4, silent(waiting=True), silent(), every=1.2)) is None
    assert find_hang(looks(*[silent(stopped=True, waiting=True)] * 2)) == "PostgreSQL"


def test_one_answer_in_between_begins_the_count_again() -> None:
    assert find_hang(looks(*[silent()] * 4, ANSWERS, *[silent()] * 4)) is None
    assert find_hang(looks(silent(stopped=True), REFUSES, silent(stopped=True))) is None


def test_a_keeper_that_was_held_up_itself_draws_no_conclusion() -> None:
    """A laptop that slept, or a machine that was paused: everything on it stood still, the keeper too."""
    assert find_hang(looks(silent(), silent(), every=60.0)) is None
    assert find_hang(looks(silent(stopped=True), silent(stopped=True), every=60.0)) is None


def test_a_patroni_that_hangs_beside_a_postgres_that_answers_is_seen_too() -> None:
    seen = looks(ANSWERS, ANSWERS, patroni=silent(stopped=True))
    assert find_hang(seen) == "Patroni"
    assert is_suspect(seen[-1])


def test_a_member_that_is_down_or_starting_does_not_hang() -> None:
    seen = looks(*[REFUSES] * 20, patroni=REFUSES)
    assert find_hang(seen) is None
    assert not is_suspect(seen[-1])


def test_silence_without_any_process_of_ours_is_no_hang() -> None:
    """Somebody else listens there, or the processes are on another machine: there is nothing to end."""
    assert find_hang(looks(*[Seen("silent")] * 10)) is None
