"""Control groups of this very machine. Where it lets us make none, the platform runs as it did without them,
and says why: that is shown here as well, for no machine is passed over."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.first import Handed
from support.waiting import until
from troth.core.process import Bounds, ProcessSpec
from troth.hosting import isolation, processes
from troth.hosting.backoff import Restart
from troth.hosting.cgroups import groups as made
from troth.hosting.cgroups.groups import (
    PROCESSES,
    Folders,
    Groups,
    divide,
    end,
    entering,
    find,
    memory_file,
    refusal,
)
from troth.hosting.cgroups.places import Choice, Place, held_memory, leaf_of, prefix
from troth.hosting.first import FirstProcess
from troth.hosting.supervisor import Supervisor

QUICK = Restart(first=0.01, longest=0.05)
BOUNDS = Bounds(memory=64 << 20, tasks=32)
EATER = """
held = []
for _ in range(40):
    held.append(bytearray(8 << 20))
print("ate", flush=True)
"""
HIDER = "env -i setsid sh -c 'setsid sleep 3611 & sleep 3612' & exec sleep 3613"
"""Hides from the mark as well: nothing of it is in the environment of what it leaves behind."""


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncGenerator[Supervisor]:
    supervisor = Supervisor(tmp_path, tmp_path / "crashes", isolation.probe(), groups=find(tmp_path))
    yield supervisor
    supervisor.hurry()
    await supervisor.stop_all()
    assert folders_of(supervisor.groups, tmp_path) == []


def spec(folder: Path, *argv: str, **more: object) -> ProcessSpec:
    values: dict[str, object] = {
        "name": "toy",
        "argv": argv,
        "environment": {"PATH": "/usr/bin:/bin"},
        "folder": folder,
        "log": folder / "toy.log",
        "bounds": BOUNDS,
    }
    return ProcessSpec(**{**values, **more})  # pyright: ignore[reportArgumentType]


def folders_of(groups: Groups, state: Path) -> list[Path]:
    return [one for place in groups.choice.places for one in place.base.glob(f"{prefix(state)}*")]


def numbers_in(folder: Path) -> set[int]:
    return {int(word) for word in (folder / PROCESSES).read_text().split()}


def counts_memory(groups: Groups) -> bool:
    """Whether a group made just now holds memory."""
    folders = groups.make("trial", 0, BOUNDS)
    file = memory_file(folders)
    end(folders)
    return file is not None


def is_told(groups: Groups) -> bool:
    """Whether something is missing here, and the reason is given to whoever asks."""
    return bool(groups.report().why_not)


async def test_who_takes_more_memory_than_it_may_ends_alone_and_the_cause_is_kept(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    beside = supervisor.start(spec(tmp_path, "sleep", "60", name="beside"))
    eater = spec(tmp_path, sys.executable, "-c", EATER)
    last = await supervisor.start(eater, restart=None).wait()
    assert last is not None and last.evidence is not None
    if counts_memory(supervisor.groups):
        assert last.status == -signal.SIGKILL
        assert last.cause == "by the kernel, for want of memory; with all that it starts it may hold 64 MiB"
        assert last.cause in last.evidence.read_text()
    else:
        assert (last.status, last.cause, is_told(supervisor.groups)) == (0, "", True)
        assert "ate" in eater.log.read_text()
    assert (beside.condition, beside.restarts) == ("running", 0)


async def test_the_end_of_a_process_is_that_of_all_it_started_and_of_its_group(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    toy = supervisor.start(spec(tmp_path, "sh", "-c", HIDER), restart=QUICK)
    folders = toy.groups
    if not folders:
        assert is_told(supervisor.groups)
        return
    await until(lambda: len(numbers_in(folders[0])) == 4)
    assert all(numbers_in(folder) == numbers_in(folders[0]) for folder in folders)
    before = [row for pid in numbers_in(folders[0]) if (row := processes.read(pid)) is not None]
    assert toy.pid is not None
    os.kill(toy.pid, signal.SIGKILL)
    await until(lambda: toy.restarts == 1)
    assert processes.wait_until_gone(before, 0) == ()
    assert not any(folder.exists() for folder in folders)
    assert set(toy.groups).isdisjoint(folders)


async def test_without_version_2_a_group_is_ended_process_by_process(tmp_path: Path) -> None:
    found = find(tmp_path).choice
    groups = Groups(tmp_path, Choice(tuple(one for one in found.places if one.version == 1)))
    folders = groups.make("toy", 1, BOUNDS)
    if not folders:
        assert groups.choice.places == () or is_told(groups)
        return
    with started(folders, "sh", "-c", HIDER) as process:
        await until(lambda: len(numbers_in(folders[0])) == 4)
        assert not end(folders).left
        assert process.wait(10) == -signal.SIGKILL
    assert not any(folder.exists() for folder in folders)


async def test_the_next_keeper_finds_the_group_and_ends_it(tmp_path: Path) -> None:
    handed = Handed(tmp_path)
    try:
        before = keeper(handed)
        toy = before.start(spec(tmp_path, "sh", "-c", HIDER), restart=QUICK)
        folders = toy.groups
        assert isinstance(before.driver, FirstProcess)
        before.driver.stands()
        handed.kill_keeper()
        after = await asyncio.to_thread(keeper, handed)
        assert after.groups.sweep([one.about.groups for one in after.kept]) == 0
        again = after.start(spec(tmp_path, "sh", "-c", HIDER), restart=QUICK)
        assert (again.pid, again.groups) == (toy.pid, folders)
        await again.stop()
        assert not any(folder.exists() for folder in folders)
        assert folders or is_told(after.groups)
    finally:
        await asyncio.to_thread(handed.close)
    assert processes.marked(processes.prefix(tmp_path)) == ()


async def test_what_a_killed_platform_left_is_ended_and_removed_by_the_next_start(tmp_path: Path) -> None:
    groups = find(tmp_path)
    left, known = groups.make("toy", 1, BOUNDS), groups.make("toy", 2, None)
    others = find(tmp_path / "other").make("toy", 1, None)
    try:
        with started(left, "sleep", "60") as process:
            await until(lambda: all(numbers_in(folder) for folder in left))
            assert groups.sweep([known]) == len(left)
            if left:
                assert process.wait(10) == -signal.SIGKILL
            process.kill()
        assert not any(folder.exists() for folder in left)
        assert all(folder.exists() for folder in (*known, *others))
        assert left or is_told(groups)
    finally:
        end((*left, *known, *others))


async def test_groups_of_a_platform_that_never_came_back_go_once_they_are_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = find(tmp_path / "other")
    empty, used = other.make("toy", 1, None), other.make("toy", 2, None)
    with started(used, "sleep", "60") as process:
        try:
            await until(lambda: all(numbers_in(folder) for folder in used))
            monkeypatch.setattr(made, "_OLD_SECONDS", -1.0)
            monkeypatch.setattr("troth.hosting.cgroups.places._FIRST", f"{prefix(tmp_path / 'other')}")
            find(tmp_path).sweep()
            assert not any(folder.exists() for folder in empty)
            assert all(folder.exists() for folder in used)
        finally:
            process.kill()
            end((*empty, *used))


def test_a_process_that_cannot_enter_its_group_does_not_start(tmp_path: Path) -> None:
    argv = entering((tmp_path / "nowhere",), ("touch", str(tmp_path / "started")))
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode == 125
    assert not (tmp_path / "started").exists()


def test_where_a_process_is_kept_out_of_its_group_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal(find(tmp_path)) == ""
    monkeypatch.setattr(made, "PROCESSES", "nobody/enters")
    lets_make = Groups(tmp_path, Choice((Place(tmp_path, 2, ()),)))
    assert refusal(lets_make).startswith("a process cannot be put into a group: ")
    assert list(tmp_path.iterdir()) == []


def test_a_group_that_is_refused_leaves_nothing_and_the_process_runs_without(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "cgroup.procs").touch()
    lacks = Groups(tmp_path, Choice((Place(base, 1, ("pids",)), Place(tmp_path / "none", 1, ("memory",)))))
    assert lacks.make("toy", 1, None) == ()
    assert lacks.report().why_not == "the last one was refused: No such file or directory"
    assert [one.name for one in base.iterdir()] == ["cgroup.procs"]


async def test_the_memory_of_a_group_is_that_of_all_in_it(supervisor: Supervisor, tmp_path: Path) -> None:
    command = "sleep 61 & exec " + sys.executable + " -c \"held = b'x' * (24 << 20); input()\" < fifo"
    os.mkfifo(tmp_path / "fifo")
    toy = supervisor.start(spec(tmp_path, "sh", "-c", command))
    reading = os.open(tmp_path / "fifo", os.O_RDWR)
    try:
        file = memory_file(toy.groups)
        if file is None:
            assert is_told(supervisor.groups)
        else:
            await until(lambda: held_memory(file.read_text()) > 24 << 20)
            assert held_memory(file.read_text()) < BOUNDS.memory
    finally:
        os.close(reading)


def test_a_group_is_divided_once_nobody_is_in_it_but_in_a_leaf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel refuses controllers below a group that holds a process (EBUSY); so does this folder."""
    tried: list[str] = []

    def enable(base: Path, _: object) -> bool:
        moved = (base / leaf_of(tmp_path) / PROCESSES).exists()
        tried.append("moved" if moved else "there")
        return moved and not stays

    monkeypatch.setattr(made, "_enable", enable)
    stays = False
    assert divide(tmp_path, tmp_path, leaf_of(tmp_path), ("memory",))
    assert tried == ["there", "moved"]
    (tmp_path / leaf_of(tmp_path) / PROCESSES).unlink()
    stays = True
    assert not divide(tmp_path, tmp_path, leaf_of(tmp_path), ("memory",))
    assert (tmp_path / PROCESSES).read_text() == "0", "back where it was, for others are there too"
    assert not divide(tmp_path, tmp_path / "supervisor", leaf_of(tmp_path), ("memory",))


def started(folders: Folders, *argv: str) -> "subprocess.Popen[bytes]":
    """What a test ends itself."""
    return subprocess.Popen(entering(folders, argv))


def keeper(handed: Handed) -> Supervisor:
    groups, first = find(handed.folder), handed.take()
    crashes = handed.folder / "crashes"
    return Supervisor(handed.folder, crashes, isolation.probe(), driver=first, groups=groups)
