"""The first process: nothing outlives it."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from troth.hosting import init, isolation, processes

ORPHANS = "setsid sh -c 'setsid sleep 3601 & sleep 3602' & "
NAMESPACE = isolation.probe().pid_namespace


class First:
    """A first process with a shell for a keeper, marked so that a test can find everything below it."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self._kind = folder, kind
        self._lifeline: int | None = None
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, command: str, lifeline: bool = False) -> subprocess.Popen[bytes]:
        machine = isolation.probe()
        if self._kind == "alone":
            machine = isolation.Machine(root=machine.root, pid_namespace=False, user_namespace=False)
        reader, self._lifeline = os.pipe()
        life = "lifeline" if lifeline else "-"
        keeper = ("/bin/sh", "-c", command)
        argv = (sys.executable, "-I", "-S", str(Path(init.__file__)), self._kind, life, *keeper)
        mark = {processes.MARK: processes.mark(self.folder, "first", 0)}
        process = subprocess.Popen(
            isolation.contain(machine, argv),
            stdin=reader,
            stdout=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", **mark},
            start_new_session=True,
        )
        os.close(reader)
        self._started.append(process)
        return process

    def say(self, text: bytes) -> None:
        assert self._lifeline is not None
        os.write(self._lifeline, text)

    def let_go(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
        self._lifeline = None

    def close(self) -> None:
        self.let_go()
        processes.end(self.below())
        for process in self._started:
            process.communicate(timeout=10)

    def below(self) -> tuple[processes.Process, ...]:
        return processes.marked(processes.prefix(self.folder))


@pytest.fixture(
    params=[
        pytest.param("contained", marks=pytest.mark.skipif(not NAMESPACE, reason="no PID namespaces")),
        "alone",
    ]
)
def first(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[First]:
    first = First(tmp_path, request.param)
    yield first
    first.close()


def read_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def finish(process: subprocess.Popen[bytes]) -> int:
    process.communicate(timeout=10)
    return process.returncode


def test_an_orphan_in_a_session_of_its_own_ends_with_the_keeper(first: First) -> None:
    process = first.start(ORPHANS + "sleep 0.2; exit 0")
    assert finish(process) == 0
    assert first.below() == ()


def test_the_keepers_status_is_passed_on(first: First) -> None:
    assert finish(first.start("exit 7")) == 7


def test_a_keeper_ended_by_a_signal_gives_128_and_its_number(first: First) -> None:
    assert finish(first.start("kill -9 $$")) == 128 + signal.SIGKILL


def test_a_byte_on_the_lifeline_asks_the_keeper_to_stop(first: First) -> None:
    process = first.start("trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done", lifeline=True)
    assert read_line(process) == b"up\n"
    first.say(b"T")
    assert finish(process) == 5


def test_the_end_of_the_lifeline_ends_everything_at_once(first: First) -> None:
    process = first.start(
        ORPHANS + "trap '' TERM; sleep 0.3; echo up; while :; do sleep 1; done", lifeline=True
    )
    assert read_line(process) == b"up\n"
    seen, began = first.below(), time.monotonic()
    assert len(seen) >= 4
    first.let_go()
    assert finish(process) == 128 + signal.SIGKILL
    assert processes.wait_until_gone(seen, 10.0) == ()
    assert time.monotonic() - began < 30.0


def test_a_signal_is_passed_on_to_the_keeper(tmp_path: Path) -> None:
    first = First(tmp_path, "alone")
    process = first.start("trap 'exit 6' TERM; echo up; while :; do sleep 0.05; done")
    assert read_line(process) == b"up\n"
    process.send_signal(signal.SIGINT)
    assert finish(process) == 6
    first.close()


def test_orphans_are_reaped_while_the_keeper_lives(first: First) -> None:
    process = first.start("(sleep 0.1 &) ; (sleep 0.1 &) ; echo up; sleep 0.6; exit 0")
    assert read_line(process) == b"up\n"
    time.sleep(0.4)
    assert zombies_below(first) == []
    finish(process)


def zombies_below(first: First) -> list[int]:
    """/proc/PID/stat shows Z for the dead that nobody reaped."""
    above = {row.pid for row in first.below()}
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state == "Z" and int(parent) in above:
                found.append(int(entry.name))
    return found


def test_it_refuses_to_signal_everything_outside_a_namespace() -> None:
    script = str(Path(init.__file__))
    done = subprocess.run(
        (sys.executable, "-I", "-S", script, "contained", "-", "/bin/true"), capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"PID namespace" in done.stderr


def test_no_process_of_the_platform_may_dump_its_memory(first: First) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    process = first.start("ulimit -S -c; ulimit -H -c")
    assert process.communicate(timeout=10)[0].split() == [b"0", b"0"]
