"""Drills one after the other: who waits for one is told of that one."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from support.waiting import until_answered
from troth.core.clock import SystemClock
from troth.core.settings import BackupSettings
from troth.core.state import State
from troth.data.backups.digests import Digests
from troth.data.backups.drilling import Drilled
from troth.wiring.backup_bounds import Members
from troth.wiring.backup_drills import BackupDrills, Progress


async def nothing(*_: object) -> None:
    """Neither log nor keys have to get anywhere."""


class Rehearsed(BackupDrills):
    """Drills that end when the test says so."""

    def __init__(self, folder: Path) -> None:
        state = State(folder)
        super().__init__(BackupSettings(), state, cast("Members", None), SystemClock(), nothing, nothing)
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.ends = asyncio.Semaphore(0)

    async def _newest(self) -> str:
        return "newest"

    async def _drill(self, backup: str, progress: Progress, recorded: Digests | None) -> Drilled:
        self.begun.put_nowait(backup)
        await self.ends.acquire()
        return Drilled(backup=backup, at="2026-11-26T05:00:00Z", seconds=1.0)

    async def is_over(self, number: object) -> bool:
        return (await self.ask("backup.drilling", number=number))["finished"] is True

    async def ask(self, do: str, **asked: object) -> dict[str, object]:
        return await self.actions()[do](asked)


@pytest.mark.parametrize("others", [1, 3])
async def test_whoever_waits_for_a_drill_is_told_of_it_though_the_next_has_begun(
    tmp_path: Path, others: int
) -> None:
    drills = Rehearsed(tmp_path)
    async with asyncio.timeout(30):
        number = (await drills.ask("backup.drill"))["number"]
        assert await drills.begun.get() == "newest"
        assert (await drills.ask("backup.drill"))["number"] == number  # joins the one that is going on
        for _ in range(others):
            later = (await drills.ask("backup.drilling"))["number"]
            drills.ends.release()
            await until_answered(lambda asked=later: drills.is_over(asked))
            await drills.ask("backup.drill")
            await drills.begun.get()
        told = await drills.ask("backup.drilling", number=number)
        assert told["finished"] is True
        assert cast("dict[str, object]", told["result"])["backup"] == "newest"
        assert (await drills.ask("backup.drilling"))["number"] == cast("int", number) + others
        await drills.stop()
