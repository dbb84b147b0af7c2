"""What the first process (`hosting.init`) does with processes: start, end, find, and see how they stand.
Standard library only, as it is itself."""

import errno
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:  # what `typing` says at run time, without its weight
    from collections.abc import Callable

_PR_SET_CHILD_SUBREAPER = 36
_DIE_WITH_PARENT = (1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
_prctl: "Callable[..., int] | None" = None


def run(argv: list[str], environment: dict[str, str], arrange: "Callable[[], None]") -> int:
    """Fork, arrange, execute: returns once the program runs. Raises OSError when it does not."""
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            for number in signal.valid_signals():  # what Python and nohup(1) ignore would be inherited
                if signal.getsignal(number) == signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
            # The program asks to die with its parent once it runs: too late if this one is killed before.
            if _prctl is not None and (_prctl(*_DIE_WITH_PARENT) or os.getppid() != parent):
                os._exit(127)
            arrange()
            os.execvpe(argv[0], argv, environment)  # noqa: S606 - as intended
        except OSError as error:
            os.write(writer, b"%d" % (error.errno or errno.EINVAL))
        finally:
            os._exit(127)
    os.close(writer)
    failed = os.read(reader, 16)
    os.close(reader)
    if failed:
        os.waitpid(pid, 0)
        raise OSError(int(failed), os.strerror(int(failed)))
    return pid


def adopt_orphans() -> None:
    """Become the parent of every orphan below (prctl(2)), so that a double fork does not escape."""
    import ctypes  # costs a megabyte: only where there is no namespace

    global _prctl
    _prctl = ctypes.CDLL(None, use_errno=True).prctl
    if _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def kill(number: int, send: "Callable[[int, int], None]" = os.kill) -> None:
    try:
        send(number, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def descendants(ancestor: int) -> set[int]:
    parents = {int(name): _parent(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208
    found = {ancestor}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found - {ancestor}
        found |= more


class Standing:
    """How a process stands at one moment. `held`: it waits for a disk, or a debugger holds it. `waited` are
    the seconds so far for which it could have run and got no processor."""

    def __init__(self, pid: int) -> None:
        self.held = _stat(pid)[0] in (b"D", b"t")
        fields = _read(f"{pid}/schedstat").split()
        self.waited = int(fields[1]) / 1e9 if len(fields) > 1 else 0.0


class Silence:
    """For how many looks a process has said nothing although it could have. It counts from its first word on.

    Looks, and no clock: after a machine that stood still or slept there is one, however long that was.
    """

    def __init__(self, every: float) -> None:
        self.due: float | None = None
        self._every, self._looks, self._waited = every, 0, 0.0

    def hear(self, now: float) -> None:
        """It has said something. Times are of CLOCK_MONOTONIC."""
        self._looks = 0
        if self.due is None:
            self.due = now + self._every

    def look(self, now: float, standing: Standing) -> int:
        """One more look, when it was due; returns how many there were since its last word. One does not count
        at which a disk or a debugger held it, or it had no processor for half of the time: another process
        in its place would fare no better."""
        lacked, self._waited = standing.waited - self._waited, standing.waited
        self.due = now + self._every
        if not standing.held and lacked < self._every / 2:
            self._looks += 1
        return self._looks


def _parent(pid: str) -> int:
    return int(_stat(pid)[1])


def _stat(pid: int | str) -> list[bytes]:
    """/proc/PID/stat (proc(5)) from field 3 on; the name before it may hold spaces and brackets."""
    return _read(f"{pid}/stat").rpartition(b")")[2].split() or [b"X", b"0"]


def _read(name: str) -> bytes:
    try:
        with open(f"/proc/{name}", "rb") as file:  # noqa: PTH123 - pathlib would triple the start time
            return file.read()
    except OSError:
        return b""
