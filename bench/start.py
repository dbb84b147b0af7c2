"""How long the whole platform takes to the first page, and how much memory it holds at rest.

`python -m bench.start`. The real `troth up` on a state folder that was used before, with the example's
configuration. The clock runs from the start of the command to a 200 on /login over verified HTTPS.
"""

import http.client
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from bench.results import Entry, entry, record
from troth.hosting.ports import free_ports

ROOT = Path(__file__).parents[1]
CONFIGURATION = ROOT / "examples" / "residents" / "troth.toml"
TROTH = Path(sys.executable).parent / "troth"
DOMAIN = "residents.localhost"
RUNS = 5
LIMIT = 120.0
"""Seconds after which a start counts as failed."""

RESTING_RUNS = (1, 2, 3)
"""The runs whose memory is read."""

REST = 20.0
"""Seconds after the first page before memory is read: nothing is left of the work of starting."""

AIMS = {3: 15.0, 1: 5.0}
"""Members → seconds."""

MEMORY_AIM = 900.0
"""Megabytes."""


class Platform:
    """One state folder and its two public ports."""

    def __init__(self, folder: Path, members: int, configuration: Path = CONFIGURATION) -> None:
        self.folder, self.members, self.configuration = folder, members, configuration
        self.https, self.http = free_ports(2)

    @contextmanager
    def running(self) -> Generator[tuple[subprocess.Popen[bytes], float]]:
        """`troth up`, from its start until the end of the block; yields it and when it began."""
        argv = [str(TROTH), "up", "--config", str(self.configuration), "--state", str(self.folder)]
        argv += [
            "--members",
            str(self.members),
            "--https-port",
            str(self.https),
            "--http-port",
            str(self.http),
        ]
        with (self.folder.parent / "up.log").open("ab") as log:
            began = time.perf_counter()
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process, began
        finally:
            process.terminate()
            process.wait(LIMIT)

    def until_first_page(self, process: subprocess.Popen[bytes], began: float) -> float:
        """Seconds from `began` to the first page. Ends the program when there is none."""
        while time.perf_counter() - began < LIMIT and process.poll() is None:
            with suppress(OSError, http.client.HTTPException):
                if self._status() == 200:
                    return time.perf_counter() - began
            time.sleep(0.01)
        raise SystemExit((self.folder.parent / "up.log").read_text()[-2000:])

    def _status(self) -> int:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        with (
            socket.create_connection(("127.0.0.1", self.https), timeout=2.0) as plain,
            context.wrap_socket(plain, server_hostname=DOMAIN) as secure,
        ):
            secure.sendall(f"GET /login HTTP/1.1\r\nHost: {DOMAIN}:{self.https}\r\n\r\n".encode())
            answer = http.client.HTTPResponse(secure)
            answer.begin()
            return answer.status


def memory(process: subprocess.Popen[bytes]) -> float:
    """Proportional set size of `troth up` and everything below it, in megabytes."""
    outermost = psutil.Process(process.pid)
    return sum(one.memory_full_info().pss for one in (outermost, *outermost.children(recursive=True))) / 1e6


def measure(members: int) -> tuple[Entry, Entry]:
    """Start and memory with so many members; the first start, which makes the database, does not count."""
    with tempfile.TemporaryDirectory(prefix="troth-bench-") as name:
        platform = Platform(Path(name) / "s", members)
        seconds: list[float] = []
        megabytes: list[float] = []
        for number in range(RUNS + 1):
            with platform.running() as (process, began):
                seconds.append(platform.until_first_page(process, began))
                print(f"  {members} members: {seconds[-1]:.2f} s", flush=True)
                if number in RESTING_RUNS:
                    time.sleep(REST)
                    megabytes.append(memory(process))
                    print(f"  {members} members: {megabytes[-1]:.0f} MB", flush=True)
    label = "1-member" if members == 1 else f"{members}-members"
    starts = [(one, AIMS[members]) for one in seconds[1:]]
    sizes = [(one, MEMORY_AIM) for one in megabytes]
    return (
        entry(f"start.{label}", starts, aim=1.0, unit="s", at_least=False),
        entry(f"memory.{label}", sizes, aim=1.0, unit="MB", at_least=False),
    )


def main() -> None:
    """Measure, print, and note the results."""
    record(*(one for members in AIMS for one in measure(members)))


if __name__ == "__main__":
    main()
