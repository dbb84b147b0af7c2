"""The first process of the platform. Standard library only: started with `python -I -S`, it must stay tiny.

    init.py contained|alone lifeline|- COMMAND …

It starts COMMAND (the keeper) and, at the keeper's word, every process that the keeper looks after: as
children of this process they outlive the keeper. A keeper that dies is started again, and asks what runs; one
that hangs is ended first. One that says that it leaves, or never said that it stands, is not started again:
then all ends, and this with its exit status.

Nothing of the platform outlives this process: `contained` (PID 1 of a PID namespace) the kernel sees to that,
`alone` it ends its descendants itself. With `lifeline`, standard input is a pipe held open by whoever wants
the platform to live: a byte on it asks for a clean stop; when it closes, even by SIGKILL, everything ends.

The keeper asks over a socket of its own (`TROTH_FIRST` is its number), in packets of fields between zero
bytes; one packet answers, and both begin with a number of the keeper's choice. A log's descriptor comes
beside `start`, a pidfd(2) goes beside what is described:

    start ABOUT FOLDER COUNT ARGUMENT … NAME=VALUE …   ok NUMBER PID BEGAN
    row PLACE                                          ok NUMBER PID BEGAN STATUS ABOUT | end
    collect NUMBER                                     ok STATUS      (it is forgotten afterwards)
    ready | leaving                                    ok             (start it again from now on, or no more)
    alive                                              ok             (no answer where no number was chosen)
"""

import _socket  # `socket` would double what this process weighs
import errno
import os
import resource
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from troth.hosting import offspring
else:  # no package is known here: its other half lies beside it
    sys.path.append(__file__.rpartition("/")[0])
    import offspring

    sys.path.pop()

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_STOP_BY_SIGNAL = 128

_MOST = 512
"""Processes that it knows at once."""

_PACKET = 1 << 18
_STEADY = 60.0
"""Seconds of life that forget the deaths of the keeper before."""

LIMIT = 5
"""Deaths of the keeper in a row; with the next one, everything ends."""

_FIRST_WAIT, _LONGEST_WAIT = 0.05, 1.0

LOOK = 5.0
"""Seconds between two looks at whether the keeper still says that it is alive."""

SILENT = 6
"""More looks than these without a word, and the keeper hangs: it is ended."""


class Ward:
    """A process that the keeper asked for. `status` is None while it lives."""

    def __init__(self, pid: int, about: bytes) -> None:
        self.pid, self.about = pid, about
        self.pidfd = os.pidfd_open(pid)
        self.began = time.monotonic()
        self.status: int | None = None


class First:
    """The keeper's parent, and that of all it looks after."""

    def __init__(self, *, lifeline: bool, command: list[str]) -> None:
        self._command = command
        self._handed_down = _handed_down()
        for number in self._handed_down:  # the state folder's lock: for the keeper, and nobody else
            os.set_inheritable(number, False)
        self._wakeup = _watch_signals()
        self._poll = select.poll()
        self._poll.register(self._wakeup, select.POLLIN)
        if lifeline:
            self._poll.register(0, select.POLLIN | select.POLLHUP)
        self._wards: dict[int, Ward] = {}
        self._number = 0
        self._status: int | None = None
        self._line: _socket.socket | None = None
        self._keeper = 0
        self._keeper_began = 0.0
        self._due: float | None = 0.0
        self._deaths = 0
        self._silence = offspring.Silence(LOOK)
        self._again = self._stopping = False

    def run(self) -> int:
        """To the end of the keeper; returns its exit status, 128 + n after signal n."""
        while self._status is None:
            self._start_keeper_when_due()
            self._look_when_due()
            for descriptor, _ in self._poll.poll(self._patience()):
                self._attend(descriptor)
        return self._status

    def reap(self) -> None:
        """Take note of whoever has ended. What is left of a ward's process group ends with it, before its
        number can become another's."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            pid = found.si_pid
            ward = next((one for one in self._wards.values() if one.pid == pid and one.status is None), None)
            if ward is not None:
                offspring.kill(pid, os.killpg)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if ward is not None:
                ward.status = status
            if pid == self._keeper:
                self._note_death(status)

    def _attend(self, descriptor: int) -> None:
        if descriptor == 0:
            if not os.read(0, 1):
                self._status = _STOP_BY_SIGNAL + signal.SIGKILL
                return
            self._ask_to_stop()
        elif descriptor == self._wakeup:
            signals = os.read(self._wakeup, 64)
            for number in signals:
                if number in _STOP_SIGNALS:
                    self._ask_to_stop()
            if signal.SIGCHLD in signals:
                self.reap()
        elif self._line is not None and descriptor == self._line.fileno():
            self._hear(self._line)

    # --- the keeper -----------------------------------------------------------------------------------------

    def _start_keeper_when_due(self) -> None:
        if self._due is None or time.monotonic() < self._due:
            return
        self._due = None
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        number = theirs.fileno()

        def arrange() -> None:
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            for descriptor in (*self._handed_down, number):
                os.set_inheritable(descriptor, True)

        environment = {**os.environ, "TROTH_FIRST": str(number)}
        self._keeper = offspring.run(self._command, environment, arrange)
        self._keeper_began = time.monotonic()
        self._silence = offspring.Silence(LOOK)
        theirs.close()
        self._line = ours
        self._poll.register(ours.fileno(), select.POLLIN)

    def _patience(self) -> float | None:
        """Milliseconds until the keeper is to be started, or looked at."""
        due = self._silence.due if self._due is None and self._is_watched() else self._due
        return None if due is None else max(0.0, due - time.monotonic()) * 1000 + 1

    def _is_watched(self) -> bool:
        return self._again and self._keeper != 0

    def _look_when_due(self) -> None:
        """End a keeper that hangs: it writes down where it stands, if it still can, and is killed."""
        now = time.monotonic()
        if not self._is_watched() or self._silence.due is None or now < self._silence.due:
            return
        looks = self._silence.look(now, offspring.Standing(self._keeper))
        if looks <= SILENT:
            return
        if looks == SILENT + 1:
            _say(f"the keeper has said nothing for {SILENT * LOOK:g} s; it hangs, and is ended")
        os.kill(self._keeper, signal.SIGABRT if looks == SILENT + 1 else signal.SIGKILL)

    def _ask_to_stop(self) -> None:
        self._stopping = True
        if self._keeper:
            os.kill(self._keeper, signal.SIGTERM)
        else:
            self._status = _STOP_BY_SIGNAL + signal.SIGTERM

    def _note_death(self, status: int) -> None:
        self._keeper = 0
        self._hang_up()
        if not self._again or self._stopping:
            self._status = status if status >= 0 else _STOP_BY_SIGNAL - status
            return
        lived = time.monotonic() - self._keeper_began
        self._deaths = 1 if lived >= _STEADY else self._deaths + 1
        if self._deaths > LIMIT:
            _say(f"the keeper died {self._deaths} times in a row; everything ends")
            self._status = status if status >= 0 else _STOP_BY_SIGNAL - status
            return
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * 4.0 ** (self._deaths - 1))
        self._due = time.monotonic() + wait
        how = f"left with status {status}" if status >= 0 else f"was ended by signal {-status}"
        _say(f"the keeper {how} after {lived:.1f} s; what it kept goes on, and it is started again")

    def _hang_up(self) -> None:
        if self._line is not None:
            self._poll.unregister(self._line.fileno())
            self._line.close()
            self._line = None

    # --- what the keeper asks for ---------------------------------------------------------------------------

    def _hear(self, line: _socket.socket) -> None:
        """One request. Whoever hung up has ended, or is about to."""
        try:
            packet, beside, flags, _ = line.recvmsg(_PACKET, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
        except OSError:
            packet, beside, flags = b"", [], 0
        if not packet:
            self._hang_up()
            return
        tag, *fields = packet.split(b"\0")
        descriptors = [
            int.from_bytes(data[place : place + 4], sys.byteorder)
            for level, kind, data in beside
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
            for place in range(0, len(data) - 3, 4)
        ]
        try:
            if flags & (_socket.MSG_TRUNC | _socket.MSG_CTRUNC):
                raise OSError(errno.EMSGSIZE, "the request is too long")
            answer, given = self._do(fields, descriptors)
        except (OSError, ValueError, KeyError, IndexError) as error:
            number = error.errno if isinstance(error, OSError) else errno.EINVAL
            answer, given = [b"no", b"%d" % (number or errno.EINVAL)], None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if tag:
            self._tell(line, [tag, *answer], given)

    def _tell(self, line: _socket.socket, answer: list[bytes], given: int | None) -> None:
        data = b"" if given is None else given.to_bytes(4, sys.byteorder)
        beside = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, data)] if data else []
        try:
            line.sendmsg([b"\0".join(answer)], beside, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
        except OSError:
            self._hang_up()  # it has ended, or asks without listening: its end says the rest

    def _do(self, fields: list[bytes], descriptors: list[int]) -> tuple[list[bytes], int | None]:
        what = fields[0]
        if what == b"start":
            number = self._start(fields, descriptors[0])
            ward = self._wards[number]
            return [b"ok", *_described(number, ward)], ward.pidfd
        if what == b"row":
            self.reap()
            rows = list(self._wards.items())[int(fields[1]) :]
            if not rows:
                return [b"end"], None
            number, ward = rows[0]
            status = b"" if ward.status is None else b"%d" % ward.status
            return [b"ok", *_described(number, ward), status, ward.about], ward.pidfd
        if what == b"collect":
            return self._collect(int(fields[1]))
        if what in (b"ready", b"leaving"):
            self._again = what == b"ready"
            return [b"ok"], None
        if what == b"alive":
            self._silence.hear(time.monotonic())
            return [b"ok"], None
        raise ValueError(what)

    def _start(self, fields: list[bytes], log: int) -> int:
        if len(self._wards) >= _MOST:
            raise OSError(errno.EAGAIN, "too many processes")
        _, about, folder, count, *rest = fields
        argv = [os.fsdecode(one) for one in rest[: int(count)]]
        pairs = (os.fsdecode(one).partition("=") for one in rest[int(count) :])
        environment = {name: value for name, _, value in pairs}

        def arrange() -> None:
            os.setpgid(0, 0)
            os.umask(0o077)
            os.chdir(folder)
            nothing = os.open(os.devnull, os.O_RDONLY)
            for descriptor, wanted in ((nothing, 0), (log, 1), (log, 2)):
                os.dup2(descriptor, wanted)

        pid = offspring.run(argv, environment, arrange)
        self._number += 1
        self._wards[self._number] = Ward(pid, about)
        return self._number

    def _collect(self, number: int) -> tuple[list[bytes], int | None]:
        self.reap()
        ward = self._wards[number]
        if ward.status is None:
            raise OSError(errno.EBUSY, "it runs")
        os.close(self._wards.pop(number).pidfd)
        return [b"ok", b"%d" % ward.status], None


def main(arguments: list[str]) -> int:
    """Run the command to its end; returns the exit status, 128 + n after signal n."""
    contained, lifeline, command = arguments[0] == "contained", arguments[1] == "lifeline", arguments[2:]
    # A core dump would write keys, cookies and opened documents onto the disk in the clear.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not contained:
        offspring.adopt_orphans()
    first = First(lifeline=lifeline, command=command)
    status = first.run()
    _end_everything(first, contained)
    return status


def _described(number: int, ward: Ward) -> tuple[bytes, bytes, bytes]:
    return b"%d" % number, b"%d" % ward.pid, repr(ward.began).encode()


def _watch_signals() -> int:
    """Signals arrive as bytes on the returned descriptor, so that none is lost between two waits."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer)
    for number in (*_STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, _note)
    return reader


def _note(number: int, frame: object) -> None:
    """A handler, so that the signal reaches the descriptor: PID 1 is spared those it does not handle."""


def _say(sentence: str) -> None:
    """Into the keeper's log, in its form."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    os.write(2, f"{stamp}.{int(now * 1000) % 1000:03d}Z WARNING {sentence}\n".encode())


def _handed_down() -> list[int]:
    """Open descriptors beside the standard ones; the one that lists the others is gone by the second look."""
    found = [int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2]  # noqa: PTH208
    return [number for number in found if os.path.exists(f"/proc/self/fd/{number}")]  # noqa: PTH110


def _end_everything(first: First, contained: bool) -> None:
    """As PID 1 of a namespace -1 is everything in it; outside, -1 would be the user's whole session."""
    if contained:
        offspring.kill(-1)
        return
    while found := offspring.descendants(os.getpid()):
        for pid in found:
            offspring.kill(pid)
        first.reap()
        select.select([], [], [], 0.01)  # the dead need a moment to become children of ours


if __name__ == "__main__":
    if sys.argv[1] == "contained" and os.getpid() != 1:
        sys.exit("init.py: 'contained' needs a PID namespace; signals to -1 would reach the whole session")
    sys.exit(main(sys.argv[1:]))
