"""The loop that brings a plan up, looks after it, answers on the control socket, and takes it down again.

It knows nothing of databases, tokens or certificates: `wiring` supplies a Plan.
"""

import asyncio
import faulthandler
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import uvloop

from troth import VERSION
from troth.core import logs
from troth.core.clock import to_wire
from troth.core.errors import PlatformError, TrothError
from troth.core.state import State
from troth.hosting import control, isolation, processes
from troth.hosting.cgroups import groups as control_groups
from troth.hosting.crashes import Exit, bound_log, tell
from troth.hosting.duties import Duties, pause
from troth.hosting.first import find_first
from troth.hosting.lock import hold_inherited, take
from troth.hosting.plan import Action, Build, Launch, Plan, Report
from troth.hosting.progress import Event, Failed, Progress, Ready, Resumed, Stopped, Stopping, failed, titles
from troth.hosting.start import FIRST
from troth.hosting.steps import StepRunner
from troth.hosting.supervisor import Supervisor
from troth.hosting.wire import decode

TICK = 5.0
"""Seconds between two looks at the whole."""

REPEAT = 60.0
"""Seconds after which a tick repeats a sentence that has not changed."""

ALIVE = 1.0
"""Seconds between two words to the first process, which ends a keeper that says nothing for half a minute."""

PROVIDER_SECONDS = 3.0
"""How long `status` waits for one part of the platform."""

_NOT_TAKEN_OVER = 3
"""The exit status of a keeper that could not take over: the first process tries with another one."""

_log = logging.getLogger("troth.keeper")


def run_keeper(arguments: Sequence[str], build: Build) -> int:
    """The keeper's process, to its exit status: `arguments` is a Launch as JSON."""
    launch = decode(arguments[0], Launch)
    faulthandler.enable()  # one that hangs is asked to write down where it stands
    _log_to_standard_error()
    with hold_inherited(launch.lock) if launch.lock is not None else take(State(launch.state)):
        return uvloop.run(Keeper(launch, Progress(sys.stdout.fileno())).run(build))


class Keeper:
    """One run of the platform."""

    def __init__(self, launch: Launch, progress: Progress) -> None:
        self._launch, self._progress = launch, progress
        self._state = State(launch.state)
        machine = isolation.inside(launch.contained)
        self._first = find_first(machine)
        crashes, self._groups = self._state.logs / "crashes", control_groups.find(launch.state)
        self._supervisor = Supervisor(launch.state, crashes, machine, driver=self._first, groups=self._groups)
        self._supervisor.watchers.append(_note_exit)
        self._began = time.monotonic()
        self._since = self._supervisor.clock.now()
        self._stop = asyncio.Event()
        self._condition = "starting"
        self._plan: Plan | None = None
        self._steps = StepRunner((), lambda _: None)
        self._duties = Duties((), self._supervisor.clock)
        self._troubles: tuple[str, ...] = ()
        self._summary: object = None

    async def run(self, build: Build) -> int:
        """0 after a stop that was asked for, 1 when the start failed, 2 when it could not be as asked."""
        if self._supervisor.takes_over:
            await asyncio.to_thread(self._end_strays)
        else:
            _renew(self._state)
        await asyncio.to_thread(self._groups.sweep, [one.about.groups for one in self._supervisor.kept])
        beating = asyncio.create_task(self._beat(), name="beat")
        with self._signals():
            async with control.serve(self._state.control, self._handle):
                status = await self._live(build)
                await self._end()
        beating.cancel()
        return status

    async def _beat(self) -> None:
        """For ever: a loop that no longer turns no longer says so."""
        if self._first is None:
            return
        if not self._first.is_watching():
            _log.warning(
                "the first process does not watch over this keeper; one that hangs would not be ended"
            )
            return
        loop = asyncio.get_running_loop()
        while True:
            self._first.alive()
            await asyncio.sleep(pause(ALIVE, loop.time()))

    async def _live(self, build: Build) -> int:
        try:
            await self._until_stopped(self._start(build))
        except TrothError as error:
            _log.error("the start failed: %s %s", error.public, error.detail)
            self._give_way()
            told = failed(error)
            self._tell(told)
            return 2 if told.usage else 1
        except Exception as error:  # noqa: BLE001 - a defect, of which the person has to learn
            _log.exception("the start failed")
            self._give_way()
            self._tell(
                Failed(message=f"The start failed: {error}", hint=f"See {self._state.logs}/keeper.log")
            )
            return 1
        await self._until_stopped(self._tick_for_ever())
        return 0

    async def _start(self, build: Build) -> None:
        plan = self._plan = await build(self._launch, self._supervisor)
        takes_over = self._supervisor.takes_over
        self._steps = StepRunner(plan.steps, self._tell if not takes_over else lambda _: None)
        if not takes_over:
            self._tell(titles(plan.steps))
        await self._steps.bring_up()
        await self._end_rest()
        summary = await plan.summary()
        self._summary = summary.addresses
        self._condition = "ready"
        self._duties = Duties(plan.duties, self._supervisor.clock)
        self._duties.start()
        if self._first is not None and plan.resumable:
            self._first.stands()
        seconds, taken_over = time.monotonic() - self._began, self._supervisor.taken_over
        _log.info("everything stands after %.1f s; %d processes were taken over", seconds, taken_over)
        self._tell(Resumed(taken_over, seconds) if takes_over else Ready(summary, seconds))

    async def _end_rest(self) -> None:
        """What an earlier keeper left and this one has no use for."""
        ended = await self._supervisor.end_kept(lambda _: True)
        if ended:
            _log.info("ended what an earlier keeper left: %s", ", ".join(ended))

    def _end_strays(self) -> None:
        """What belongs to this platform and to nobody who is known: it was to end with the keeper before."""
        known = {one.about.mark for one in self._supervisor.kept}
        known.add(processes.mark(self._launch.state, FIRST, 0))
        found = processes.marked(processes.prefix(self._launch.state))
        strays = [one for one in found if (mark := processes.mark_of(one)) and mark not in known]
        if strays:
            _log.warning("ending %d processes that the keeper before left to nobody", len(strays))
            processes.end(strays)

    def _give_way(self) -> None:
        """A keeper that cannot take over must not end what serves without it: another one tries again, and
        after some of them the first process ends everything."""
        if self._supervisor.takes_over and not self._stop.is_set():
            os._exit(_NOT_TAKEN_OVER)

    async def _tick_for_ever(self) -> None:
        said, said_at = "", 0.0
        while True:
            (outcome,) = await asyncio.gather(self._look(), return_exceptions=True)
            sentence = outcome if isinstance(outcome, str) else f"the whole cannot be seen: {outcome!r}"
            if sentence != said or time.monotonic() - said_at >= REPEAT:
                _log.info("%s", sentence)
                said, said_at = sentence, time.monotonic()
            await asyncio.sleep(TICK)

    async def _look(self) -> str:
        """One look at the whole, as a sentence."""
        self._supervisor.bound_logs()
        bound_log(self._state.logs / "keeper.log")
        self._troubles = await self._find_troubles()
        count = len(self._supervisor.views())
        if self._troubles:
            return f"{count} processes are kept; not ready: {'; '.join(self._troubles)}"
        return f"{count} processes are kept and everything is well"

    async def _find_troubles(self) -> tuple[str, ...]:
        if self._plan is None or self._condition != "ready":
            return ()
        waiting = tuple(
            f"{one.name} {one.last_exit} and waits to be started again"
            for one in self._supervisor.views()
            if one.condition == "waiting"
        )
        found = await _ask_provider(self._plan.troubles)
        own = cast("tuple[str, ...]", found) if isinstance(found, tuple) else ("its parts cannot be seen",)
        return (*waiting, *own, *self._duties.troubles())

    async def _end(self) -> None:
        began = time.monotonic()
        self._condition = "stopping"
        self._tell(Stopping("asked to stop" if self._stop.is_set() else "the start failed"))
        self._leave()
        await self._duties.stop()
        await self._steps.take_down()
        await self._end_rest()
        await self._supervisor.stop_all()
        self._tell(Stopped(time.monotonic() - began))
        _log.info("everything has ended")

    def _leave(self) -> None:
        """Should this keeper die while it stops everything, everything is to end with it."""
        if self._first is None:
            return
        try:
            self._first.leaves()
        except PlatformError as error:
            _log.warning("%s %s", error.public, error.detail)

    async def _handle(self, request: control.Answer) -> control.Answer:
        match request.get("do"):
            case "status":
                return await self._status()
            case "stop":
                self._ask_to_stop()
                return {"stopping": True}
            case str(name) if self._plan is not None and name in self._plan.actions:
                return await self._act(self._plan.actions[name], request)
            case other:
                hint = "It is only beginning. See: troth status" if self._plan is None else ""
                raise PlatformError(f"The keeper cannot do {other!r} now.", hint=hint)

    async def _act(self, action: Action, request: control.Answer) -> control.Answer:
        if self._condition == "stopping":
            raise PlatformError("The platform is stopping.", hint="Start it again: troth up")
        if self._condition != "ready":
            raise PlatformError("The platform is not up yet.", hint="See: troth status")
        return await action({name: value for name, value in request.items() if name != "do"})

    async def _status(self) -> control.Answer:
        self._troubles = await self._find_troubles()
        reports: dict[str, Report] = self._plan.status if self._plan is not None else {}
        parts = await asyncio.gather(*(_ask_provider(report) for report in reports.values()))
        now = self._supervisor.clock.now()
        answer: control.Answer = {
            "platform": self._plan.platform if self._plan is not None else "",
            "version": VERSION,
            "condition": "troubled" if self._troubles else self._condition,
            "ready": self._condition == "ready" and not self._troubles,
            "troubles": self._troubles,
            "since": to_wire(self._since),
            "uptime_seconds": round((now - self._since).total_seconds(), 1),
            "contained": self._launch.contained,
            "taken_over": self._supervisor.taken_over,
            "control_groups": self._groups.report(),
            "memory_bytes": await asyncio.to_thread(self._memory),
            "addresses": self._summary or (),
            "steps": self._steps.views(),
            "processes": self._supervisor.views(),
            "duties": self._duties.views(),
        }
        return answer | dict(zip(reports, parts, strict=True))

    def _memory(self) -> int:
        """Proportional set size of everything that carries this platform's mark, in bytes."""
        return sum(map(processes.memory, processes.marked(processes.prefix(self._launch.state))))

    @contextmanager
    def _signals(self) -> Generator[None]:
        loop, numbers = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self._ask_to_stop)
        yield
        for number in numbers:
            loop.remove_signal_handler(number)

    def _ask_to_stop(self) -> None:
        """Asked twice, it no longer waits for anybody."""
        if self._stop.is_set():
            self._supervisor.hurry()
        self._stop.set()

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Let `work` run to its end, or cut it short when a stop is asked for."""
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            for one in (task, stop):
                one.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    def _tell(self, event: Event) -> None:
        self._progress.tell(event)


async def _ask_provider(report: Callable[[], Awaitable[object]]) -> object:
    """A part that cannot be seen says so; the rest of the answer still comes."""
    (outcome,) = await asyncio.gather(asyncio.wait_for(report(), PROVIDER_SECONDS), return_exceptions=True)
    if not isinstance(outcome, BaseException):
        return outcome
    _log.warning("a part of the platform cannot be seen", exc_info=outcome)
    return {"error": str(outcome) or type(outcome).__name__}


def _renew(state: State) -> None:
    """Empty the folder of what only one run needs: an old certificate or socket there would mislead."""
    shutil.rmtree(state.run, ignore_errors=True)
    state.run.mkdir(mode=0o700)


def _note_exit(end: Exit) -> None:
    if not end.asked:
        _log.warning("%s %s after %.1f s; kept in %s", end.name, tell(end), end.uptime, end.evidence)


def _log_to_standard_error() -> None:
    """Standard error is the keeper's log file. How troth.toml wants its lines is known once that is read."""
    logs.log_as("text", "keeper")
