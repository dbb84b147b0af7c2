"""A process as /proc shows it, read again and again from files that stay open."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from support.waiting import until
from troth.hosting.reading import Reading

BUSY = "import os; os.dup(0); held = bytearray(64 << 20); print(flush=True)\nwhile True: pass"


@pytest.fixture
def child() -> "Generator[subprocess.Popen[bytes]]":
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


async def test_work_and_memory_of_a_process_are_seen(child: "subprocess.Popen[bytes]") -> None:
    reading = Reading(child.pid)
    before = reading.thread()
    assert before is not None

    def has_worked() -> bool:
        now = reading.thread()
        return now is not None and now.worked > before.worked

    await until(has_worked)
    assert 64 << 20 <= reading.own_memory() < 256 << 20
    reading.close()


def test_descriptors_are_counted_against_their_limit(child: "subprocess.Popen[bytes]") -> None:
    reading = Reading(child.pid)
    there = len(list(Path(f"/proc/{child.pid}/fd").iterdir()))
    assert reading.descriptors() == (there, os.sysconf("SC_OPEN_MAX"))
    reading.close()


async def test_a_process_that_a_signal_holds_is_told_from_one_that_works(
    child: "subprocess.Popen[bytes]",
) -> None:
    reading = Reading(child.pid)
    assert not reading.is_held()
    child.send_signal(signal.SIGSTOP)
    await until(reading.is_held)
    child.send_signal(signal.SIGCONT)
    await until(lambda: not reading.is_held())
    reading.close()


def test_of_a_process_that_has_ended_nothing_is_read_whoever_has_its_number_by_then(
    child: "subprocess.Popen[bytes]",
) -> None:
    reading = Reading(child.pid)
    assert reading.thread() is not None and reading.own_memory() > 0
    child.kill()
    child.wait()
    reading.pid = os.getpid()  # as if the number were another's now
    assert (reading.thread(), reading.own_memory(), reading.is_held()) == (None, 0, False)
    reading.close()
