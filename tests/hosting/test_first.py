"""The first process as a driver: what it starts outlives the keeper, and the next one takes it over."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.first import Handed
from support.waiting import until
from troth.core.errors import PlatformError
from troth.core.process import Endpoint, ProcessSpec
from troth.hosting import init, isolation, processes
from troth.hosting.backoff import Restart
from troth.hosting.crashes import Exit
from troth.hosting.first import FirstProcess
from troth.hosting.instance import Prepared, Release, note_of
from troth.hosting.instances import Fleet
from troth.hosting.offspring import Silence, Standing
from troth.hosting.supervisor import Supervised, Supervisor

QUICK = Restart(first=0.01, longest=0.05)
HIDER = "setsid sh -c 'setsid sleep 3601 & sleep 3602' & exec sleep 3603"


@pytest.fixture
async def handed(tmp_path: Path) -> AsyncGenerator[Handed]:
    handed = Handed(tmp_path)
    yield handed
    await asyncio.to_thread(handed.close)
    assert processes.marked(processes.prefix(tmp_path)) == ()


def keeper(handed: Handed, seconds: float = 10.0) -> Supervisor:
    """Another keeper, with what it is given."""
    first = handed.take(seconds)
    return Supervisor(handed.folder, handed.folder / "crashes", isolation.probe(), driver=first)


def stands(supervisor: Supervisor) -> None:
    assert isinstance(supervisor.driver, FirstProcess)
    supervisor.driver.stands()


def spec(folder: Path, command: str, **more: object) -> ProcessSpec:
    values: dict[str, object] = {
        "name": "toy",
        "argv": ("sh", "-c", command),
        "environment": {"PATH": "/usr/bin:/bin", "A": "b=c"},
        "folder": folder,
        "log": folder / "toy.log",
    }
    return ProcessSpec(**{**values, **more})  # pyright: ignore[reportArgumentType]


async def test_a_process_is_the_first_processs_child_and_gets_what_it_was_given_alone(handed: Handed) -> None:
    supervisor = keeper(handed)
    toy = supervisor.start(spec(handed.folder, "echo said; touch made; exec sleep 60"))
    await until(lambda: comm(toy) == "sleep")
    row = processes.read(toy.pid or 0)
    assert row is not None
    assert (row.parent, row.group) == (handed.process.pid, toy.pid)
    names = {entry.partition("=")[0] for entry in seen(toy, "environ").split("\0") if entry}
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH", "A", processes.MARK}
    assert "A=b=c" in seen(toy, "environ")
    assert (handed.folder / "toy.log").read_text() == "said\n"
    assert set(os.listdir(f"/proc/{toy.pid}/fd")) == {"0", "1", "2"}  # noqa: PTH208
    assert os.readlink(f"/proc/{toy.pid}/fd/0") == os.devnull  # noqa: PTH115
    assert "NoNewPrivs:\t1" in seen(toy, "status")
    assert (handed.folder / "made").stat().st_mode & 0o777 == 0o600
    ignored = next(line for line in seen(toy, "status").splitlines() if line.startswith("SigIgn"))
    # Two above 31 are the C library's own, and are what whoever started this run made of them.
    assert int(ignored.split()[1], 16) & ~(0b11 << 31) == 0


async def test_a_process_that_ends_is_started_again_and_its_end_is_known(handed: Handed) -> None:
    supervisor = keeper(handed)
    exits: list[Exit] = []
    toy = supervisor.start(spec(handed.folder, HIDER), restart=QUICK, on_exit=exits.append)
    await until(lambda: len(processes.marked(f"{handed.folder}|toy|")) == 4)
    before = processes.marked(f"{handed.folder}|toy|")
    os.kill(toy.pid or 0, signal.SIGKILL)
    await until(lambda: toy.restarts == 1)
    assert exits[0].status == -signal.SIGKILL
    assert processes.wait_until_gone(before, 0) == ()
    once = supervisor.start(spec(handed.folder, "exit 7"), restart=None)
    end = await asyncio.wait_for(once.wait(), 10)
    assert end is not None
    assert end.status == 7


async def test_the_next_keeper_takes_over_the_same_process_and_looks_after_it(handed: Handed) -> None:
    before = keeper(handed)
    stands(before)
    toy = before.start(spec(handed.folder, "exec sleep 60"), restart=QUICK)
    pid, since = toy.pid, toy.view().since
    handed.kill_keeper()
    after = await asyncio.to_thread(keeper, handed)
    assert after.takes_over
    again = after.start(spec(handed.folder, "exec sleep 60"), restart=QUICK)
    assert (again.pid, again.view().since, again.restarts) == (pid, since, 0)
    assert (after.kept, after.taken_over) == ([], 1)
    os.kill(pid or 0, signal.SIGKILL)
    await until(lambda: again.restarts == 1 and again.pid not in (None, pid))
    await again.stop()
    assert processes.marked(f"{handed.folder}|toy|") == ()


async def test_what_ended_meanwhile_is_started_again_and_its_end_is_kept(handed: Handed) -> None:
    before = keeper(handed)
    stands(before)
    before.start(spec(handed.folder, "sleep 0.3; exit 4"), restart=QUICK)
    handed.kill_keeper()
    after = await asyncio.to_thread(keeper, handed)
    exits: list[Exit] = []
    await asyncio.sleep(0.4)
    again = after.start(spec(handed.folder, "sleep 0.3; exit 4"), restart=QUICK, on_exit=exits.append)
    await until(lambda: again.restarts >= 1)
    assert exits[0].status == 4
    assert exits[0].evidence is not None


async def test_what_is_to_be_another_is_not_taken_over_and_ends(handed: Handed) -> None:
    before = keeper(handed)
    stands(before)
    for number in range(3):
        before.start(spec(handed.folder, f"exec sleep 6{number}", name=f"toy-{number}", given="one"))
    handed.kill_keeper()
    after = await asyncio.to_thread(keeper, handed)
    taken = after.start(spec(handed.folder, "exec sleep 60", name="toy-0", given="one"))
    fresh = after.start(spec(handed.folder, "exec sleep 61", name="toy-1", given="another"))
    assert sorted(await after.end_kept(lambda _: True)) == ["toy-1", "toy-2"]
    living = {row.pid for row in processes.marked(f"{handed.folder}|toy-")}
    assert living == {taken.pid, fresh.pid}


async def test_a_start_that_fails_says_why_and_leaves_nothing(handed: Handed) -> None:
    supervisor = keeper(handed)
    with pytest.raises(PlatformError, match="program no-such is missing"):
        supervisor.start(spec(handed.folder, "", argv=("no-such",)))
    with pytest.raises(PlatformError, match="No such file"):
        supervisor.start(spec(handed.folder / "nowhere", "true", log=handed.folder / "toy.log"))
    with pytest.raises(PlatformError, match="too long"):
        supervisor.start(spec(handed.folder, "true", environment={"PATH": "/usr/bin:/bin", "B": "x" * 2**20}))
    assert len(supervisor.driver.kept()) == 0
    assert supervisor.start(spec(handed.folder, "exec sleep 60")).pid


async def test_an_answer_that_comes_too_late_is_nobodys(handed: Handed) -> None:
    supervisor = keeper(handed, seconds=3.0)
    before = supervisor.start(spec(handed.folder, "exec sleep 60", name="before"))
    handed.process.send_signal(signal.SIGSTOP)
    with pytest.raises(PlatformError, match="takes too long"):
        supervisor.start(spec(handed.folder, "exec sleep 60"))
    handed.process.send_signal(signal.SIGCONT)
    toy = supervisor.start(spec(handed.folder, "exec sleep 60"))
    await until(lambda: {row.pid for row in processes.marked(f"{handed.folder}|toy|")} == {toy.pid})
    assert processes.read(before.pid or 0) is not None
    once = supervisor.start(spec(handed.folder, "exit 7"), restart=None)
    end = await asyncio.wait_for(once.wait(), 10)
    assert end is not None
    assert end.status == 7


async def test_a_keeper_that_never_stood_is_not_started_again(handed: Handed) -> None:
    toy = keeper(handed).start(spec(handed.folder, "exec sleep 60"))
    row = processes.read(toy.pid or 0)
    assert row is not None
    handed.kill_keeper()
    assert await asyncio.to_thread(handed.process.wait, 20) == 128 + signal.SIGKILL
    assert processes.read(row.pid) is None


async def test_a_keeper_that_leaves_is_not_started_again(handed: Handed) -> None:
    first = handed.take()
    first.stands()
    first.leaves()
    handed.kill_keeper()
    assert await asyncio.to_thread(handed.process.wait, 20) == 128 + signal.SIGKILL


async def test_after_so_many_deaths_in_a_row_everything_ends(handed: Handed) -> None:
    supervisor = keeper(handed)
    stands(supervisor)
    toy = supervisor.start(spec(handed.folder, "exec sleep 60"))
    row = processes.read(toy.pid or 0)
    assert row is not None
    for _ in range(init.LIMIT):
        handed.kill_keeper()
        await asyncio.to_thread(handed.take)
        assert processes.read(row.pid) == row
    handed.kill_keeper()
    assert await asyncio.to_thread(handed.process.wait, 20) == 128 + signal.SIGKILL
    assert processes.read(row.pid) is None


@pytest.fixture
async def impatient(tmp_path: Path) -> AsyncGenerator[Handed]:
    handed = Handed(tmp_path, look=0.1)
    yield handed
    said = await asyncio.to_thread(handed.close)
    assert "it hangs, and is ended" in said
    assert processes.marked(processes.prefix(tmp_path)) == ()


@pytest.mark.parametrize("how", ["its loop does not turn", "a signal holds it"])
async def test_a_keeper_that_hangs_is_ended_and_another_takes_over(impatient: Handed, how: str) -> None:
    before = keeper(impatient)
    stands(before)
    toy = before.start(spec(impatient.folder, "exec sleep 60"), restart=QUICK)
    row = processes.read(toy.pid or 0)
    assert isinstance(before.driver, FirstProcess)
    hung = impatient.pid
    if how == "a signal holds it":
        os.kill(hung, signal.SIGSTOP)
    assert before.driver.is_watching()
    impatient.let_go()
    after = await asyncio.to_thread(keeper, impatient)
    assert impatient.pid != hung
    assert processes.read(hung) is None
    again = after.start(spec(impatient.folder, "exec sleep 60"), restart=QUICK)
    assert row is not None and again.pid == row.pid
    assert processes.read(row.pid) == row


def test_a_keeper_that_says_it_is_alive_is_counted_from_its_last_word_on() -> None:
    silence = Silence(5.0)
    assert silence.due is None, "one that has never said anything is of an earlier version"
    silence.hear(100.0)
    assert silence.due == 105.0
    assert [silence.look(105.0 + 5 * turn, FREE) for turn in range(init.SILENT)] == [1, 2, 3, 4, 5, 6]
    silence.hear(131.0)
    assert silence.look(135.0, FREE) == 1


def test_a_machine_that_stood_still_or_slept_is_one_look() -> None:
    silence = Silence(5.0)
    silence.hear(100.0)
    assert silence.look(100_000.0, FREE) == 1
    assert silence.due == 100_005.0


def test_a_keeper_that_has_no_processor_or_is_held_by_a_disk_or_a_debugger_is_not_silent() -> None:
    silence = Silence(5.0)
    silence.hear(100.0)
    starved = [silence.look(105.0 + 5 * turn, stands_so(waited=3.0 * (turn + 1))) for turn in range(50)]
    assert starved == [0] * 50
    assert silence.look(400.0, stands_so(waited=150.0, held=True)) == 0
    assert silence.look(405.0, stands_so(waited=151.0)) == 1


async def test_a_stop_that_is_asked_for_while_no_keeper_is_there_ends_everything(handed: Handed) -> None:
    supervisor = keeper(handed)
    stands(supervisor)
    toy = supervisor.start(spec(handed.folder, "exec sleep 60"))
    row = processes.read(toy.pid or 0)
    for _ in range(3):  # so that the next one is waited for
        handed.kill_keeper()
        await asyncio.to_thread(handed.take)
    handed.kill_keeper()
    # Dead is not enough: until its end has been heard of it is the keeper that is asked to stop.
    await until(lambda: not Path(f"/proc/{handed.pid}").exists())
    handed.process.terminate()
    began = time.monotonic()
    assert await asyncio.to_thread(handed.process.wait, 20) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 20
    assert row is not None
    assert processes.read(row.pid) is None


async def test_a_killed_first_process_ends_what_it_started(handed: Handed) -> None:
    supervisor = keeper(handed)
    toy = supervisor.start(spec(handed.folder, "exec sleep 60"), restart=None)
    handed.process.kill()
    end = await asyncio.wait_for(toy.wait(), 10)
    assert end is not None
    assert end.status == -signal.SIGKILL


class Hall:
    """A fleet of toys whose places are known beforehand."""

    def __init__(self, supervisor: Supervisor, folder: Path, *, size: int = 2, release: str = "one") -> None:
        self.folder, self.supervisor, self.good = folder, supervisor, True
        self.fleet = Fleet(
            "toy",
            size,
            release=Release(name=release, target="toy:app", folder=folder),
            supervisor=supervisor,
            prepare=self._prepare,
            resume=self._resume,
            is_ready=self._is_ready,
            rebalance=self._rebalance,
            start_seconds=5.0,
        )

    async def _prepare(self, slot: str, generation: int, release: Release) -> Prepared:
        return self._describe(slot, generation, release, runs=False)

    def _resume(self, slot: str, generation: int, release: Release) -> Prepared | None:
        return self._describe(slot, generation, release, runs=True) if self.good else None

    def _describe(self, slot: str, generation: int, release: Release, *, runs: bool) -> Prepared:
        process = spec(
            self.folder,
            "exec sleep 60",
            name=slot,
            given=f"{slot}-{generation}",
            note=note_of("toy", slot, generation, release),
        )
        pulse = self.folder / f"{slot}-{generation % 2}.pulse"
        return Prepared(process, Endpoint(slot, generation), pulse, runs)

    async def _is_ready(self, endpoint: Endpoint) -> bool:
        return True

    async def _rebalance(self) -> None:
        """No edge knows of them."""

    def who(self) -> set[tuple[str, int, int | None]]:
        return {(one.name, one.generation, one.pid) for one in self.fleet.views()}


async def test_a_fleet_is_taken_over_as_it_stands(handed: Handed) -> None:
    before = Hall(keeper(handed), handed.folder)
    stands(before.supervisor)
    await before.fleet.start()
    await before.fleet.replace(before.fleet.instances[0])
    before.fleet.hold(before.fleet.instances[0])
    await before.fleet.resize(3)
    was = before.who()
    handed.kill_keeper()
    after = Hall(await asyncio.to_thread(keeper, handed), handed.folder)
    await after.fleet.start()
    assert after.who() == was
    assert {(one.phase, one.held, one.restarts) for one in after.fleet.views()} == {("ready", False, 0)}
    assert [file.read_bytes()[:1] for file in handed.folder.glob("*.pulse")] == [bytes(1)] * 4
    assert after.fleet.size == 3
    assert await after.supervisor.end_kept(lambda _: True) == ()


async def test_of_a_replacement_that_was_cut_short_the_new_one_stays(handed: Handed) -> None:
    before = Hall(keeper(handed), handed.folder, size=1)
    stands(before.supervisor)
    await before.fleet.start()
    new = await before.fleet.add(beside=before.fleet.instances[0])
    assert new.process is not None
    handed.kill_keeper()
    after = Hall(await asyncio.to_thread(keeper, handed), handed.folder, size=1)
    await after.fleet.start()
    assert after.who() == {("toy-1", 2, new.process.pid)}
    assert len(processes.marked(f"{handed.folder}|toy-")) == 1


@pytest.mark.parametrize("why", ["another release", "certificates that ended"])
async def test_an_instance_that_cannot_go_on_is_started_anew(handed: Handed, why: str) -> None:
    before = Hall(keeper(handed), handed.folder)
    stands(before.supervisor)
    await before.fleet.start()
    was = before.who()
    handed.kill_keeper()
    release = "two" if why == "another release" else "one"
    after = Hall(await asyncio.to_thread(keeper, handed), handed.folder, release=release)
    after.good = why == "another release"
    await after.fleet.start()
    assert {name for name, _, _ in after.who()} == {"toy-1", "toy-2"}
    living = {row.pid for row in processes.marked(f"{handed.folder}|toy-")}
    assert living == {pid for _, _, pid in after.who()}
    assert living.isdisjoint(pid for _, _, pid in was)


def stands_so(*, waited: float = 0.0, held: bool = False) -> Standing:
    standing = Standing(os.getpid())
    standing.waited, standing.held = waited, held
    return standing


FREE = stands_so()


def seen(toy: Supervised, name: str) -> str:
    return Path(f"/proc/{toy.pid}/{name}").read_text()


def comm(toy: Supervised) -> str:
    return seen(toy, "comm").strip() if toy.pid else ""
