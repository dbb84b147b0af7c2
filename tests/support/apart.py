"""A machine with a platform's private network on it, and somebody far away. `support.apart_side` is the
keeper's part of it, `support.apart_party` everybody else."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from support.apart_side import FAR
from support.network import Network, network
from troth.core.state import open_state
from troth.hosting import isolation
from troth.hosting.firewall.nft import Nft
from troth.hosting.plan import Launch
from troth.hosting.private_network import beginning
from troth.hosting.private_network.possible import obstacle

MACHINE = 1
SIDE = "side"

_TESTS = Path(__file__).resolve().parents[1]
_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


class Apart:
    """The machine, the private side on it, and the one far away, while `apart` lasts."""

    def __init__(self, made: Network, root: Path) -> None:
        state = open_state(root)
        self.network = made
        launch = Launch(config=root, state=state.root, apart=True)
        first = (sys.executable, "-m", "support.apart_side", str(state.root))
        contained = isolation.contain(isolation.probe(), beginning.enter(launch, first))
        party = (sys.executable, "-m", "support.apart_party")
        self._parties: dict[int | str, subprocess.Popen[str]] = {
            MACHINE: self._start(made.host(MACHINE).run(*party)),
            FAR: self._start(made.host(FAR).run(*party)),
            SIDE: self._start(made.host(MACHINE).run(*contained)),
        }
        for number in (MACHINE, FAR):
            assert self._hear(number) == "ready"
        self.link: dict[str, str] = self.ask(SIDE, "start")

    def ask(self, whom: int | str, do: str, **arguments: Any) -> Any:
        """Have something done; returns the answer. Raises AssertionError with a complaint."""
        stdin = self._parties[whom].stdin
        assert stdin is not None
        stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        stdin.flush()
        answer = self._hear(whom)
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def edge(self, do: str, **arguments: Any) -> Any:
        """The same of the edge."""
        answer = self.ask(SIDE, "at_edge", asked={"do": do, **arguments})
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def rules(self) -> str:
        """The packet filter of the machine."""
        argv = self.network.host(MACHINE).run(str(Nft.find().program), "list", "ruleset")
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout

    def kill(self) -> None:
        """SIGKILL to the first process of the private side, as seen from here."""
        self._parties[SIDE].kill()
        self._parties[SIDE].communicate()

    def close(self) -> None:
        for process in self._parties.values():
            process.kill()
            process.communicate()

    def _start(self, argv: tuple[str, ...]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            (*_DIE_WITH_PARENT, *argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(_TESTS)},
        )

    def _hear(self, whom: int | str) -> Any:
        stdout = self._parties[whom].stdout
        assert stdout is not None
        return json.loads(stdout.readline())


@contextlib.contextmanager
def apart(root: Path) -> Generator[Apart]:
    """Skips the test, with the reason, where no private network can be made."""
    why = obstacle(isolation.probe())
    if why:
        pytest.skip(f"no private network here: {why}")
    with network(2) as made:
        running = Apart(made, root)
        try:
            yield running
        finally:
            running.close()
