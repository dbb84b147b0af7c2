"""Processes as children of the platform's first process (`hosting.init`): they outlive the keeper, and the
keeper that is started next takes them over."""

import contextlib
import os
import signal
import socket

import msgspec

from troth.core.errors import PlatformError
from troth.hosting import isolation, processes
from troth.hosting.child import Child, cannot_start
from troth.hosting.crashes import open_log
from troth.hosting.driver import About, Kept, command
from troth.hosting.wire import decode, encode

VARIABLE = "TROTH_FIRST"
"""The environment variable with the number of the socket to the first process."""

_SECONDS = 10.0
"""The first process answers as soon as the program runs; longer is a machine that stands still."""

_PACKET = 1 << 18


class FirstProcess:
    """The driver of the keeper. One question at a time, from one thread."""

    kind = "process"

    def __init__(self, line: socket.socket, machine: isolation.Machine, seconds: float = _SECONDS) -> None:
        self._line, self._machine, self._asked = line, machine, 0
        self._late: set[bytes] = set()
        line.settimeout(seconds)

    def start(self, about: About) -> Child:
        """See `Driver.start`."""
        spec = about.spec
        argv = command(about, self._machine)
        environment = {**spec.environment, processes.MARK: about.mark}
        pairs = [f"{name}={value}" for name, value in environment.items()]
        fields = [str(spec.folder), str(len(argv)), *argv, *pairs]
        try:
            log = open_log(spec.log)
            try:
                answer, pidfd = self._ask([b"start", encode(about), *map(os.fsencode, fields)], log)
            finally:
                os.close(log)
        except OSError as error:
            raise cannot_start(spec, error) from error
        number, pid, _ = answer
        return self._child(int(number), int(pid), pidfd)

    def kept(self) -> tuple[Kept, ...]:
        """See `Driver.kept`."""
        found: list[Kept] = []
        while row := self._row(len(found)):
            found.append(row)
        return tuple(found)

    def stands(self) -> None:
        """From now on a keeper that dies is to be started again."""
        self._say(b"ready")

    def leaves(self) -> None:
        """Whatever becomes of this keeper now, no other is to come."""
        self._say(b"leaving")

    def is_watching(self) -> bool:
        """Whether it ends a keeper that no longer says that it is alive: one of an earlier version does not
        know the word, and one that does not answer watches over nobody."""
        try:
            self._ask([b"alive"])
        except OSError:
            return False
        return True

    def alive(self) -> None:
        """This keeper's event loop turns. Never waits: a first process that stands still is not spoken to."""
        with contextlib.suppress(OSError):
            os.write(self._line.fileno(), b"\0alive")

    def close(self) -> None:
        """Hang up, as the end of this process does."""
        self._line.close()

    def _say(self, word: bytes) -> None:
        try:
            self._ask([word])
        except OSError as error:
            raise _silent(error) from error

    def _row(self, place: int) -> Kept | None:
        try:
            answer, pidfd = self._ask([b"row", b"%d" % place])
        except OSError as error:
            raise _silent(error) from error
        if not answer:
            return None
        number, pid, began, _, about = answer
        try:
            read = decode(about, About)
        except msgspec.DecodeError as error:
            raise PlatformError(
                "What an earlier keeper started cannot be read.", detail=str(error)
            ) from error
        return Kept(read, float(began), lambda: self._child(int(number), int(pid), pidfd))

    def _child(self, number: int, pid: int, pidfd: int | None) -> Child:
        assert pidfd is not None, "a pidfd lies beside every description"
        return Child(pid, pidfd, lambda: self._collect(number))

    def _collect(self, number: int) -> int:
        try:
            (status,), _ = self._ask([b"collect", b"%d" % number])
        except OSError:  # the first process is gone: the kernel has ended everything that it started
            return -signal.SIGKILL
        return int(status)

    def _ask(self, fields: list[bytes], descriptor: int | None = None) -> tuple[list[bytes], int | None]:
        """The fields of the answer and the descriptor beside it. Raises OSError when it is refused, when a
        field holds a zero byte, and when nobody answers."""
        if any(b"\0" in field for field in fields):
            raise OSError(22, "a zero byte in a field")
        given = [] if descriptor is None else [descriptor]
        self._asked += 1
        tag = b"%d" % self._asked
        socket.send_fds(self._line, [b"\0".join((tag, *fields))], given)
        try:
            word, answer, descriptors = self._receive(tag)
        except TimeoutError:
            self._late |= {tag} if fields[0] == b"start" else set()
            raise
        if word == b"no":
            raise OSError(int(answer[0]), os.strerror(int(answer[0])))
        if word not in (b"ok", b"end"):
            raise ConnectionResetError("the first process does not answer")
        return answer, descriptors[0] if descriptors else None

    def _receive(self, tag: bytes) -> tuple[bytes, list[bytes], list[int]]:
        """The answer to this question. Those to earlier ones came too late: a process that was started for
        nobody is ended, for another one was started instead."""
        while True:
            packet, descriptors, _, _ = socket.recv_fds(self._line, _PACKET, 1, socket.MSG_CMSG_CLOEXEC)
            told, word, *answer = packet.split(b"\0") if packet else (tag, b"")
            if told == tag:
                return word, answer, descriptors
            for descriptor in descriptors:
                if told in self._late:
                    _end(descriptor)
                os.close(descriptor)


def _end(pidfd: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def find_first(machine: isolation.Machine) -> FirstProcess | None:
    """The first process above this one; None when there is none. What it was handed is handed down no
    further: whoever holds it could have anything started."""
    number = os.environ.pop(VARIABLE, None)
    if number is None:
        return None
    os.set_inheritable(int(number), False)
    return FirstProcess(socket.socket(fileno=int(number)), machine)


def _silent(error: OSError) -> PlatformError:
    return PlatformError("The first process of the platform does not answer.", detail=str(error))
