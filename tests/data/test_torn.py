"""A leader's log that ends before a standby's has lost its end; an honest disk is never accused of it."""

from pathlib import Path

import pytest

from support.postgres import Server
from troth.core.db import Database
from troth.data.torn import LogEnd, crashed_as_leader, find_torn, read_log_end


def test_a_crashed_leader_behind_a_standby_of_its_timeline_is_torn() -> None:
    assert find_torn({"a": LogEnd(1, 99, led=True), "b": LogEnd(1, 100, led=False)}) == ("a",)


@pytest.mark.parametrize(
    "standby", [LogEnd(1, 100, led=False), LogEnd(1, 7, led=False), LogEnd(2, 999, led=False)]
)
def test_a_standby_that_is_behind_or_on_another_timeline_accuses_nobody(standby: LogEnd) -> None:
    assert find_torn({"a": LogEnd(1, 100, led=True), "b": standby}) == ()


def test_a_standby_is_never_torn_for_it_can_ask_for_the_rest() -> None:
    assert find_torn({"a": LogEnd(1, 100, led=True), "b": LogEnd(1, 7, led=False)}) == ()


def test_a_former_leader_is_no_witness() -> None:
    """After its crash it may have a record of its own that nobody else has."""
    assert find_torn({"a": LogEnd(1, 99, led=True), "b": LogEnd(1, 100, led=True)}) == ()


def test_what_is_no_data_folder_has_no_log(postgres: Server, tmp_path: Path) -> None:
    assert read_log_end(postgres.binaries, tmp_path) is None
    assert not crashed_as_leader(postgres.binaries, tmp_path)


async def test_the_end_of_a_log_moves_with_every_write(
    postgres: Server, superuser_database: Database
) -> None:
    data = postgres.folder / "data"
    before = read_log_end(postgres.binaries, data)
    await superuser_database.execute("select pg_logical_emit_message(true, 'test', 'one more')")
    await superuser_database.execute("select pg_switch_wal()")
    after = read_log_end(postgres.binaries, data)
    assert before is not None
    assert after is not None
    assert after.last > before.last
    assert after.led  # it runs, and looks like one that crashed
