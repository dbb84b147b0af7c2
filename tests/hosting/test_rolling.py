"""Instances are replaced one after the other, and come back when one is not fit."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.hall import Hall, open_hall
from troth.core.errors import PlatformError


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncGenerator[Hall]:
    async with open_hall(tmp_path) as hall:
        yield hall


async def test_all_are_replaced_and_somebody_serves_at_every_moment(hall: Hall) -> None:
    fewest = hall.fleet.size

    def note(_: object) -> None:
        nonlocal fewest
        fewest = min(fewest, sum(one.balanced and one.phase == "ready" for one in hall.fleet.instances))

    hall.fleet.watchers.append(note)
    before = {one.process.pid for one in hall.fleet.instances if one.process}
    await hall.rolling.bring(hall.release("two"), hall.lines.append)
    assert hall.serving() == ["two", "two"]
    assert len(hall.fleet.instances) == 2
    assert before.isdisjoint({one.process.pid for one in hall.fleet.instances if one.process})
    assert hall.fleet.release.name == "two"
    assert fewest == 2, "each new one serves before an old one leaves"


@pytest.mark.parametrize("name, words", [("broken", "ended before"), ("wrong", "answers 500")])
async def test_a_first_that_is_not_fit_changes_nothing(hall: Hall, name: str, words: str) -> None:
    pids = {one.process.pid for one in hall.fleet.instances if one.process}
    with pytest.raises(PlatformError, match=words):
        await hall.rolling.bring(hall.release(name), hall.lines.append)
    assert hall.serving() == ["one", "one"]
    assert hall.fleet.release.name == "one"
    assert {one.process.pid for one in hall.fleet.instances if one.process} == pids, "nobody was replaced"


async def test_a_first_that_ends_on_its_trial_goes_back_with_the_reason(hall: Hall) -> None:
    bringing = asyncio.ensure_future(hall.rolling.bring(hall.release("two"), hall.lines.append))
    async with asyncio.timeout(20):
        while "two" not in hall.serving():  # noqa: ASYNC110 - a state of others
            await asyncio.sleep(0.01)
    (first,) = [one for one in hall.fleet.instances if one.release.name == "two"]
    assert first.process is not None and first.process.pid is not None
    os.kill(first.process.pid, signal.SIGKILL)
    with pytest.raises(PlatformError, match="1 of its instances ended"):
        await bringing
    assert hall.serving() == ["one", "one"]
    assert len(hall.fleet.instances) == 2


async def test_one_that_fails_later_brings_all_of_them_back(hall: Hall) -> None:
    """The first of them passes; the next does not even start."""
    hall.spoil_after = 1
    with pytest.raises(PlatformError, match="ended before"):
        await hall.rolling.bring(hall.release("two"), hall.lines.append)
    assert hall.serving() == ["one", "one"]
    assert hall.fleet.release.name == "one"


async def test_what_was_brought_in_goes_back_on_request(hall: Hall) -> None:
    before = hall.fleet.release
    await hall.rolling.bring(hall.release("two"), hall.lines.append)
    await hall.rolling.go_back(before, hall.lines.append)
    assert hall.serving() == ["one", "one"]
