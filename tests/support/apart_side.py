"""The private side as the keeper makes it, told line by line what to do: `-m support.apart_side STATE`.

It is the first process of the namespaces, in the place of the platform's own.
"""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import msgspec

from support.apart_party import Party
from support.bystander import serve
from support.network import address
from support.platform import EXAMPLE
from troth.core.config import load_settings
from troth.core.process import ProcessSpec
from troth.core.settings import DnsSettings, EdgeSettings, PlaceSettings, Settings
from troth.core.state import State, open_state
from troth.hosting import isolation
from troth.hosting.supervisor import Supervisor
from troth.wiring.private_network import Doors, PrivateNetwork
from troth.wiring.resuming import PortBook

FAR = 2
DECLARED, LARGE = 4430, 4470
NAME, NAMED = "reports.place.example", 4450
INSTANCE, API = 20_001, 20_002
HTTPS, HTTP = 443, 80


def settings() -> Settings:
    """The example on all addresses, with three places and one name server, all far away."""
    large = PlaceSettings(host=address(FAR), port=LARGE, region="IE", purpose="archives")
    place = PlaceSettings(host=address(FAR), port=DECLARED, region="IE", purpose="payments")
    named = PlaceSettings(host=NAME, port=NAMED, region="IE", purpose="reports")
    return msgspec.structs.replace(
        load_settings(EXAMPLE),
        edge=EdgeSettings(address="0.0.0.0", https_port=HTTPS, http_port=HTTP),  # noqa: S104
        dns=DnsSettings(servers=(address(FAR),)),
        places={"payments": place, "reports": named, "archives": large},
    )


class Side(Party):
    """One instance and one listener of the edge may be reached over the cable."""

    def __init__(self, state: State) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._state = state
        self.network = PrivateNetwork(
            settings(), state, Supervisor(state.root, state.logs / "crashes", isolation.inside(True))
        )
        self.ports, _ = self.network.ports(PortBook(state, resume=False))
        self._edge: subprocess.Popen[str] | None = None

    def start(self) -> dict[str, str]:
        """The private network, and the edge at its door."""
        doors = Doors(at_instances=(INSTANCE,), at_edge=(API, HTTPS, HTTP))
        (step,) = self.network.steps(lambda: doors)
        self._run(step.start(lambda _: None))
        spec = ProcessSpec(
            name="edge",
            argv=(sys.executable, "-m", "support.apart_party", str(HTTPS)),
            environment={},
            folder=self._state.run,
            log=self._state.logs / "edge.log",
            capabilities=("net_bind_service",),
        )
        argv = self.network.at_the_door(spec, self.ports).argv
        self._edge = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._hear()
        link = self.network.link
        assert link is not None
        return {"private": link.private, "edge": link.edge}

    def follow(self, *offered: int, declared: int) -> None:
        """What `troth reload` does: other doors, and one place more."""
        more = PlaceSettings(host=address(FAR), port=declared, region="IE", purpose="more")
        now = msgspec.structs.replace(settings(), places={**settings().places, "more": more})
        self.network.follow(now, Doors(at_instances=offered, at_edge=(API, HTTPS, HTTP)))

    def at_edge(self, asked: dict[str, Any]) -> Any:
        """Have something done by the edge; returns its whole answer."""
        assert self._edge is not None and self._edge.stdin is not None
        self._edge.stdin.write(json.dumps(asked) + "\n")
        self._edge.stdin.flush()
        return self._hear()

    def answering(self, *ports: int) -> list[str]:
        """What the probe sees of these ports from outside."""
        return [str(one) for one in self._run(self.network.answering(ports)).answered]

    def answering_while_planted(self, *ports: int) -> list[str]:
        """The same during the drill, for the port that it opens as well."""

        async def look() -> list[str]:
            async with self.network.planted() as planted:
                return [str(one) for one in (await self.network.answering((*ports, planted))).answered]

        return self._run(look())

    def _hear(self) -> Any:
        assert self._edge is not None and self._edge.stdout is not None
        return json.loads(self._edge.stdout.readline())

    def _run(self, work: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(60)


def main(root: Path) -> None:
    state = open_state(root)
    state.run.mkdir(exist_ok=True)
    serve(Side(state), complaints=Exception)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
