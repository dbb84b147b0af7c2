"""Whether processes run, and word of their end."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.waiting import until
from troth.hosting import processes
from troth.hosting.motion import EndWatch, activity, family, working_in
from troth.hosting.processes import Process

_SPIN = "while True: pass"


@pytest.fixture
def spinning() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", _SPIN]) as process:
        yield process
        process.kill()


def _read(pid: int) -> Process:
    found = processes.read(pid)
    assert found is not None
    return found


async def test_a_process_that_runs_is_told_from_one_that_is_held(spinning: subprocess.Popen[bytes]) -> None:
    before = activity(family(spinning.pid))
    await until(lambda: activity(family(spinning.pid)).counts != before.counts)
    os.kill(spinning.pid, signal.SIGSTOP)
    await until(lambda: activity(family(spinning.pid)).stopped)
    held = activity(family(spinning.pid))
    assert not held.waiting
    await asyncio.sleep(0.1)
    assert activity(family(spinning.pid)) == held


async def test_the_end_of_a_process_is_told_once(spinning: subprocess.Popen[bytes]) -> None:
    ended: list[int] = []
    EndWatch(_read(spinning.pid), lambda: ended.append(spinning.pid))
    spinning.kill()
    await until(lambda: bool(ended))
    await asyncio.sleep(0.05)
    assert ended == [spinning.pid]


async def test_a_number_that_belongs_to_another_by_now_is_not_watched(
    spinning: subprocess.Popen[bytes],
) -> None:
    real = _read(spinning.pid)
    with pytest.raises(ProcessLookupError):
        EndWatch(Process(real.pid, real.parent, real.group, real.started - 1), lambda: None)


def test_processes_are_found_by_the_folder_that_they_stand_in(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "30"], cwd=tmp_path) as inside, subprocess.Popen(["sleep", "30"]) as out:
        found = {one.pid for one in working_in(tmp_path)}
        inside.kill()
        out.kill()
    assert inside.pid in found
    assert out.pid not in found
