"""`troth up`: start the platform, show it coming up, and stay with it."""

import os
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import FrameType

import msgspec

from troth.cli.screen import err, out, printable, say_error
from troth.cli.steps import StepList
from troth.cli.welcome import say_running, say_welcome
from troth.core.errors import ConfigError, PlatformError
from troth.core.state import State, open_state
from troth.hosting import control
from troth.hosting.crashes import tail
from troth.hosting.lock import AlreadyRunning, take, wait_until_free
from troth.hosting.plan import Launch
from troth.hosting.progress import (
    Event,
    Failed,
    Reader,
    Ready,
    Resumed,
    StepChange,
    Steps,
    Stopped,
    Stopping,
    error_of,
)
from troth.hosting.start import Running, ask_to_stop, cut, end_leftovers, start_platform

PIECE = 65_536
HURRY = 3
"""The Ctrl-C that no longer waits for the keeper at all."""

BEGINNING_SECONDS = 5.0
"""How long a platform may run before it answers on its socket."""

STOP_SECONDS = 60.0
"""How long a platform that is stopping is waited for before a new one starts."""


def bring_up(launch: Launch, *, detach: bool) -> int:
    """Start a platform unless one runs; returns the exit status."""
    if not launch.config.is_file():
        raise ConfigError(f"There is no file {launch.config}.", hint="Name yours with --config FILE.")
    state = open_state(launch.state)
    launch = msgspec.structs.replace(launch, state=state.root)
    try:
        running = _start(state, launch, detach=detach)
    except AlreadyRunning:
        answer = _ask_the_running_one(state)
        if answer.get("condition") != "stopping":
            return say_running(answer)
        out.print("The platform on this state folder is stopping; waiting for it.")
        wait_until_free(state, STOP_SECONDS)
        running = _start(state, launch, detach=detach)
    return Session(state, running, detach=detach).follow()


def _start(state: State, launch: Launch, *, detach: bool) -> Running:
    with take(state) as lock:
        ended = end_leftovers(state)
        if ended:
            out.print(f"Ended {ended} processes that an earlier platform left behind.")
        return start_platform(state, launch, lock, foreground=not detach)


def _ask_the_running_one(state: State) -> control.Answer:
    """It may have begun this very moment, before it answers."""
    try:
        return control.ask_soon(state.control, {"do": "status"}, BEGINNING_SECONDS)
    except control.NotRunning as error:
        raise PlatformError(
            "The platform on this state folder does not answer.", hint="Run: troth down"
        ) from error


class Session:
    """`troth up` from the start of the platform to its end, or with `detach` until it is ready."""

    def __init__(self, state: State, running: Running, *, detach: bool) -> None:
        self._state, self._running, self._detach = state, running, detach
        self._asked = 0
        self._steps = Steps(())
        self._list: StepList | None = None
        self._failed: Failed | None = None
        self._ready = False

    def follow(self) -> int:
        """Returns the exit status."""
        with self._signals():
            for event in self._events():
                self._take(event)
                if isinstance(event, Ready) and self._detach:
                    return 0
            status = self._running.process.wait()
            self._hide()
            return self._verdict(status)

    def _take(self, event: Event) -> None:
        match event:
            case Steps():
                self._steps = event
                self._show_list()
            case StepChange() if self._list is not None:
                self._list.show(event)
            case Ready(summary, seconds):
                self._hide()
                self._ready = True
                say_welcome(summary, seconds, self._state, detached=self._detach)
            case Resumed(taken_over, seconds):
                out.print(
                    f"The keeper died and was started again: it has taken over {taken_over} processes"
                    f" ({seconds:.1f} s)."
                )
            case Failed():
                self._failed = event
            case Stopping():
                self._hide()
                self._show_list()
            case Stopped(seconds) if self._steps.steps:
                self._hide()
                out.print(f"Every process has ended ({seconds:.1f} s).")
            case _:
                return

    def _show_list(self) -> None:
        self._list = StepList(self._steps)
        self._list.__enter__()

    def _hide(self) -> None:
        if self._list is not None:
            self._list.__exit__(None, None, None)
            self._list = None

    def _verdict(self, status: int) -> int:
        if self._failed is not None:
            error = error_of(self._failed)
            say_error(error)
            return 2 if isinstance(error, ConfigError) else 1
        if status == 0 or (self._asked and not self._ready):
            return 0
        if self._asked >= HURRY:
            out.print("Cut short: every process has ended.")
            return 1
        err.print(f"✗ The keeper ended by itself (status {status}); so did everything it kept.", style="red")
        err.print(printable(tail(self._state.logs / "keeper.log", 2000)), markup=False)
        return 1

    def _events(self) -> Iterator[Event]:
        reader = Reader()
        while piece := os.read(self._running.progress, PIECE):
            yield from reader.feed(piece)

    @contextmanager
    def _signals(self) -> Generator[None]:
        """Ctrl-C, a closed terminal and SIGTERM all ask for a clean stop."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._note_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked += 1
        if self._detach:
            self._stop_detached()
        elif self._asked >= HURRY:
            cut(self._running)
        else:
            ask_to_stop(self._running)

    def _stop_detached(self) -> None:
        try:
            control.ask(self._state.control, {"do": "stop"})
        except PlatformError:
            end_leftovers(self._state)
