"""A bystander with a firewall: the changes that it can be asked for are those of the product."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from support.bystander import Bystander, serve
from support.platform import EXAMPLE
from troth.core.clock import SystemClock
from troth.core.config import load_settings
from troth.core.errors import TrothError
from troth.core.settings import EdgeSettings, FirewallSettings, Settings
from troth.core.state import State, open_state
from troth.hosting import processes
from troth.hosting.firewall import changing, promise, reverting
from troth.hosting.firewall.nft import Nft
from troth.hosting.firewall.rules import Opened, Policy
from troth.hosting.ports import PublicPorts
from troth.wiring.firewall import Firewall, look, policy_of

HELD = 16
"""How many connections one address may hold."""


def settings() -> Settings:
    """The example on all addresses, for the administrators' network, with one place to fetch from."""
    return msgspec.structs.replace(
        load_settings(EXAMPLE),
        edge=EdgeSettings(address="0.0.0.0", https_port=443, http_port=80),  # noqa: S104
        firewall=FirewallSettings(
            administrators=("10.77.3.0/24",), outgoing=("10.77.2.2:443",), connections=HELD
        ),
    )


def resolve(policy: Policy) -> Opened:
    """These names are all addresses."""
    return Opened(tuple((one.host, one.port) for one in policy.reached), policy.time_servers)


class Host(Bystander):
    """The machine of `support.firewalled`."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.nft_program = Nft.find()
        self.part = Firewall(settings(), state, self._no_database, PublicPorts(443, 80))

    def apply(self, seconds: int = 60) -> str:
        policy = policy_of(settings(), PublicPorts(443, 80))
        return changing.apply(policy, resolve(policy), self.nft_program, self.state, seconds).chain

    def apply_and_die(self, seconds: int) -> None:
        """As if the terminal were closed and everything in it killed."""
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                self.apply(seconds)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)

    def confirm(self) -> None:
        changing.confirm(resolve, self.nft_program, self.state, SystemClock().now())

    def revert(self) -> str:
        return changing.revert(self.nft_program, self.state)

    def repair(self) -> str:
        return changing.repair(
            resolve(policy_of(settings(), PublicPorts(443, 80))), self.nft_program, self.state
        )

    def standing(self) -> dict[str, Any]:
        seen = look(self.nft_program, self.state, time.time())
        return {**msgspec.to_builtins(seen), "good": seen.good, "told": [str(one) for one in seen.bypasses]}

    def until_gone(self) -> float:
        """Seconds until no rules are on trial any more."""
        began = time.monotonic()
        while self.standing()["condition"] == "on trial":
            assert time.monotonic() - began < 60
            time.sleep(0.1)
        return time.monotonic() - began

    def guards(self, chain: str) -> int:
        """How many processes would take the rules of this trial back. The packet filter's own program, which
        such a process asks again and again, is told the chain as well and is none."""
        lines = (_command_line(one.pid) for one in processes.everything())
        return sum(chain.encode() in line and reverting.__file__.encode() in line for line in lines)

    def until_unguarded(self, chain: str) -> None:
        """Returns once there is none."""
        end = time.monotonic() + 60
        while self.guards(chain):
            assert time.monotonic() < end
            time.sleep(0.1)

    def nft(self, transaction: str) -> None:
        self.nft_program.run(transaction)

    def probe(self) -> dict[str, Any]:
        finding = asyncio.run(promise.probe_firewall(self.part.view()))
        return {"verdict": finding.verdict, "evidence": finding.evidence}

    def drill(self) -> dict[str, Any]:
        """The drill of the promise: the verdict before, while the defect is there, and after."""

        async def run() -> list[str]:
            (drill,) = self.part.drills()
            before = await self.part.probe().look()
            async with drill.broken() as faulty:
                during = await faulty.look()
            after = await self.part.probe().look()
            return [before.verdict, during.verdict, after.verdict, during.evidence]

        return {"seen": asyncio.run(run())}

    def _no_database(self, _: str) -> Any:
        raise AssertionError("nothing here is written to a database")


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    serve(Host(open_state(Path(sys.argv[1]))), complaints=TrothError)
