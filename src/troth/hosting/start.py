"""From `troth up` to the platform's first process, and back to nothing."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from troth.core.errors import PlatformError
from troth.core.state import State
from troth.hosting import init, isolation, processes
from troth.hosting.cgroups.groups import make_room
from troth.hosting.crashes import bound_log, open_log
from troth.hosting.plan import Launch
from troth.hosting.private_network import beginning
from troth.hosting.wire import encode

PLATFORM = (sys.executable, "-I", "-m", "troth.platform")
"""The keeper's command; a Launch as JSON follows."""

FIRST = "first"
"""The name that the first process and the keeper are marked with."""

_INHERITED = ("PATH", "HOME", "TMPDIR", "TZ", "TROTH_TOOLS")
"""All that the platform takes over from a person's environment, which may hold secrets of other programs."""


class Running(msgspec.Struct, frozen=True):
    """A platform just started. `process` is the outermost process, `progress` the descriptor that its events
    arrive on. In the foreground, everything ends as soon as `lifeline` closes."""

    process: subprocess.Popen[bytes]
    progress: int
    lifeline: int | None


def start_platform(state: State, launch: Launch, lock: int, *, foreground: bool) -> Running:
    """Start the first process and the keeper below it; `lock` is handed down to them."""
    machine = isolation.probe()
    make_room(state.root)
    launch = msgspec.structs.replace(launch, lock=lock, contained=machine.pid_namespace)
    launch = beginning.decide(launch, machine)
    argv = _command(machine, foreground, launch)
    bound_log(state.logs / "keeper.log")
    log = open_log(state.logs / "keeper.log")
    lifeline, life = os.pipe()
    try:
        process = subprocess.Popen(
            argv,
            stdin=lifeline if foreground else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment(state),
            cwd=state.root,
            umask=0o077,
            start_new_session=True,  # Ctrl-C reaches `troth up` alone, which then asks for a clean stop
            pass_fds=(lock,),
        )
    except OSError as error:
        raise PlatformError(f"{argv[0]} cannot be started: {os.strerror(error.errno or 0)}.") from error
    finally:
        os.close(log)
        os.close(lifeline)
    if not foreground:
        os.close(life)
    assert process.stdout is not None
    return Running(process, process.stdout.fileno(), life if foreground else None)


def end_leftovers(state: State) -> int:
    """End what a platform that was killed left behind; returns how many processes. Hold the lock.

    Raises PlatformError when some of them will not go.
    """
    found = processes.leftovers(state.root)
    stuck = processes.end(found)
    if stuck:
        numbers = ", ".join(str(process.pid) for process in stuck)
        raise PlatformError(
            f"Processes of an earlier platform do not end: {numbers}.",
            hint="They are stuck in the kernel; see dmesg, or restart the machine.",
        )
    return len(found)


def ask_to_stop(running: Running) -> None:
    """Ask a platform in the foreground for a clean stop; asked again, it hurries."""
    if running.lifeline is not None:
        os.write(running.lifeline, b"T")


def cut(running: Running) -> None:
    """End a platform in the foreground at once."""
    if running.lifeline is not None:
        os.close(running.lifeline)


def _command(machine: isolation.Machine, foreground: bool, launch: Launch) -> tuple[str, ...]:
    kind = "contained" if machine.pid_namespace else "alone"
    lifeline = "lifeline" if foreground else "-"
    script = str(Path(init.__file__))
    # Should the first process be killed, the keeper stops everything.
    keeper = isolation.guard((*PLATFORM, encode(launch).decode()), "TERM")
    first = (sys.executable, "-I", "-S", script, kind, lifeline, *keeper)
    argv = isolation.contain(machine, beginning.enter(launch, first))
    # Alone, the first process must outlive `troth up` by the moment it takes to end its descendants.
    return isolation.guard(argv) if foreground and machine.pid_namespace else argv


def _environment(state: State) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {"LANG": "C.UTF-8", **kept, processes.MARK: processes.mark(state.root, FIRST, 0)}
