"""A fleet of two toys, some releases of which are not fit to serve."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from troth.core.process import Endpoint, ProcessSpec
from troth.hosting import isolation, processes
from troth.hosting.deployment import Deployment
from troth.hosting.instance import Instance, Prepared, Release
from troth.hosting.instances import Fleet
from troth.hosting.ports import free_ports
from troth.hosting.rolling import Rolling
from troth.hosting.supervisor import Supervisor

SERVER = """
import socket, sys
if sys.argv[2] == "broken": sys.exit(9)
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True: server.accept()[0].close()
"""


class Hall:
    """A fleet of toys; a release named `broken` ends at once, one named `wrong` does not pass the check."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.supervisor = Supervisor(folder, folder / "crashes", isolation.probe())
        self.lines: list[str] = []
        self.spoil_after: int | None = None
        """So many instances of another release than the first are good; those that follow end at once."""
        self.fleet = Fleet(
            "toy",
            2,
            release=self.release("one"),
            supervisor=self.supervisor,
            prepare=self._prepare,
            is_ready=_answers,
            rebalance=_nothing,
            start_seconds=10.0,
        )
        self.deployment = Deployment(self.fleet, notice=_nothing, check=_check)
        self.rolling = Rolling(self.fleet, notice=_nothing, check=_check, trial=1.0)

    def release(self, name: str) -> Release:
        return Release(name=name, target="toy:app", folder=self.folder)

    async def take_over(self, name: str) -> None:
        await self.deployment.take_over(self.release(name), self.lines.append)

    def serving(self) -> list[str]:
        return sorted(one.release.name for one in self.fleet.instances if one.balanced)

    async def _prepare(self, slot: str, generation: int, release: Release) -> Prepared:
        endpoint = Endpoint("127.0.0.1", free_ports(1)[0])
        name = release.name
        if self.spoil_after is not None and name != "one":
            name, self.spoil_after = (
                ("broken" if self.spoil_after == 0 else name),
                max(0, self.spoil_after - 1),
            )
        spec = ProcessSpec(
            name=slot,
            argv=(sys.executable, "-I", "-S", "-c", SERVER, str(endpoint.port), name),
            environment={},
            folder=self.folder,
            log=self.folder / f"{slot}.log",
        )
        return Prepared(spec, endpoint)


async def _nothing() -> None:
    await asyncio.sleep(0)


async def _check(new: Instance, old: Instance) -> str:
    return "answers 500 to a first request" if new.release.name == "wrong" else ""


async def _answers(endpoint: Endpoint) -> bool:
    try:
        _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def open_hall(folder: Path) -> AsyncGenerator[Hall]:
    """A hall that leaves nothing behind."""
    hall = Hall(folder)
    await hall.fleet.start()
    yield hall
    hall.supervisor.hurry()
    await hall.fleet.stop()
    await hall.supervisor.stop_all()
    assert processes.marked(processes.prefix(folder)) == ()
