"""The keeper is killed, or hangs, under load: nobody outside notices, nothing is restarted, and the next one
looks after what runs."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from support.load import Tally, new_titles, read, stored, write
from support.person import Person, signed_in
from support.platform import ANNA, MARKUS, Troth, ended, state_folder, troth, until
from support.rounds import in_many_rounds, tell
from troth.core.errors import PlatformError
from troth.hosting import processes
from troth.hosting.processes import Process

READERS = 3


class Load:
    """Readers and one writer, one request after the other each, until it is ended. Nothing is tried again."""

    def __init__(self, person: Person) -> None:
        self.tally, self.titles = Tally(), list[str]()
        self._ending = asyncio.Event()
        self._task = asyncio.gather(*(self._read(person) for _ in range(READERS)), self._write(person))

    async def end(self) -> None:
        self._ending.set()
        await self._task

    async def _read(self, person: Person) -> None:
        while not self._ending.is_set():
            await read(person, self.tally, 1)
            await asyncio.sleep(0.02)

    async def _write(self, person: Person) -> None:
        while not self._ending.is_set():
            titles = new_titles(1)
            self.titles += titles
            await write(person, self.tally, titles)
            await asyncio.sleep(0.2)


@in_many_rounds
@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_a_killed_keeper_costs_no_request_and_restarts_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with state_folder() as root:
        running = Troth(root, members=1)
        with ended(running):
            up = await asyncio.to_thread(running.up, "--detach")
            assert up.status == 0, up.output + up.errors
            await running.whole()
            broken = _broken(await running.factsheet())  # one member alone is no replica set
            async with signed_in(running, ANNA) as anna, signed_in(running, MARKUS) as markus:
                for turn in range(2):
                    await kill_under_load(running, anna, markus, capsys, turn)
            await goes_on(running)
            sheet = await running.factsheet()
            assert {sheet[one]["verdict"] for one in ("hosting.restart", "hosting.replacement")} == {"proved"}
            assert _broken(sheet) == broken
            told = await asyncio.to_thread(troth, "metrics", "--state", running.state.root)
            assert 'troth_process_exits_lately{process="keeper"} 1' in told.output


@in_many_rounds
@pytest.mark.chaos
@pytest.mark.timeout(400)
async def test_a_keeper_that_hangs_is_ended_and_another_takes_over_without_a_request_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with state_folder() as root:
        running = Troth(root, members=1)
        with ended(running):
            up = await asyncio.to_thread(running.up, "--detach")
            assert up.status == 0, up.output + up.errors
            await running.whole()
            async with signed_in(running, ANNA) as anna, signed_in(running, MARKUS) as markus:
                await kill_under_load(running, anna, markus, capsys, 0, signal.SIGSTOP)
            await goes_on(running)
            log = (running.state.logs / "keeper.log").read_text()
            assert "it hangs, and is ended" in log


@in_many_rounds
@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_with_the_first_process_everything_ends() -> None:
    with state_folder() as root:
        running = Troth(root, members=1)
        with ended(running):
            up = await asyncio.to_thread(running.up, "--detach")
            assert up.status == 0, up.output + up.errors
            present = running.living()
            processes.send(_first(running), signal.SIGKILL)
            assert processes.wait_until_gone(present, 10.0) == ()
            assert running.living() == ()


async def kill_under_load(
    running: Troth,
    anna: Person,
    markus: Person,
    capsys: pytest.CaptureFixture[str],
    turn: int,
    number: signal.Signals = signal.SIGKILL,
) -> None:
    before, keeper = await running.status(), _keeper(running)
    postmaster = running.postmaster("member-1")
    load = Load(anna)
    await until(load.tally.total, lambda count: count >= 50, seconds=60, what="the load is under way")
    killed = time.monotonic()
    assert processes.send(keeper, number)

    async def ready() -> bool:
        try:
            status = await running.status()
        except PlatformError:
            return False
        return bool(status["ready"]) and status["taken_over"] > 0

    await until(ready, bool, seconds=120, what="another keeper has taken over")
    back = time.monotonic() - killed
    await asyncio.sleep(3)  # it looks after everything by now: whatever it would restart, it restarts now
    await load.end()
    assert load.tally.failures == []
    assert await stored(markus, load.titles) == dict.fromkeys(load.titles, 1)
    after = await running.whole()
    assert _pids(after) == _pids(before)
    assert {one["restarts"] for one in after["processes"]} == {0}
    assert running.postmaster("member-1") == postmaster
    assert _keeper(running) != keeper
    tell(
        capsys,
        f"{number.name} to the keeper ({turn + 1}): {after['taken_over']} processes taken over after "
        f"{back:.1f} s, 0 of {load.tally.statuses.total()} requests lost, no process restarted",
    )


async def goes_on(running: Troth) -> None:
    """What the next keeper has taken over, it looks after."""
    processes.send(running.process("portal-1"), signal.SIGKILL)

    async def restarts() -> int:
        status = await running.status()
        return next(one["restarts"] for one in status["instances"] if one["name"] == "portal-1")

    await until(restarts, lambda count: count == 1, seconds=60, what="portal-1 is started again")
    await running.whole()


def _broken(sheet: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, line in sheet.items() if line["verdict"] == "broken"}


def _pids(status: dict[str, Any]) -> dict[str, int]:
    """The receiver of the log is started anew: it owns its folder, and what it has written is sorted
    first."""
    return {one["name"]: one["pid"] for one in status["processes"] if one["name"] != "backup-log"}


def _keeper(running: Troth) -> Process:
    return next(one for one in running.living() if _command(one)[1:4] == ["-I", "-m", "troth.platform"])


def _first(running: Troth) -> Process:
    found = [one for one in running.living() if any(part.endswith("/init.py") for part in _command(one)[:4])]
    return max(found, key=lambda one: one.started)


def _command(process: Process) -> list[str]:
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
    except OSError:
        return []
