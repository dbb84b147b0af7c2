"""When a standby counts as lost to itself, and when a leader with a full disk should give way."""

import pytest

from troth.data.mending import (
    LONGEST_PAUSE,
    LOW,
    Sight,
    has_room,
    is_stuck,
    pause_after,
    roomier,
)


def looks(
    *states: str, every: float = 2.0, working: bool = False, replayed: str | None = None
) -> list[Sight]:
    return [
        Sight(at=number * every, state=state, working=working, replayed=replayed)
        for number, state in enumerate(states)
    ]


def test_a_standby_that_follows_is_never_stuck() -> None:
    assert not is_stuck([])
    assert not is_stuck(looks(*["streaming"] * 100))
    assert not is_stuck(looks(*["stopped"] * 100, "streaming"))


def test_one_that_does_nothing_for_half_a_minute_is_stuck() -> None:
    assert not is_stuck(looks("streaming", *["stopped"] * 15))
    assert is_stuck(looks("streaming", *["stopped"] * 16))


def test_one_that_copies_or_rewinds_is_left_alone_however_long_it_takes() -> None:
    assert not is_stuck(looks(*["creating replica"] * 2000, working=True))
    worked = [*looks(*["stopped"] * 20, working=True), *looks(*["stopped"] * 25)[20:]]
    assert not is_stuck(worked)  # what it did counts until it has done nothing for long


def test_one_that_comes_further_is_left_alone() -> None:
    further = [Sight(at=number, state="running", replayed=f"0/{number}") for number in range(500)]
    assert not is_stuck(further)
    assert is_stuck(looks(*["running"] * 16, replayed="0/5000018"))


def test_one_that_starts_is_given_minutes() -> None:
    assert not is_stuck(looks(*["starting"] * 150))
    assert is_stuck(looks(*["starting"] * 151))
    assert is_stuck(looks(*["starting", "start failed"] * 76))  # again and again
    assert not is_stuck(looks(*["starting"] * 100, "running"))
    assert is_stuck(looks(*["starting"] * 10, *["running"] * 16))


def test_looks_far_apart_prove_nothing() -> None:
    assert not is_stuck(looks("stopped", "stopped", "stopped", every=20.0))


@pytest.mark.parametrize(("copies", "seconds"), [(0, 0.0), (1, 60.0), (2, 120.0), (9, LONGEST_PAUSE)])
def test_the_next_copy_waits_longer_each_time(copies: int, seconds: float) -> None:
    assert pause_after(copies) == seconds
    assert pause_after(10_000) == LONGEST_PAUSE


def test_a_copy_is_begun_only_where_it_fits() -> None:
    assert has_room(own=100, free=LOW, needed=100)
    assert not has_room(own=100, free=LOW - 1, needed=100)


def test_a_leader_without_room_gives_way_to_the_roomiest_that_confirms() -> None:
    free = {"a": LOW - 1, "b": 2 * LOW, "c": 3 * LOW, "d": 9 * LOW}
    assert roomier("a", free, ["b", "c"]) == "c"
    assert roomier("a", {**free, "a": LOW}, ["b", "c"]) is None
    assert roomier("a", {**free, "b": 2 * LOW - 1}, ["b"]) is None  # hardly better off
    assert roomier("a", free, []) is None
