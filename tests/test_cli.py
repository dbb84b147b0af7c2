"""The command line with real processes: what it starts, it ends, however it is ended itself."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from troth.cli.administration import ask_platform
from troth.cli.status import relative
from troth.core.errors import PlatformError
from troth.core.state import open_state
from troth.hosting import isolation, processes
from troth.hosting.control import NotRunning
from troth.hosting.lock import take

TROTH = (sys.executable, "-I", str(Path(__file__).parent / "support" / "toy_troth.py"))
NEEDS_NAMESPACE = pytest.mark.skipif(
    not isolation.probe().pid_namespace, reason="this machine forbids PID namespaces"
)
MODES = [
    pytest.param((), id="namespace", marks=NEEDS_NAMESPACE),
    pytest.param(("descendants",), id="descendants"),
]


class Platform:
    """A state folder and the commands on it."""

    def __init__(self, folder: Path, mode: tuple[str, ...]) -> None:
        self.state = folder / "state"
        self.config = folder / "toy.toml"
        self.config.write_text("fine\n")
        self._mode = mode
        self._opened: list[subprocess.Popen[str]] = []

    def argv(self, *arguments: str) -> tuple[str, ...]:
        config = ("--config", str(self.config)) if arguments[0] == "up" else ()
        return (*TROTH, *self._mode, *arguments, *config, "--state", str(self.state))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*arguments), capture_output=True, text=True, timeout=60, check=False, env=environment()
        )

    def open(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.argv(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
        )
        self._opened.append(process)
        return process

    def running(self) -> tuple[processes.Process, ...]:
        return processes.leftovers(self.state)

    def close(self) -> None:
        for process in self._opened:
            process.kill()
            process.communicate()
        processes.end(self.running())


def environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "A_SECRET": "of another program", "COLUMNS": "120"}


def read_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    pytest.fail(f"{words!r} never came:\n{seen}")


@pytest.fixture(params=MODES)
def platform(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Platform]:
    platform = Platform(tmp_path, request.param)
    yield platform
    platform.close()


@pytest.fixture
def plain(tmp_path: Path) -> Generator[Platform]:
    platform = Platform(tmp_path, ())
    yield platform
    platform.close()


def test_down_leaves_no_process(platform: Platform) -> None:
    assert platform.run("up", "--detach").returncode == 0
    assert len(platform.running()) >= 6
    down = platform.run("down")
    assert (down.returncode, platform.running()) == (0, ())
    assert "Every process has ended" in down.stdout


def test_a_killed_command_leaves_no_process(platform: Platform) -> None:
    up = platform.open("up")
    read_until(up, "Ctrl-C stops everything")
    seen = platform.running()
    assert len(seen) >= 6
    up.kill()
    assert processes.wait_until_gone(seen, 5.0) == ()
    assert platform.running() == ()


def test_a_killed_keeper_is_started_again_and_takes_over_what_runs(platform: Platform) -> None:
    up = platform.open("up")
    read_until(up, "Ctrl-C stops everything")
    before = platform.running()
    keeper = keeper_of(before)
    processes.send(keeper, signal.SIGKILL)
    assert json.loads(platform.run("status", "--json").stdout)["condition"] != "stopped"
    assert "taken over 3 processes" in read_until(up, "taken over")
    # By number and start: a toy that hides was perhaps on its way to a session of its own.
    assert lives(row for row in before if row != keeper) < lives(platform.running())
    status = json.loads(platform.run("status", "--json").stdout)
    assert (status["condition"], status["taken_over"]) == ("ready", 3)
    kept = {(one["name"], one["restarts"]) for one in status["processes"]}
    assert kept == {("sleeper", 0), ("hider", 0), ("stubborn", 0)}

    sleeper = next(row for row in platform.running() if "|sleeper|" in processes.mark_of(row))
    processes.send(sleeper, signal.SIGKILL)
    until(lambda: status_of(platform, "sleeper").get("restarts") == 1)
    down = platform.run("down")
    assert (down.returncode, platform.running()) == (0, ())
    assert up.wait(10) == 0


def test_a_verb_says_that_the_keeper_is_being_started(tmp_path: Path) -> None:
    state = open_state(tmp_path / "state")
    with take(state), pytest.raises(PlatformError, match="being started"):
        ask_platform(state.root, "deploy.progress")
    with pytest.raises(NotRunning):
        ask_platform(state.root, "deploy.progress")


def lives(rows: Iterable[processes.Process]) -> set[tuple[int, int]]:
    return {(row.pid, row.started) for row in rows}


def keeper_of(seen: tuple[processes.Process, ...]) -> processes.Process:
    return next(row for row in seen if is_keeper(row))


def is_keeper(row: processes.Process) -> bool:
    """Not the first process, whose command line ends with the keeper's."""
    command = command_of(row)
    return "toy_platform" in command and "init.py" not in command and "setpriv" not in command


def status_of(platform: Platform, name: str) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(platform.run("status", "--json").stdout)
    kept: list[dict[str, Any]] = status.get("processes", [])
    nothing: dict[str, Any] = {}
    return next((one for one in kept if one["name"] == name), nothing)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def command_of(row: processes.Process) -> str:
    return command_of_number(row.pid)


def command_of_number(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize(
    ("instant", "words"),
    [
        ("2026-11-23T15:59:48.5Z", "11 s ago"),
        ("2026-11-23T15:57:59Z", "2 min ago"),
        ("2026-11-24T15:30:00+00:00", "in 23 h"),
        ("2026-12-23T16:00:00Z", "in 30 d"),
        ("member-1", "member-1"),
    ],
)
def test_instants_are_shown_as_people_say_them(instant: str, words: str) -> None:
    assert relative(instant, datetime(2026, 11, 23, 16, tzinfo=UTC)) == words


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_stops_everything_and_shows_it(plain: Platform, number: signal.Signals) -> None:
    up = plain.open("up")
    read_until(up, "Ctrl-C stops everything")
    seen = plain.running()
    up.send_signal(number)
    rest = read_until(up, "Every process has ended")
    assert "The first thing stopped" in rest
    assert up.wait(10) == 0
    assert processes.wait_until_gone(seen, 0) == ()


def test_ctrl_c_while_starting_stops_everything(platform: Platform) -> None:
    platform.config.write_text("stuck\n")
    up = platform.open("up")
    read_until(up, "The first thing")
    up.send_signal(signal.SIGINT)
    assert up.wait(10) == 0
    assert platform.running() == ()


def test_a_third_ctrl_c_waits_for_nobody(plain: Platform) -> None:
    up = plain.open("up")
    read_until(up, "Ctrl-C stops everything")
    for _ in range(3):
        up.send_signal(signal.SIGINT)
    up.wait(5)
    assert plain.running() == ()


def test_a_second_up_says_that_it_runs_already(plain: Platform) -> None:
    plain.run("up", "--detach")
    before = plain.running()
    again = plain.run("up")
    assert again.returncode == 0
    assert "Toy runs already" in again.stdout
    assert "https://toy.localhost:8443" in again.stdout
    assert {row.pid for row in plain.running()} == {row.pid for row in before}


def test_two_at_once_make_one_platform(plain: Platform) -> None:
    first, second = plain.open("up", "--detach"), plain.open("up", "--detach")
    outputs = [first.communicate(timeout=60)[0], second.communicate(timeout=60)[0]]
    assert [first.returncode, second.returncode] == [0, 0]
    assert sum("already" in text for text in outputs) == 1


def test_a_killed_first_process_leaves_no_process(platform: Platform) -> None:
    platform.run("up", "--detach")
    seen = platform.running()
    first = [row for row in seen if "init.py" in command_of(row)]
    processes.send(first[-1], signal.SIGKILL)
    assert processes.wait_until_gone(seen, 5.0) == ()
    assert platform.running() == ()


def test_what_a_killed_platform_left_is_ended_by_the_next(tmp_path: Path) -> None:
    """Where namespaces are forbidden, killing first process and keeper together lets a daemon escape."""
    platform = Platform(tmp_path, ("descendants",))
    platform.run("up", "--detach")
    seen = platform.running()
    first = next(row for row in seen if "init.py" in command_of(row))
    keeper = keeper_of(seen)
    for row, number in ((keeper, signal.SIGSTOP), (first, signal.SIGKILL), (keeper, signal.SIGKILL)):
        processes.send(row, number)
    assert processes.wait_until_gone([first, keeper], 5.0) == ()
    left = {row.pid for row in platform.running()}
    assert left
    again = platform.run("up", "--detach")
    assert "that an earlier platform left behind" in again.stdout
    assert again.returncode == 0
    assert left.isdisjoint(row.pid for row in platform.running())
    platform.run("down")
    assert platform.running() == ()


def test_status_is_0_only_while_it_is_up(plain: Platform) -> None:
    assert plain.run("status", "--json").returncode == 1
    plain.run("up", "--detach")
    status = plain.run("status", "--json")
    answer: dict[str, Any] = json.loads(status.stdout)
    assert status.returncode == 0
    assert (answer["ready"], answer["members"]) == (True, [{"name": "a", "role": "leader"}])
    numbers = {row["name"]: row["pid"] for row in answer["processes"]}
    assert "sleep" in command_of_number(numbers["sleeper"]), "the number as it is here, not in the namespace"
    assert "Members" in plain.run("status").stdout
    plain.run("down")
    stopped = plain.run("status", "--json")
    assert (stopped.returncode, json.loads(stopped.stdout)["ready"]) == (1, False)


def test_a_wrong_configuration_names_the_place_and_leaves_status_2(plain: Platform) -> None:
    plain.config.write_text("wrong\n")
    up = plain.run("up")
    assert up.returncode == 2
    assert f"{plain.config}:1: word" in up.stderr
    assert "Write another." in up.stderr
    assert "Traceback" not in up.stderr
    assert plain.running() == ()


def test_a_step_that_fails_takes_the_others_down(plain: Platform) -> None:
    plain.config.write_text("failing\n")
    up = plain.run("up")
    assert (up.returncode, plain.running()) == (2, ())
    assert "The second step cannot be." in up.stderr


def test_a_missing_configuration_is_wrong_usage(plain: Platform) -> None:
    plain.config.unlink()
    up = plain.run("up")
    assert up.returncode == 2
    assert "--config" in up.stderr
    assert not plain.state.exists()


def test_the_environment_of_a_person_reaches_no_process(plain: Platform) -> None:
    plain.run("up", "--detach")
    for row in plain.running():
        assert b"A_SECRET" not in Path(f"/proc/{row.pid}/environ").read_bytes()


def test_logs_show_one_process_and_refuse_a_name_that_is_none(plain: Platform) -> None:
    plain.run("up", "--detach")
    logs = plain.run("logs", "keeper", "-n", "1000")
    assert "everything stands after" in logs.stdout
    wrong = plain.run("logs", "nothing")
    assert wrong.returncode == 2
    assert "keeper" in wrong.stderr


def test_an_escape_sequence_in_a_log_does_not_reach_the_terminal(plain: Platform) -> None:
    (plain.state / "logs").mkdir(parents=True)
    (plain.state / "logs" / "app-1.log").write_bytes(b"\x1b]0;owned\x07 hello\n")
    assert "\x1b]0" not in plain.run("logs", "app").stdout


def test_logs_show_every_line_of_one_request(plain: Platform) -> None:
    logs = plain.state / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    number = "0b7a1c52-3c1e-4f0f-9a55-6f2d0d1f7a11"
    (logs / "access.log").write_text(f'{{"uuid":"{number}","status":500}}\n{{"uuid":"another"}}\n')
    rolled = logs / "access-2026-11-25T12-00-00.000.log.gz"
    rolled.write_bytes(gzip.compress(f'{{"uuid":"{number}","rolled":1}}\n'.encode()))
    (logs / "web-1.log").write_text("later\n")
    (logs / "web-1.log.1").write_text(f"ERROR [{number}] the leader is gone\nelse\n")
    shown = plain.run("logs", "--request", number)
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["access", "access", "web-1"]
    assert "the leader is gone" in shown.stdout and "another" not in shown.stdout
    assert plain.run("logs", "--request", "0b7a1c52-0000").returncode == 1


def test_a_broken_promise_makes_the_factsheet_leave_status_1(plain: Platform) -> None:
    plain.run("up", "--detach")
    sheet = plain.run("factsheet", "--json")
    assert (sheet.returncode, json.loads(sheet.stdout)["platform"]) == (1, "Toy")
    assert "broken" in plain.run("factsheet").stdout
