"""A machine with a firewall, one that stands for the public internet, and one for the administrators.

The machine is a host of `support.network`; what runs on it is told to a process in its network, line by line
(`support.bystander`, `support.firewalled_host`).
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from support.network import Network, address, network
from support.platform import TROTH
from troth.hosting.firewall import outside
from troth.hosting.firewall.nft import Nft

MACHINE, PUBLIC, OFFICE = 1, 2, 3

_TESTS = Path(__file__).resolve().parents[1]
_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


class Firewalled:
    """The three, for as long as `firewalled` lasts."""

    def __init__(self, made: Network, state: Path) -> None:
        self.network = made
        self.state = state
        self._hosts = {number: self._start(number) for number in (MACHINE, PUBLIC, OFFICE)}

    def ask(self, host: int, do: str, **arguments: Any) -> Any:
        """Have something done on a host; returns the answer. Raises AssertionError with its complaint."""
        process = self._hosts[host]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def refused(self, host: int, do: str, **arguments: Any) -> str:
        """What a host says when it will not."""
        try:
            self.ask(host, do, **arguments)
        except AssertionError as error:
            return str(error)
        raise AssertionError(f"{do} was not refused")

    def scan(self, host: int, address: str, *again: int) -> dict[int, str]:
        """Every TCP port of an address that answers there."""
        argv = self.network.host(host).run(sys.executable, "-I", "-S", outside.__file__)
        told = f"{address} {' '.join(map(str, again))}\n"
        done = subprocess.run(argv, input=told, capture_output=True, text=True, timeout=120, check=True)
        assert done.stdout.endswith("done\n"), done.stderr
        rows = (line.split() for line in done.stdout.splitlines()[1:-1])
        return {int(port): how for port, how in rows}

    def verb(self, *words: str, come_from: str) -> subprocess.CompletedProcess[str]:
        """`troth firewall …` on the machine, by somebody who came by SSH from this address."""
        argv = self.network.host(MACHINE).run(str(TROTH), "firewall", *words, "--state", str(self.state))
        way_in = f"{come_from} 50000 {address(MACHINE)} 22"
        environment = {**os.environ, "SSH_CONNECTION": way_in}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def nft(self, transaction: str) -> None:
        """What somebody else on the machine does with its packet filter."""
        self.ask(MACHINE, "nft", transaction=transaction)

    def close(self) -> None:
        for process in self._hosts.values():
            process.kill()
            process.communicate()

    def _start(self, number: int) -> subprocess.Popen[str]:
        program = "support.firewalled_host" if number == MACHINE else "support.bystander"
        argv = self.network.host(number).run(sys.executable, "-m", program, str(self.state))
        return subprocess.Popen(
            (*_DIE_WITH_PARENT, *argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(_TESTS)},
        )


@contextlib.contextmanager
def firewalled(state: Path) -> Generator[Firewalled]:
    """Skips the test, with the reason, where no networks can be made or the kernel knows no nftables."""
    with network(3) as made:
        nft = made.host(MACHINE).run(str(Nft.find().program), "list", "ruleset")
        done = subprocess.run(nft, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            pytest.skip(f"no packet filter can be set here: {done.stderr.strip()[:200]}")
        running = Firewalled(made, state)
        try:
            yield running
        finally:
            running.close()
