"""A first process whose keeper hands its socket to the test: the test asks what a keeper would ask."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from troth.hosting import init, isolation, processes
from troth.hosting.first import FirstProcess

_KEEPER = """
import os, socket, sys, time
line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
line.connect(sys.argv[1])
socket.send_fds(line, [b"%d" % os.getpid()], [int(os.environ["TROTH_FIRST"])])
time.sleep(3600)
"""

_IMPATIENT = """
import sys
script, look, *keeper = sys.argv[1:]
sys.path.insert(0, script.rpartition("/")[0])
import init
init.LOOK = float(look)
sys.exit(init.main(["alone", "-", *keeper]))
"""


class Handed:
    """What a keeper was given, in the hands of a test. `alone`: its numbers of processes are the test's. The
    keeper is looked at every `look` seconds."""

    def __init__(self, folder: Path, look: float = init.LOOK) -> None:
        self.folder, self.pid = folder, 0
        self._given: list[FirstProcess] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(folder / "hand.sock"))
        self._listener.listen(8)
        self._listener.settimeout(20)
        keeper = (sys.executable, "-I", "-S", "-c", _KEEPER, str(folder / "hand.sock"))
        keeper = isolation.guard(keeper, "TERM")
        self.process = subprocess.Popen(
            (sys.executable, "-I", "-S", "-c", _IMPATIENT, str(Path(init.__file__)), str(look), *keeper),
            env={"PATH": "/usr/bin:/bin", processes.MARK: processes.mark(folder, "first", 0)},
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def take(self, seconds: float = 10.0) -> FirstProcess:
        """What the next keeper is given; it waits so long for an answer."""
        connection, _ = self._listener.accept()
        with connection:
            pid, (number,), _, _ = socket.recv_fds(connection, 64, 1)
        self.pid = int(pid)
        self._given.append(FirstProcess(socket.socket(fileno=number), isolation.probe(), seconds))
        return self._given[-1]

    def kill_keeper(self) -> None:
        """As the kernel does when memory runs out."""
        self.let_go()
        self._given[-1].close()
        os.kill(self.pid, signal.SIGKILL)

    def let_go(self) -> None:
        """What it still looked after is in nobody's hands."""
        for task in asyncio.all_tasks():
            if task.get_name().startswith("keep "):
                task.cancel()

    def close(self) -> str:
        """End it; returns what it said."""
        self._listener.close()
        for one in self._given:
            one.close()
        self.process.terminate()
        try:
            return self.process.communicate(timeout=20)[1].decode()
        except subprocess.TimeoutExpired:
            processes.end(processes.marked(processes.prefix(self.folder)))
            raise
