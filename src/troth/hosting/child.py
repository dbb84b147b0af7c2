"""One running child: started with exactly what its spec says, watched and signalled through its pidfd."""

import asyncio
import os
import shutil
import signal
import subprocess

from troth.core.errors import PlatformError
from troth.core.process import ProcessSpec
from troth.hosting import isolation, processes
from troth.hosting.crashes import open_log


class Child:
    """A child of this process. `ended` is set at its end: no thread, no polling.

    Popen's own ways to signal are avoided: they reap a child that has ended, and its number, by which its
    process group is ended afterwards, could then belong to another.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self.ended = asyncio.Event()
        self._process = process
        self._descriptor = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(self._descriptor, self._note_end)

    def send(self, number: signal.Signals) -> None:
        """Signal it; nothing happens when it has ended."""
        if not self.ended.is_set():
            signal.pidfd_send_signal(self._descriptor, number)

    def reap(self) -> int:
        """Call once, after its end: ends what is left of its process group and returns its exit status, or
        minus the number of the signal that ended it."""
        os.killpg(self.pid, signal.SIGKILL)
        os.close(self._descriptor)
        return self._process.wait()

    def _note_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        self.ended.set()


def spawn(spec: ProcessSpec, machine: isolation.Machine, mark: str) -> Child:
    """Start it. Raises PlatformError when its program is missing, ConfigError when it cannot run as another
    user."""
    if shutil.which(spec.argv[0], path=spec.environment.get("PATH")) is None:
        raise PlatformError(f"{spec.name} cannot start: the program {spec.argv[0]} is missing.")
    argv = isolation.guard(spec.argv)
    if spec.as_other_user:
        argv = isolation.as_other_user(machine, argv)
    try:
        return Child(_open(spec, argv, mark))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise PlatformError(f"{spec.name} cannot start: {reason}.", detail=str(error)) from error


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
