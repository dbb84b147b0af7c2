"""Three hosts in network namespaces, each brought up by `troth member up`, and clients on any host."""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import msgspec

from support.host_client import Ack
from support.network import Network, address
from support.platform import TROTH
from troth.core.clock import SystemClock
from troth.core.errors import PlatformError
from troth.core.leader import DatabaseTarget
from troth.core.process import Endpoint
from troth.core.state import State, open_state
from troth.data.enrolment import authority_file, enrol_host, enrol_platform, leaf_files, take_in
from troth.data.external_store import ExternalStore
from troth.data.hosts import Host, HostSet
from troth.data.roles import OWNER
from troth.hosting import control, processes
from troth.hosting.start import FIRST
from troth.hosting.wire import encode

NUMBERS = (1, 2, 3)
CLIENT = 4
"""The host of the writers; it runs nothing else."""

_TESTS = Path(__file__).resolve().parents[1]
_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
_LINE = 64 * 2**20


class Hosts:
    """The hosts of a network, each with a state folder of its own below `folder`, and a node of the consensus
    store unless `store` is that of somebody else."""

    def __init__(self, folder: Path, network: Network, store: ExternalStore | None = None) -> None:
        self.folder = folder
        self.network = network
        self.set = HostSet(
            hosts=tuple(Host(name=name(n), address=address(n), region="DE") for n in NUMBERS),
            clients=("10.77.0.0/16",),
            consensus=store,
        )
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._clients: list[HostClient] = []
        self._enrol()

    def _enrol(self) -> None:
        now, authorities = SystemClock().now(), self.folder / "authorities"
        for host in self.set.hosts:
            state = open_state(self.folder / host.name)
            take_in(enrol_host(authorities, self.set, host.name, now), state.membership)
        take_in(enrol_platform(authorities, self.set, now), self.platform)

    @property
    def platform(self) -> Path:
        """The folder with a platform's certificates."""
        return self.folder / "platform"

    def state(self, number: int) -> State:
        return State(self.folder / name(number))

    def target(self, *numbers: int) -> DatabaseTarget:
        """How the schema's owner reaches these hosts, or all of them."""
        files = leaf_files(self.platform, OWNER)
        chosen = [
            host for n, host in zip(NUMBERS, self.set.hosts, strict=True) if not numbers or n in numbers
        ]
        return DatabaseTarget(
            hosts=tuple(host.at(host.postgres) for host in chosen),
            user=OWNER,
            ca=authority_file(self.platform, "database"),
            certificate=files.certificate,
            key=files.key,
        )

    async def client(self, place: int, *numbers: int, and_at: tuple[Endpoint, ...] = ()) -> "HostClient":
        """A client on the host `place`, which knows these hosts of the set, or all of them, and others."""
        target = self.target(*numbers)
        target = msgspec.structs.replace(target, hosts=(*and_at, *target.hosts))
        told = encode(target).decode()
        argv = self.network.host(place).run(sys.executable, "-m", "support.host_client", told)
        process = await asyncio.create_subprocess_exec(
            *_DIE_WITH_PARENT,
            *argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(_TESTS)},
            limit=_LINE,
        )
        client = HostClient(process)
        self._clients.append(client)
        return client

    def start(self, number: int) -> None:
        """Bring a host up, as a person does it there."""
        state = self.state(number)
        argv = self.network.host(number).run(str(TROTH), "member", "up", "--state", str(state.root))
        with (self.folder / f"{name(number)}.out").open("ab") as out:
            self._running[number] = subprocess.Popen(
                (*_DIE_WITH_PARENT, *argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    async def lose(self, number: int) -> None:
        """The host is gone: every process on it is killed at once."""
        process = self._running.pop(number)
        process.kill()
        await asyncio.to_thread(process.wait, 10)
        async with asyncio.timeout(10):
            while await asyncio.to_thread(processes.leftovers, self.state(number).root):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def kill_store(self, number: int) -> None:
        """The node of the consensus store on one host dies; its keeper brings it back."""
        self._kill(number, "consensus")

    def kill_member(self, number: int) -> None:
        """Patroni and PostgreSQL of one host die; their keeper brings them back."""
        self._kill(number, name(number))

    def _kill(self, number: int, what: str) -> None:
        marked = processes.marked(f"{processes.prefix(self.state(number).root)}{what}|")
        assert marked
        for process in marked:
            processes.send(process, signal.SIGKILL)

    def kill_keeper(self, number: int) -> None:
        """The keeper of one host dies; its first process starts another one."""
        marked = processes.marked(processes.mark(self.state(number).root, FIRST, 0))
        (keeper,) = [one for one in marked if _command(one)[1:4] == ["-I", "-m", "troth.platform"]]
        processes.send(keeper, signal.SIGKILL)

    async def taken_over(self, number: int) -> int:
        """How many processes the keeper of one host has taken over, once it is ready; 0 before."""
        with contextlib.suppress(PlatformError, OSError):
            answer = await asyncio.to_thread(control.ask, self.state(number).control, {"do": "status"})
            return cast("int", answer["taken_over"]) if answer["ready"] else 0
        return 0

    async def members(self, number: int) -> list[dict[str, Any]]:
        """The set as one host sees it; nothing while it does not say."""
        with contextlib.suppress(PlatformError, OSError):
            answer = await asyncio.to_thread(control.ask, self.state(number).control, {"do": "status"})
            found = answer["members"]
            return cast("list[dict[str, Any]]", found) if isinstance(found, list) else []
        return []

    async def ready(self, *numbers: int, seconds: float = 180) -> None:
        """Wait until these hosts, or all, say that they are whole: every member there and following."""
        async with asyncio.timeout(seconds):
            for number in numbers or NUMBERS:
                while not await self._is_ready(number):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)

    async def _is_ready(self, number: int) -> bool:
        with contextlib.suppress(PlatformError, OSError):
            answer = await asyncio.to_thread(control.ask, self.state(number).control, {"do": "status"})
            return bool(answer["ready"])
        return False

    async def leader(self) -> int:
        """The number of the host that leads."""
        async with asyncio.timeout(60):
            while True:
                for number in NUMBERS:
                    led = [one["name"] for one in await self.members(number) if one["role"] == "leader"]
                    if led:
                        return next(n for n in NUMBERS if name(n) == led[0])
                await asyncio.sleep(0.2)

    async def stop(self) -> None:
        """End every process, whatever became of the test."""
        self.network.heal()
        for client in self._clients:
            await client.close()
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        for number in tuple(self._running):
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._running[number].wait, 40)
            await self.lose(number)


class HostClient:
    """What a test says to a client on a host."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def execute(self, statement: str) -> None:
        await self._ask(do="execute", statement=statement)

    async def open(self) -> float:
        """How many seconds it takes to find the leader."""
        return msgspec.convert(await self._ask(do="open"), float)

    async def wait(self, seconds: float) -> float:
        """Ask something that takes so many seconds; after how many it was given up."""
        return msgspec.convert(await self._ask(do="wait", seconds=seconds), float)

    async def start(self) -> None:
        """Write from now on."""
        await self._ask(do="start")

    async def stop(self) -> list[Ack]:
        """Write no more; what was acknowledged, in its order."""
        return msgspec.convert(await self._ask(do="stop"), list[Ack])

    async def kept(self) -> set[int]:
        """Every number that the set has, as its leader says."""
        return set(msgspec.convert(await self._ask(do="kept"), list[int]))

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def _ask(self, **asked: object) -> object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(asked) + b"\n")
        line = await self._process.stdout.readline()
        answer: dict[str, object] = msgspec.json.decode(line)
        assert "error" not in answer, answer["error"]
        return answer.get("ok")


def _command(process: processes.Process) -> list[str]:
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def name(number: int) -> str:
    """The name of a host in the set."""
    return f"db-{number}"


def pause(acks: list[Ack]) -> float:
    """The longest time between two acknowledged writes, in seconds."""
    return max((later.at - earlier.at for earlier, later in itertools.pairwise(acks)), default=0.0)


def out_of_turn(acks: list[Ack]) -> list[Ack]:
    """Writes that a leader acknowledged after one of a later timeline had done so: a second leader."""
    found: list[Ack] = []
    newest = 0
    for ack in sorted(acks, key=lambda one: one.at):
        if ack.timeline < newest:
            found.append(ack)
        newest = max(newest, ack.timeline)
    return found
