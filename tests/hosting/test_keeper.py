"""Steps that depend on one another, duties that come back, and what the keeper tells."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from support.waiting import until, until_answered
from troth.core.clock import SystemClock
from troth.core.errors import ConfigError, PlatformError, in_words
from troth.core.state import State, open_state
from troth.hosting import control, lock, wire
from troth.hosting.duties import Duties, pause
from troth.hosting.keeper import Keeper
from troth.hosting.plan import Address, Duty, Launch, Plan, Step, Summary, Tell
from troth.hosting.progress import Failed, Progress, Reader, Ready, StepChange, Steps, error_of, failed
from troth.hosting.steps import StepRunner


class Stage:
    """Steps that note what happens to them."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.changes: list[StepChange] = []
        self.gates: dict[str, asyncio.Event] = {}

    def step(self, name: str, *after: str, fails: Exception | None = None, waits: bool = False) -> Step:
        async def start(tell: Tell) -> str:
            self.seen.append(f"+{name}")
            if waits:
                tell("waiting")
                await self.gates.setdefault(name, asyncio.Event()).wait()
            if fails is not None:
                raise fails
            return f"{name} stands"

        async def stop() -> None:
            self.seen.append(f"-{name}")

        return Step(name=name, title=name.upper(), start=start, stop=stop, after=after)

    def runner(self, *steps: Step) -> StepRunner:
        return StepRunner(steps, self.changes.append)


async def test_a_step_starts_after_what_it_needs_and_stops_before_it() -> None:
    stage = Stage()
    runner = stage.runner(stage.step("edge", "app"), stage.step("app", "base"), stage.step("base"))
    await runner.bring_up()
    await runner.take_down()
    assert stage.seen == ["+base", "+app", "+edge", "-edge", "-app", "-base"]
    assert {view.condition for view in runner.views()} == {"stopped"}


async def test_steps_that_need_nothing_of_each_other_run_side_by_side() -> None:
    stage = Stage()
    runner = stage.runner(stage.step("a", waits=True), stage.step("b", waits=True))
    task = asyncio.create_task(runner.bring_up())
    await until(lambda: len(stage.gates) == 2)
    assert {view.condition for view in runner.views()} == {"running"}
    for gate in stage.gates.values():
        gate.set()
    await task
    assert {view.words for view in runner.views()} == {"a stands", "b stands"}


async def test_a_failing_step_cuts_the_others_short_and_only_what_began_is_stopped() -> None:
    stage = Stage()
    runner = stage.runner(
        stage.step("slow", waits=True),
        stage.step("bad", fails=PlatformError("no")),
        stage.step("later", "bad"),
    )
    with pytest.raises(PlatformError, match="no"):
        await runner.bring_up()
    await runner.take_down()
    assert sorted(stage.seen) == ["+bad", "+slow", "-bad", "-slow"]


async def test_a_stop_that_fails_does_not_keep_the_others_from_stopping() -> None:
    stage = Stage()

    async def burst() -> None:
        raise RuntimeError("burst")

    bad = Step(name="bad", title="B", start=stage.step("bad").start, stop=burst, after=("base",))
    runner = stage.runner(stage.step("base"), bad)
    await runner.bring_up()
    await runner.take_down()
    assert stage.seen[-1] == "-base"


def test_a_step_that_waits_for_nobody_known_is_refused() -> None:
    stage = Stage()
    with pytest.raises(ValueError, match="nobody"):
        stage.runner(stage.step("a", "nobody"))


def test_steps_that_wait_for_each_other_are_refused() -> None:
    stage = Stage()
    with pytest.raises(ValueError, match="cycle"):
        stage.runner(stage.step("a", "b"), stage.step("b", "a"))


async def test_a_duty_that_fails_is_a_trouble_until_it_works_again() -> None:
    outcomes = iter([PlatformError("the disk is full"), RuntimeError("a defect"), "renewed 2"])
    rounds = asyncio.Queue[str]()

    async def work() -> str:
        outcome = next(outcomes, "")
        rounds.put_nowait(str(outcome))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    duties = Duties((Duty(name="renewal", every=0.02, work=work),), SystemClock())
    duties.start()
    await rounds.get()
    await until(lambda: duties.troubles() == ("renewal failed: the disk is full",))
    await until(lambda: duties.troubles() == ())
    await duties.stop()
    assert duties.views()[0].last is not None


async def test_a_duty_in_which_something_is_cancelled_goes_on_and_one_that_is_to_stop_stops() -> None:
    rounds = asyncio.Queue[int]()

    async def work() -> str:
        rounds.put_nowait(rounds.qsize())
        if rounds.qsize() == 1:
            raise asyncio.CancelledError
        await asyncio.sleep(3600)
        return ""

    duties = Duties((Duty(name="renewal", every=0.01, work=work),), SystemClock())
    duties.start()
    await until(lambda: rounds.qsize() == 2)
    assert duties.troubles() == ("renewal failed: CancelledError",)
    await asyncio.wait_for(duties.stop(), 5)


async def test_a_duty_that_hangs_is_cut_short() -> None:
    async def hang() -> str:
        await asyncio.Event().wait()
        return ""

    duties = Duties((Duty(name="hanging", every=0.01, work=hang, limit=0.05),), SystemClock())
    duties.start()
    await until(lambda: duties.troubles() == ("hanging failed: not done within 0.05 s",))
    await duties.stop()


async def test_a_duty_that_hangs_does_not_keep_the_others_from_being_stopped() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done all the same"
        return ""

    duties = Duties((Duty(name="stubborn", every=0.01, work=stubborn, limit=0.02),), SystemClock())
    duties.start()
    await until(lambda: duties.views()[0].words == "done all the same")
    assert duties.troubles() == ()
    await asyncio.wait_for(duties.stop(), 5)


def test_duties_of_one_time_come_together_and_none_twice() -> None:
    assert pause(1.0, 100.3) == pytest.approx(0.7)
    assert pause(0.2, 100.3) == pytest.approx(0.1)
    assert pause(1.0, 100.9995) == pytest.approx(1.0005), "a timer that went off early"
    assert pause(1.0, 101.0) == pytest.approx(1.0)
    assert pause(86_400.0, 100.3) == 86_400.0, "what comes seldom does not come at once"


def test_events_survive_the_pipe_in_any_pieces() -> None:
    summary = Summary(platform="T", addresses=(Address("P", "https://p"),), ca=Path("/ca.pem"))
    events = [Steps((("a", "A"),)), StepChange("a", "done", "well", 0.5), Ready(summary, 1.5)]
    stream = b"".join(wire.encode(event) + b"\n" for event in events)
    reader = Reader()
    assert [event for byte in stream for event in reader.feed(bytes([byte]))] == events


def test_a_configuration_error_crosses_to_another_process_whole() -> None:
    error = ConfigError("wrong", file=Path("t.toml"), line=3, key="a.b", hint="mend", promise="data.https")
    error.others = (ConfigError("also", line=5),)
    again = error_of(wire.decode(wire.encode(failed(error)), Failed))
    assert isinstance(again, ConfigError)
    assert (again.public, again.place, again.hint, again.promise) == (
        "wrong",
        "t.toml:3: a.b",
        "mend",
        "data.https",
    )
    assert [other.line for other in again.others] == [5]


def test_progress_that_nobody_reads_is_dropped() -> None:
    import os

    reader, writer = os.pipe()
    os.close(reader)
    progress = Progress(writer)
    progress.tell(Steps(()))
    progress.tell(Steps(()))
    os.close(writer)


def test_a_lock_that_was_handed_down_is_held_until_all_have_let_go(tmp_path: Path) -> None:
    import os

    state = open_state(tmp_path / "state")
    with lock.take(state) as descriptor:
        handed = os.dup(descriptor)
    assert lock.is_held(state)
    with lock.hold_inherited(handed), pytest.raises(lock.AlreadyRunning), lock.take(state):
        pass
    assert not lock.is_held(state)


async def test_a_defect_in_the_plan_is_told_and_leaves_status_1(tmp_path: Path) -> None:
    import os

    state = open_state(tmp_path / "state")
    reader, writer = os.pipe()

    async def build(launch: Launch, supervisor: object) -> Plan:
        raise KeyError("a defect")

    keeper = Keeper(Launch(config=tmp_path, state=state.root), Progress(writer))
    assert await keeper.run(build) == 1
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = Reader().feed(pipe.read())
    assert any(isinstance(event, Failed) and "a defect" in event.message for event in told)
    assert not State(state.root).control.exists()


async def test_what_is_asked_before_it_stands_and_while_it_stops_is_told_so(tmp_path: Path) -> None:
    import os

    state, stage = open_state(tmp_path / "state"), Stage()
    begins, ends = asyncio.Event(), asyncio.Event()
    first = stage.step("first", waits=True)

    async def stop() -> None:
        await ends.wait()

    async def act(_: control.Answer) -> control.Answer:
        return {"done": True}

    async def summary() -> Summary:
        return Summary(platform="toy", addresses=())

    async def build(launch: Launch, supervisor: object) -> Plan:
        await begins.wait()
        steps = (msgspec.structs.replace(first, stop=stop),)
        return Plan(platform="toy", steps=steps, summary=summary, actions={"act": act})

    async def told(do: str) -> str:
        try:
            return str(await asyncio.to_thread(control.ask, state.control, {"do": do}))
        except PlatformError as error:
            return in_words(error)

    async def until_told(words: str) -> None:
        async def asked() -> bool:
            return words in await told("act")

        await until_answered(asked)

    with Path(os.devnull).open("wb") as nobody:  # noqa: ASYNC230
        running = asyncio.create_task(
            Keeper(Launch(config=tmp_path, state=state.root), Progress(nobody.fileno())).run(build)
        )
        await until(state.control.exists)
        assert "It is only beginning." in await told("act")
        begins.set()
        await until(lambda: "first" in stage.gates)
        assert "not up yet" in await told("act")
        stage.gates["first"].set()
        await until_told("done")
        await told("stop")
        await until_told("is stopping")
        ends.set()
        assert await running == 0


def test_an_instant_on_the_wire_keeps_its_zone() -> None:
    change = Launch(config=Path("/c"), state=Path("/s"), members=1)
    assert wire.decode(wire.encode(change), Launch) == change
    assert b"2026-11-23T16:00:00Z" in wire.encode(datetime(2026, 11, 23, 16, tzinfo=UTC))
