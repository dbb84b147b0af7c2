"""`troth down`: ask the keeper to stop, and see to it that nothing is left."""

from pathlib import Path

from troth.cli.screen import out
from troth.core.errors import PlatformError
from troth.core.state import State
from troth.hosting import control, processes
from troth.hosting.lock import is_held, wait_until_free
from troth.hosting.start import end_leftovers

SECONDS = 90.0
"""How long a clean stop may take before everything is ended the hard way."""

BEGINNING_SECONDS = 5.0
"""How long a platform may run before it answers on its socket."""


def take_down(folder: Path) -> int:
    """Returns the exit status."""
    state = State(folder.resolve())
    if not state.root.is_dir() or not is_held(state):
        return _end_rest(state)
    count = len(processes.leftovers(state.root))
    out.print(f"Stopping {count} processes …")
    clean = _ask(state) and wait_until_free(state, SECONDS)
    if not clean:
        out.print("It does not stop by itself; ending every process.")
    left = end_leftovers(state)
    if not wait_until_free(state, 5.0):
        raise PlatformError("Some process still holds the state folder.", hint=f"See: fuser -v {state.lock}")
    out.print(f"Every process has ended{'' if clean else f', {left} of them by SIGKILL'}.")
    return 0


def _end_rest(state: State) -> int:
    left = end_leftovers(state)
    out.print(
        f"Ended {left} processes that were left behind." if left else "Nothing runs on this state folder."
    )
    return 0


def _ask(state: State) -> bool:
    """Whether the keeper took the request; a platform that has just begun may need a moment to listen."""
    try:
        control.ask_soon(state.control, {"do": "stop"}, BEGINNING_SECONDS)
    except PlatformError:
        return False
    return True
