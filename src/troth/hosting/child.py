"""Processes as children of this one: they end with it. For what has no first process above it, and for
whatever is to end with the keeper."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable

from troth.core.errors import PlatformError
from troth.core.process import ProcessSpec
from troth.hosting import isolation, processes
from troth.hosting.crashes import open_log
from troth.hosting.driver import About, Kept, command


class Child:
    """One process, watched and signalled through its pidfd, which becomes this object's. `ended` is set at
    its end: no thread, no polling.

    Popen's own ways to signal are avoided: they reap a child that has ended, and its number, by which its
    process group is ended afterwards, could then belong to another.
    """

    def __init__(self, pid: int, descriptor: int, reap: Callable[[], int]) -> None:
        self.pid = pid
        self.ended = asyncio.Event()
        self._descriptor, self._reap = descriptor, reap
        asyncio.get_running_loop().add_reader(descriptor, self._note_end)

    def send(self, number: signal.Signals) -> None:
        """Signal it; nothing happens when it has ended."""
        if self.ended.is_set():
            return
        with contextlib.suppress(ProcessLookupError):  # reaped by the first process, and not heard of yet
            signal.pidfd_send_signal(self._descriptor, number)

    def reap(self) -> int:
        """See `Work.reap`."""
        status = self._reap()
        os.close(self._descriptor)
        return status

    def _note_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        self.ended.set()


class OwnChildren:
    """A driver that keeps nothing beyond this process."""

    kind = "process"

    def __init__(self, machine: isolation.Machine) -> None:
        self._machine = machine

    def start(self, about: About) -> Child:
        """See `Driver.start`."""
        argv = command(about, self._machine)
        try:
            process = _open(about.spec, argv, about.mark)
            return Child(process.pid, os.pidfd_open(process.pid), lambda: _reap(process))
        except OSError as error:
            raise cannot_start(about.spec, error) from error

    def kept(self) -> tuple[Kept, ...]:
        """Nothing."""
        return ()


def cannot_start(spec: ProcessSpec, error: OSError) -> PlatformError:
    """The system's reason, for a person."""
    reason = os.strerror(error.errno) if error.errno else "it takes too long"
    return PlatformError(f"{spec.name} cannot start: {reason}.", detail=str(error))


def _reap(process: subprocess.Popen[bytes]) -> int:
    os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _open(spec: ProcessSpec, argv: tuple[str, ...], mark: str) -> subprocess.Popen[bytes]:
    log = open_log(spec.log)
    try:
        return subprocess.Popen(
            argv,
            env={**spec.environment, processes.MARK: mark},
            cwd=spec.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            umask=0o077,
            process_group=0,
        )
    finally:
        os.close(log)
