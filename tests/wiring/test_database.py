"""What a first start that was cut short leaves, and that nothing else is ever removed."""

from pathlib import Path

import pytest

from troth.core.state import State, open_state
from troth.wiring.places import begin_again, finish_first_start


@pytest.fixture
def state(tmp_path: Path) -> State:
    return open_state(tmp_path / "state")


def leave_something(state: State) -> tuple[Path, ...]:
    """Files as a database member and the consensus store have them."""
    left = (state.members / "member-1" / "data" / "PG_VERSION", state.consensus / "member" / "wal" / "0.wal")
    for file in left:
        file.parent.mkdir(parents=True)
        file.write_text("17\n")
    return left


def test_a_first_start_that_was_cut_short_leaves_nothing_behind(state: State) -> None:
    begin_again(state)
    left = leave_something(state)
    begin_again(state)
    assert not any(file.exists() for file in left)
    assert state.unfinished.exists()


def test_a_database_that_once_stood_is_never_removed(state: State) -> None:
    begin_again(state)
    left = leave_something(state)
    finish_first_start(state)
    for _ in range(2):
        begin_again(state)
        assert all(file.exists() for file in left)
        assert not state.unfinished.exists()


def test_a_database_older_than_this_mark_is_never_removed(state: State) -> None:
    left = leave_something(state)
    begin_again(state)
    assert all(file.exists() for file in left)
