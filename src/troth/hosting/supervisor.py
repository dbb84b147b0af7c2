"""Starts processes, sees each end at once (pidfd), starts them again, and leaves nothing behind on a stop.

What an earlier keeper left running is taken over when the same is to be started again, and stopped otherwise.
"""

import asyncio
import logging
import random
import signal
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Literal

import msgspec

from troth.core.clock import Clock, SystemClock
from troth.core.errors import TrothError
from troth.core.process import ProcessSpec
from troth.hosting import isolation, processes
from troth.hosting.backoff import Restart, delay, failures_after
from troth.hosting.cgroups import groups as control_groups
from troth.hosting.cgroups.groups import Ended, Folders, Groups
from troth.hosting.cgroups.places import Choice
from troth.hosting.child import OwnChildren
from troth.hosting.crashes import Exit, bound_log, keep_crash, tell
from troth.hosting.driver import About, Driver, Kept

Condition = Literal["running", "waiting", "stopped"]
OnExit = Callable[[Exit], None]

ALWAYS = Restart()
_SWEEPS = 3
_log = logging.getLogger(__name__)


class ProcessView(msgspec.Struct, frozen=True, kw_only=True):
    """A process as `troth status` shows it. `waiting` is the back-off before it is started again."""

    name: str
    condition: Condition
    pid: int | None
    since: datetime
    restarts: int
    last_exit: str = ""


class Supervised:
    """One process that is kept running. Made by `Supervisor.start`."""

    def __init__(
        self,
        owner: "Supervisor",
        spec: ProcessSpec,
        restart: Restart | None,
        on_exit: OnExit | None,
        kept: Kept | None = None,
    ):
        self.spec = spec
        self.condition: Condition = "waiting"
        self.restarts = 0
        self.last_exit: Exit | None = None
        self._owner, self._restart, self._on_exit = owner, restart, on_exit
        self._stop = asyncio.Event()
        self._mark = ""
        self._groups: Folders = ()
        self._started = time.monotonic()
        self._since = owner.clock.now()
        if kept is None:
            self._spawn()
        else:
            self._take_over(kept)
        self._task = asyncio.create_task(self._keep(), name=f"keep {spec.name}")

    @property
    def pid(self) -> int | None:
        """None while nothing runs."""
        return self._child.pid if self.condition == "running" else None

    def view(self) -> ProcessView:
        return ProcessView(
            name=self.spec.name,
            condition=self.condition,
            pid=self.pid,
            since=self._since,
            restarts=self.restarts,
            last_exit=tell(self.last_exit) if self.last_exit is not None else "",
        )

    @property
    def groups(self) -> Folders:
        """The folders of the control group that it runs in; empty where there is none."""
        return self._groups

    async def wait(self) -> Exit | None:
        """Wait until it has stopped for good; returns how its last run ended."""
        await asyncio.shield(self._task)
        return self.last_exit

    async def stop(self) -> None:
        """SIGTERM, after `spec.stop_seconds` SIGKILL; returns when nothing of it is left."""
        self._stop.set()
        await asyncio.shield(self._task)

    def send(self, number: signal.Signals) -> None:
        """Signal the process itself, e.g. SIGHUP to make it read its files again."""
        if self.condition == "running":
            self._child.send(number)

    async def _keep(self) -> None:
        failures = 0
        while True:
            status = await self._run_to_its_end()
            uptime = time.monotonic() - self._started
            cause = _cause(self.spec, status, await self._end_remains())
            self._record(status, uptime, cause)
            if self._restart is None or self._stop.is_set():
                break
            failures = failures_after(self._restart, failures, uptime)
            again = await self._start_again(self._restart, failures)
            if again is None:
                break
            failures = again
        self.condition = "stopped"
        self._owner.forget(self)

    async def _start_again(self, restart: Restart, failures: int) -> int | None:
        """Wait and spawn until it runs; returns the failures in a row by then, None when asked to stop."""
        self.condition = "waiting"
        while not await _happens(self._stop, delay(restart, failures, random.random)):
            self.restarts += 1
            try:
                self._spawn()
                return failures
            except TrothError as error:
                _log.error("%s", error.public)
                failures += 1
        return None

    def _spawn(self) -> None:
        about = self._owner.describe(self.spec, self.restarts)
        try:
            self._child = self._owner.driver.start(about)
        except TrothError:
            control_groups.end(about.groups)
            raise
        self._mark, self._since, self._started = about.mark, about.since, time.monotonic()
        self._groups = about.groups
        self.condition = "running"

    def _take_over(self, kept: Kept) -> None:
        """It may have ended meanwhile: then that is noticed as if it happened now."""
        self._child = kept.take()
        self._mark, self._since, self._started = kept.about.mark, kept.about.since, kept.began
        self.restarts, self._groups = kept.about.restarts, kept.about.groups
        self.condition = "running"

    async def _run_to_its_end(self) -> int:
        """Returns the exit status. Once asked to stop, no run lasts longer than `stop_seconds`."""
        child = self._child
        await _first(child.ended.wait(), self._stop.wait())
        if not child.ended.is_set():
            child.send(signal.SIGTERM)
            grace = asyncio.sleep(self.spec.stop_seconds)
            await _first(child.ended.wait(), grace, self._owner.hurried.wait())
        child.send(signal.SIGKILL)
        await child.ended.wait()
        return child.reap()

    async def _end_remains(self) -> Ended:
        """What it left must go at once: PostgreSQL without its Patroni still takes writes (split brain)."""
        folders, self._groups = self._groups, ()
        ended = await asyncio.to_thread(control_groups.end, folders) if folders else Ended()
        for _ in range(_SWEEPS):
            remains = processes.marked(self._mark)
            if not remains:
                break
            await asyncio.to_thread(processes.end, remains)
        else:
            _log.error("%s left processes behind that do not end", self.spec.name)
        if ended.left:
            _log.error("a control group of %s does not go: %s", self.spec.name, folders)
        return ended

    def _record(self, status: int, uptime: float, cause: str) -> None:
        at, asked = self._owner.clock.now(), self._stop.is_set()
        end = Exit(
            name=self.spec.name,
            pid=self._child.pid,
            status=status,
            uptime=uptime,
            at=at,
            asked=asked,
            cause=cause,
        )
        end = end if asked else self._keep_evidence(end)
        self.last_exit = end
        for watcher in (*self._owner.watchers, *filter(None, (self._on_exit,))):
            _tell(watcher, end)

    def _keep_evidence(self, end: Exit) -> Exit:
        try:
            return msgspec.structs.replace(end, evidence=keep_crash(self._owner.crashes, self.spec, end))
        except OSError as error:  # a full disk must not keep it from being started again
            _log.error("the end of %s cannot be kept: %s", self.spec.name, error)
            return end


class Supervisor:
    """Every process of the platform. Names may repeat while one instance takes over from another.

    `watchers` hear of every exit, at once and in order; they must not block. Without a `driver`, processes
    are children of this one; without `groups` they have no control groups. `kept` is what an earlier keeper
    left and nobody here has asked for yet. Raises PlatformError when the driver cannot tell."""

    def __init__(
        self,
        state: Path,
        crashes: Path,
        machine: isolation.Machine,
        clock: Clock | None = None,
        driver: Driver | None = None,
        groups: Groups | None = None,
    ):
        self.machine = machine
        self.driver: Driver = driver or OwnChildren(machine)
        self.kept: list[Kept] = list(self.driver.kept())
        self.takes_over = bool(self.kept)
        self.taken_over = 0
        self.crashes = crashes
        self.clock: Clock = clock or SystemClock()
        self.hurried = asyncio.Event()
        self.watchers: list[OnExit] = []
        self.groups = groups or Groups(state, Choice())
        self._state = state
        # Marks of what is taken over are taken: two of one mark would end together.
        self._serial = count(1 + max((one.about.serial for one in self.kept), default=0))
        self._running: list[Supervised] = []

    def start(
        self, spec: ProcessSpec, *, restart: Restart | None = ALWAYS, on_exit: OnExit | None = None
    ) -> Supervised:
        """Start a process now and again whenever it ends; with `restart=None` only once. One that an earlier
        keeper started just so is taken over instead.

        Raises PlatformError when its program is missing and ConfigError when it cannot run as another user.
        """
        kept = self.find_kept(spec)
        supervised = Supervised(self, spec, restart, on_exit, kept)
        if kept is not None:
            self.kept.remove(kept)
            self.taken_over += 1
        self._running.append(supervised)
        return supervised

    def find_kept(self, spec: ProcessSpec) -> Kept | None:
        """What an earlier keeper started exactly so, and nobody has taken over yet: the last one, for what it
        started before, and never heard of again, has ended."""
        return next((one for one in reversed(self.kept) if one.about.spec == spec), None)

    async def end_kept(self, matching: Callable[[ProcessSpec], bool]) -> tuple[str, ...]:
        """Stop what an earlier keeper left and nobody takes over; returns its names."""
        ending = [one for one in self.kept if matching(one.about.spec)]
        self.kept = [one for one in self.kept if one not in ending]
        left = [Supervised(self, one.about.spec, None, None, one) for one in ending]
        self._running.extend(left)
        await asyncio.gather(*(one.stop() for one in left))
        return tuple(one.spec.name for one in left)

    def views(self) -> tuple[ProcessView, ...]:
        return tuple(process.view() for process in self._running)

    def hurry(self) -> None:
        """Stop waiting for anything that was asked to stop: SIGKILL it."""
        self.hurried.set()

    async def stop_all(self) -> None:
        """Stop, side by side, whatever still runs."""
        await asyncio.gather(*(process.stop() for process in tuple(self._running)))

    def bound_logs(self) -> int:
        """Cut logs that have grown too large; returns how many."""
        return sum(bound_log(path) for path in {process.spec.log for process in self._running})

    def describe(self, spec: ProcessSpec, restarts: int) -> About:
        """For `Supervised`: its next start."""
        serial = next(self._serial)
        mark = processes.mark(self._state, spec.name, serial)
        return About(
            spec=spec,
            mark=mark,
            serial=serial,
            since=self.clock.now(),
            restarts=restarts,
            groups=self.groups.make(spec.name, serial, spec.bounds),
        )

    def forget(self, supervised: Supervised) -> None:
        """For `Supervised`: it has stopped for good."""
        self._running.remove(supervised)


def _cause(spec: ProcessSpec, status: int, ended: Ended) -> str:
    if not ended.out_of_memory or status != -signal.SIGKILL:
        return ""
    most = f"; with all that it starts it may hold {spec.bounds.memory >> 20} MiB" if spec.bounds else ""
    return f"by the kernel, for want of memory{most}"


def _tell(watcher: OnExit, end: Exit) -> None:
    try:
        watcher(end)
    except Exception:  # noqa: BLE001 - a watcher's defect must not keep the process from being started again
        _log.exception("a watcher of %s failed", end.name)


async def _happens(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event is set within so many seconds."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    """Return when the first of these is over; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
