"""Processes that end are started again; processes that are stopped leave nothing behind."""

import asyncio
import os
import signal
import stat
from collections.abc import AsyncGenerator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from support.waiting import until
from troth.core.errors import ConfigError, PlatformError
from troth.core.process import ProcessSpec
from troth.hosting import isolation, processes
from troth.hosting.backoff import Restart, delay, failures_after
from troth.hosting.crashes import Exit, bound_log, keep_crash, tail
from troth.hosting.supervisor import Supervised, Supervisor

QUICK = Restart(first=0.01, longest=0.05)
HIDER = "setsid sh -c 'setsid sleep 3601 & sleep 3602' & exec sleep 3603"


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncGenerator[Supervisor]:
    supervisor = Supervisor(tmp_path, tmp_path / "crashes", isolation.probe())
    yield supervisor
    supervisor.hurry()
    await supervisor.stop_all()
    assert processes.marked(processes.prefix(tmp_path)) == ()


def spec(folder: Path, command: str, **more: object) -> ProcessSpec:
    values: dict[str, object] = {
        "name": "toy",
        "argv": ("sh", "-c", command),
        "environment": {"PATH": "/usr/bin:/bin"},
        "folder": folder,
        "log": folder / "toy.log",
    }
    return ProcessSpec(**{**values, **more})  # pyright: ignore[reportArgumentType]


def own(supervisor: Supervisor, folder: Path) -> tuple[processes.Process, ...]:
    return processes.marked(processes.prefix(folder))


async def test_a_killed_process_is_started_again_and_its_end_is_kept(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    exits: list[Exit] = []
    toy = supervisor.start(
        spec(tmp_path, "echo last words; exec sleep 60"), restart=QUICK, on_exit=exits.append
    )
    await until(lambda: (tmp_path / "toy.log").read_bytes() == b"last words\n")
    first = toy.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: toy.pid not in (None, first))
    assert (exits[0].status, exits[0].asked, toy.restarts) == (-signal.SIGKILL, False, 1)
    evidence = exits[0].evidence
    assert evidence is not None
    assert "SIGKILL" in evidence.read_text()
    assert "last words" in evidence.read_text()
    assert stat.S_IMODE(evidence.stat().st_mode) == 0o600


async def test_what_a_dead_process_left_behind_is_ended_before_it_starts_again(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    toy = supervisor.start(spec(tmp_path, HIDER), restart=QUICK)
    await until(lambda: len(own(supervisor, tmp_path)) == 4)
    before = own(supervisor, tmp_path)
    assert toy.pid is not None
    os.kill(toy.pid, signal.SIGKILL)
    await until(lambda: toy.restarts == 1)
    assert processes.wait_until_gone(before, 0) == ()


async def test_a_stop_ends_the_children_that_hide_in_other_sessions(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    toy = supervisor.start(spec(tmp_path, HIDER))
    await until(lambda: len(own(supervisor, tmp_path)) == 4)
    await toy.stop()
    assert own(supervisor, tmp_path) == ()
    assert (toy.condition, supervisor.views()) == ("stopped", ())


async def test_a_process_that_ignores_sigterm_is_killed_after_its_time(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    stubborn = "trap '' TERM; echo up; while :; do sleep 1; done"
    toy = supervisor.start(spec(tmp_path, stubborn, stop_seconds=0.2))
    await until(lambda: (tmp_path / "toy.log").read_bytes() == b"up\n")
    await toy.stop()
    assert toy.last_exit is not None
    assert (toy.last_exit.status, toy.last_exit.asked) == (-signal.SIGKILL, True)


async def test_a_hurried_stop_does_not_wait(supervisor: Supervisor, tmp_path: Path) -> None:
    stubborn = "trap '' TERM; echo up; while :; do sleep 1; done"
    toy = supervisor.start(spec(tmp_path, stubborn, stop_seconds=60.0))
    await until(lambda: (tmp_path / "toy.log").read_bytes() == b"up\n")
    stopping = asyncio.create_task(toy.stop())
    supervisor.hurry()
    await asyncio.wait_for(stopping, 30.0)


async def test_a_process_that_keeps_failing_is_waited_for_longer_each_time(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    exits: list[Exit] = []
    supervisor.start(
        spec(tmp_path, "exit 3"), restart=Restart(first=0.3, longest=9, jitter=0), on_exit=exits.append
    )
    await until(lambda: len(exits) == 4)
    gaps = [(after.at - before.at).total_seconds() for before, after in pairwise(exits)]
    assert [gap > least for gap, least in zip(gaps, (0.3, 0.6, 1.2), strict=True)] == [True] * 3
    assert {end.status for end in exits} == {3}
    assert supervisor.views()[0].last_exit == "left with status 3"


async def test_a_process_started_once_is_not_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    toy = supervisor.start(spec(tmp_path, "exit 0"), restart=None)
    end = await asyncio.wait_for(toy.wait(), 5.0)
    assert end is not None
    assert end.status == 0


async def test_a_program_that_vanishes_is_tried_again(supervisor: Supervisor, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o700)
    toy = supervisor.start(spec(tmp_path, "", argv=(str(program),)), restart=QUICK)
    program.rename(tmp_path / "elsewhere")
    assert toy.pid is not None
    os.kill(toy.pid, signal.SIGKILL)
    await until(lambda: toy.restarts >= 2)
    (tmp_path / "elsewhere").rename(program)
    await until(lambda: toy.condition == "running")


async def test_a_missing_program_is_named(supervisor: Supervisor, tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="no-such-program"):
        supervisor.start(spec(tmp_path, "", argv=("no-such-program",)))


async def test_a_child_has_exactly_the_environment_it_was_given(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    toy = supervisor.start(spec(tmp_path, "exec sleep 60", environment={"PATH": "/usr/bin:/bin", "A": "b"}))
    await until(lambda: comm(toy) == "sleep")
    names = {entry.partition("=")[0] for entry in seen(toy, "environ").split("\0") if entry}
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH", "A", processes.MARK}


async def test_a_child_can_gain_no_privileges_and_opens_files_for_itself_alone(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    toy = supervisor.start(spec(tmp_path, "touch made; exec sleep 60"))
    await until(lambda: comm(toy) == "sleep")
    assert "NoNewPrivs:\t1" in seen(toy, "status")
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o600
    assert os.readlink(f"/proc/{toy.pid}/fd/0") == os.devnull  # noqa: PTH115
    assert set(os.listdir(f"/proc/{toy.pid}/fd")) == {"0", "1", "2"}  # noqa: PTH208


def seen(toy: Supervised, name: str) -> str:
    return Path(f"/proc/{toy.pid}/{name}").read_text()


def comm(toy: Supervised) -> str:
    return seen(toy, "comm").strip() if toy.pid else ""


@pytest.mark.skipif(not isolation.probe().bounding, reason="needs root")
async def test_as_root_a_process_keeps_no_capability_but_those_it_was_given(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    plain = supervisor.start(spec(tmp_path, "exec sleep 60"))
    edge = supervisor.start(spec(tmp_path, "exec sleep 60", capabilities=("net_bind_service",)))
    await until(lambda: comm(plain) == comm(edge) == "sleep")
    dac_read_search, net_bind_service = 1 << 2, 1 << 10
    for toy, wanted in ((plain, dac_read_search), (edge, dac_read_search | net_bind_service)):
        lines = (line.split() for line in seen(toy, "status").splitlines() if line.startswith("Cap"))
        held = {name: int(value, 16) for name, value in lines}
        assert (held["CapEff:"], held["CapPrm:"], held["CapBnd:"]) == (wanted, wanted, wanted)
        assert (held["CapInh:"], held["CapAmb:"]) == (0, 0)


def test_where_capabilities_cannot_be_bounded_nothing_is_asked_of_setpriv() -> None:
    machine = isolation.Machine(root=False, pid_namespace=True, user_namespace=False)
    assert isolation.bounded(machine, ("net_bind_service",), ("caddy",)) == isolation.guard(("caddy",))


@pytest.mark.skipif(not isolation.probe().user_namespace, reason="needs root and user namespaces")
async def test_as_root_another_user_runs_what_refuses_root(supervisor: Supervisor, tmp_path: Path) -> None:
    toy = supervisor.start(spec(tmp_path, "id -u", as_other_user=True), restart=None)
    await asyncio.wait_for(toy.wait(), 5.0)
    assert (tmp_path / "toy.log").read_text() == f"{isolation.OTHER_USER}\n"


def test_where_namespaces_are_forbidden_root_is_told_to_become_a_user() -> None:
    machine = isolation.Machine(root=True, pid_namespace=False, user_namespace=False)
    with pytest.raises(ConfigError) as caught:
        isolation.as_other_user(machine, ("postgres",))
    assert "normal user" in caught.value.hint


def test_a_user_needs_no_other_user() -> None:
    machine = isolation.Machine(root=False, pid_namespace=True, user_namespace=False)
    assert isolation.as_other_user(machine, ("postgres",)) == ("postgres",)
    assert "--map-current-user" in isolation.contain(machine, ("init",))


def test_a_wait_doubles_up_to_its_bound_and_a_steady_minute_forgets() -> None:
    restart = Restart(first=1.0, longest=8.0, steady=60.0, jitter=0.0)
    assert [delay(restart, failures, lambda: 0.5) for failures in range(1, 7)] == [1, 2, 4, 8, 8, 8]
    assert failures_after(restart, 5, uptime=59.9) == 6
    assert failures_after(restart, 5, uptime=60.0) == 1


def test_jitter_shortens_a_wait_by_its_share_at_most() -> None:
    restart = Restart(first=1.0, jitter=0.3)
    assert delay(restart, 1, lambda: 0.0) == 1.0
    assert delay(restart, 1, lambda: 1.0) == pytest.approx(0.7)


def test_a_log_that_has_grown_too_large_moves_away_under_its_writer(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)
        assert not bound_log(log, limit=1000)
        assert bound_log(log, limit=300)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    older = tmp_path / "app.log.1"
    assert older.stat().st_size <= 300
    assert stat.S_IMODE(older.stat().st_mode) == 0o600


def test_a_log_is_cut_even_where_the_disk_has_no_room_for_what_it_held(tmp_path: Path) -> None:
    log, older = tmp_path / "app.log", tmp_path / "app.log.1"
    log.write_bytes(b"old\n" * 100)
    older.symlink_to("/dev/full")
    assert bound_log(log, limit=300)
    assert log.read_bytes() == b""
    assert not older.is_symlink()


def test_a_tail_begins_with_a_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"first line\nsecond line\n")
    assert tail(log, 15) == b"second line\n"
    assert tail(log, 1000) == b"first line\nsecond line\n"
    assert tail(tmp_path / "none.log", 10) == b""


def test_only_so_many_crashes_are_kept(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    toy = spec(tmp_path, "exit 1")
    start = datetime(2026, 11, 23, tzinfo=UTC)
    for number in range(25):
        at = start + timedelta(seconds=number)
        end = Exit(name="toy", pid=1, status=1, uptime=1.0, at=at, asked=False)
        keep_crash(tmp_path / "crashes", toy, end)
    kept = sorted(path.name for path in (tmp_path / "crashes").iterdir())
    assert len(kept) == 20
    assert "000024" in kept[-1]


def test_the_evidence_has_what_a_process_wrote_into_a_log_of_its_own(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    toy = msgspec.structs.replace(spec(tmp_path, "exit 1"), own_log=tmp_path / "own.log")
    toy.log.parent.mkdir(exist_ok=True)
    toy.log.write_text("at its start\n")
    (tmp_path / "own.log").write_text("address already in use\n")
    end = Exit(name="toy", pid=1, status=1, uptime=1.0, at=datetime(2026, 11, 26, tzinfo=UTC), asked=False)
    evidence = keep_crash(tmp_path / "crashes", toy, end).read_text()
    assert "at its start" in evidence and "address already in use" in evidence


def test_a_signal_never_reaches_a_process_that_took_over_a_number() -> None:
    me = processes.read(os.getpid())
    assert me is not None
    another = processes.Process(me.pid, me.parent, me.group, me.started + 1)
    assert processes.send(another, signal.SIGKILL) is False
