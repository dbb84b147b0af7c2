"""The first process of the platform. Standard library only: started with `python -I -S`, it must stay tiny.

    init.py contained|alone lifeline|- COMMAND …

It starts COMMAND (the keeper), reaps every orphan, passes on SIGTERM and SIGINT, and leaves with COMMAND's
exit status. Nothing of the platform outlives it: `contained` (PID 1 of a PID namespace) the kernel sees to
that, `alone` it ends its descendants itself. With `lifeline`, standard input is a pipe held open by whoever
wants the platform to live: a byte on it asks for a clean stop, and when that end closes, even by SIGKILL,
everything ends at once.
"""

import os
import resource
import select
import signal
import sys

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_CHILD_SUBREAPER = 36
_STOP_BY_SIGNAL = 128


def main(arguments: list[str]) -> int:
    """Run the command to its end; returns the exit status, 128 + n after signal n."""
    contained, lifeline, command = arguments[0] == "contained", arguments[1] == "lifeline", arguments[2:]
    # A core dump would write keys, cookies and opened documents onto the disk in the clear.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not contained:
        _adopt_orphans()
    wakeup = _watch_signals()
    keeper = _start(command)
    status = _wait(keeper, wakeup, lifeline)
    _end_everything(contained)
    return status


def _adopt_orphans() -> None:
    """Become the parent of every orphan below (prctl(2)), so that a double fork does not escape."""
    import ctypes  # costs a megabyte: only where there is no namespace

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _watch_signals() -> int:
    """Signals arrive as bytes on the returned descriptor, so that none is lost between two waits."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (*_STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, _note)
    return reader


def _note(number: int, frame: object) -> None:
    """A handler, so that the signal reaches the descriptor: PID 1 is spared those it does not handle."""


def _start(command: list[str]) -> int:
    nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    defaults = (*_STOP_SIGNALS, signal.SIGCHLD, signal.SIGPIPE)
    return os.posix_spawnp(command[0], command, os.environ, file_actions=[nothing], setsigdef=defaults)


def _wait(keeper: int, wakeup: int, lifeline: bool) -> int:
    poll = select.poll()
    poll.register(wakeup, select.POLLIN)
    if lifeline:
        poll.register(0, select.POLLIN | select.POLLHUP)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == 0:
                if not os.read(0, 1):
                    return _STOP_BY_SIGNAL + signal.SIGKILL
                os.kill(keeper, signal.SIGTERM)
            if descriptor == wakeup:
                status = _handle(os.read(wakeup, 64), keeper)
                if status is not None:
                    return status


def _handle(signals: bytes, keeper: int) -> int | None:
    """Pass on what asks to stop and reap what has ended; returns the keeper's exit status once it has one."""
    for number in signals:
        if number in _STOP_SIGNALS:
            os.kill(keeper, signal.SIGTERM)
    return _reap(keeper) if signal.SIGCHLD in signals else None


def _reap(keeper: int) -> int | None:
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == keeper:
            code = os.waitstatus_to_exitcode(status)
            found = code if code >= 0 else _STOP_BY_SIGNAL - code


def _end_everything(contained: bool) -> None:
    """As PID 1 of a namespace -1 is everything in it; outside, -1 would be the user's whole session."""
    if contained:
        _kill(-1)
        return
    while found := _descendants(os.getpid()):
        for pid in found:
            _kill(pid)
        _reap(0)
        select.select([], [], [], 0.01)  # the dead need a moment to become children of ours


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _descendants(ancestor: int) -> set[int]:
    parents = {int(name): _parent(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208
    found = {ancestor}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found - {ancestor}
        found |= more


def _parent(pid: str) -> int:
    """Field 4 of /proc/PID/stat (proc(5)); the name before it may hold spaces and brackets."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib would triple the start time
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


if __name__ == "__main__":
    if sys.argv[1] == "contained" and os.getpid() != 1:
        sys.exit("init.py: 'contained' needs a PID namespace; signals to -1 would reach the whole session")
    sys.exit(main(sys.argv[1:]))
