"""A release takes over only when it is fit to, and goes back when it is not."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.hall import Hall, open_hall
from troth.core.errors import PlatformError
from troth.hosting.deployment import Tally, judge_release
from troth.hosting.edge_log import Ledger
from troth.hosting.tending import Tender


@pytest.mark.parametrize(
    "new, old, words",
    [
        (Tally(100, 0), Tally(1000, 0), ""),
        (Tally(100, 4), Tally(1000, 0), ""),
        (Tally(100, 6), Tally(1000, 0), "6 of its 100 answers were errors (6%)"),
        (Tally(5, 5), Tally(1000, 0), "5 of its 5"),
        (Tally(100, 20), Tally(1000, 200), ""),
        (Tally(100, 90), Tally(1000, 200), "90 of its 100"),
        (Tally(100, 100), Tally(0, 0), "100 of its 100"),
        (Tally(0, 0, ended=1), Tally(1000, 0), "1 of its instances ended"),
    ],
)
def test_a_release_is_held_against_the_one_before(new: Tally, old: Tally, words: str) -> None:
    reason = judge_release(new, old)
    assert words in reason
    assert bool(reason) == bool(words)


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncGenerator[Hall]:
    async with open_hall(tmp_path) as hall:
        yield hall


async def test_a_release_takes_over_beside_the_old_one_and_the_way_back_is_instant(hall: Hall) -> None:
    pids = {one.process.pid for one in hall.fleet.instances if one.process}
    await hall.take_over("two")
    assert hall.serving() == ["two", "two"]
    assert hall.deployment.resting == hall.release("one")
    assert (await hall.deployment.go_back()).name == "one"
    assert hall.serving() == ["one", "one"]
    assert {one.process.pid for one in hall.fleet.instances if one.process} == pids, "nothing was started"


async def test_what_rests_is_nobodys_patient(hall: Hall) -> None:
    """Replaced, it would come back into balancing."""
    await hall.take_over("two")
    tender = Tender(hall.fleet, Ledger(), clock=hall.supervisor.clock)
    tender.look(time.monotonic())
    assert len(hall.fleet.instances) == 4
    assert {one.release for one in tender.seen} == {"two"}


async def test_the_release_after_next_lets_the_first_go(hall: Hall) -> None:
    await hall.take_over("two")
    await hall.take_over("three")
    assert sorted({one.release.name for one in hall.fleet.instances}) == ["three", "two"]
    await hall.deployment.let_go()
    assert {one.release.name for one in hall.fleet.instances} == {"three"}
    with pytest.raises(PlatformError, match="No former release"):
        await hall.deployment.go_back()


@pytest.mark.parametrize("name, words", [("broken", "ended before"), ("wrong", "answers 500")])
async def test_a_release_that_is_not_fit_changes_nothing(hall: Hall, name: str, words: str) -> None:
    with pytest.raises(PlatformError, match=words):
        await hall.take_over(name)
    assert hall.serving() == ["one", "one"]
    assert hall.fleet.release.name == "one"
    assert len(hall.fleet.instances) == 2


async def test_an_instance_that_ends_in_its_probation_is_a_reason_to_go_back(hall: Hall) -> None:
    await hall.take_over("two")
    watching = asyncio.ensure_future(hall.deployment.probation(20.0))
    victim = next(one for one in hall.fleet.instances if one.balanced)
    assert victim.process is not None and victim.process.pid is not None
    os.kill(victim.process.pid, signal.SIGKILL)
    assert await watching == "1 of its instances ended"


async def test_a_release_that_is_resized_keeps_its_way_back(hall: Hall) -> None:
    await hall.take_over("two")
    await hall.fleet.resize(3)
    assert hall.serving() == ["two", "two", "two"]
    await hall.fleet.resize(1)
    assert hall.serving() == ["two"]
    assert hall.deployment.resting == hall.release("one")
    await hall.deployment.go_back()
    assert hall.serving() == ["one", "one"]
    assert hall.fleet.size == 2, "as many as came back, whatever there were in between"
