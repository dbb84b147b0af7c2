"""Two real instances behind a real edge, looked after, under a bounded load, with faults to be planted."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import httpx
import msgspec

from support.edge import World, listening
from support.waiting import until
from troth.core.ca import Subject
from troth.core.clock import Clock, SystemClock
from troth.core.process import Bounds, Endpoint, ProcessSpec
from troth.hosting import isolation, processes
from troth.hosting.cgroups.groups import find
from troth.hosting.edge_admin import caddy_binary, start_spec
from troth.hosting.edge_log import EdgeLog, Ledger
from troth.hosting.edge_proxy import NOTICED_SECONDS
from troth.hosting.edge_state import service_name
from troth.hosting.health import ReadinessProbe
from troth.hosting.instance import Change, Instance, Prepared, Release
from troth.hosting.instance_file import InstanceFile
from troth.hosting.instances import Fleet
from troth.hosting.judging import Policy
from troth.hosting.ports import free_ports
from troth.hosting.supervisor import Supervisor
from troth.hosting.tending import EVERY_SECONDS, Alarm, Tender
from troth.hosting.wire import encode

CLIENTS = 6
BOUNDS = Bounds(memory=512 << 20, tasks=128)

APPLICATION = """
import asyncio, os, pathlib, time

NAME, FOLDER = os.environ["NAME"], pathlib.Path(os.environ["FOLDER"])
kept, asked = [], 0

def has(fault):
    return (FOLDER / f"{NAME}.{fault}").exists() or (FOLDER / f"all.{fault}").exists()

def wait_for_ever():
    time.sleep(3600)

def compute_for_ever():
    while True:
        pass

async def app(scope, receive, send):
    global asked
    if scope["type"] == "lifespan":
        await receive()
        if has("slow"):
            await asyncio.sleep(2.0)
        if has("broken"):
            os._exit(9)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    asked += 1
    if has("hangs"):
        wait_for_ever()
    if has("blocks") and not kept:
        kept.append(b"blocked once")
        time.sleep(1.0)
    if has("spins"):
        compute_for_ever()
    if has("eats"):
        kept.extend(bytearray(8 << 20) for _ in range(100))
    if has("leaks"):
        kept.append(b"x" * (8 << 20))
    errs = has("errs") and asked % 5 == 0
    sick = has("sick") and scope["path"] == "/well"
    status = 500 if errs or sick else 200
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": NAME.encode()})
"""


class Answer(msgspec.Struct, frozen=True):
    """What came of one request: 0 is no answer at all."""

    at: float
    status: int
    by: str


class Ward:
    """Runs inside `open_ward`."""

    def __init__(self, folder: Path, policy: Policy, clock: Clock) -> None:
        self.folder = folder
        self.world = World(folder)
        (folder / "toy_application.py").write_text(APPLICATION)
        self._places = {f"web-{slot}-{turn}": port for (slot, turn), port in _places().items()}
        endpoints = tuple(Endpoint("127.0.0.1", port) for port in self._places.values())
        self.state = msgspec.structs.replace(self.world.state, web=endpoints)
        self._keeper = self.world.authorities.leaf(
            "callers", Subject(common_name="keeper", usage="client"), "keeper"
        )
        self.probe = ReadinessProbe(
            self.world.authorities.ca("instances"), self._keeper.certificate, self._keeper.key
        )
        self.groups = find(folder)
        self.supervisor = Supervisor(folder, folder / "crashes", isolation.probe(), clock, groups=self.groups)
        self.fleet = Fleet(
            "web",
            2,
            release=Release(name="one", target="toy_application:app", folder=folder),
            supervisor=self.supervisor,
            prepare=self._prepare,
            is_ready=self._is_ready,
            rebalance=lambda: asyncio.sleep(NOTICED_SECONDS),
            drain_seconds=3.0,
        )
        self.changes: list[Change] = []
        self.fleet.watchers.append(self.changes.append)
        self.alarms: list[Alarm] = []
        ledger = Ledger()
        self.log = EdgeLog(self.state.access_log, ledger)
        self.tender = Tender(self.fleet, ledger, clock=clock, policy=policy, alarmed=self.alarms.append)
        self.answers: list[Answer] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def _prepare(self, slot: str, generation: int, release: Release) -> Prepared:
        turn = f"{slot}-{generation % 2}"
        name = f"{slot}-{generation}"
        subject = Subject(common_name=name, dns=(service_name("web"),), usage="server")
        leaf = self.world.authorities.leaf("instances", subject, turn)
        endpoint = Endpoint("127.0.0.1", self._places[turn])
        described = InstanceFile(
            name=slot,
            kind="app",
            target=release.target,
            folder=release.folder,
            port=endpoint.port,
            certificate=leaf.certificate,
            key=leaf.key,
            client_ca=self.world.authorities.ca("callers"),
            environment={"NAME": name, "FOLDER": str(self.folder)},
            drain_seconds=2.0,
            pulse=self.folder / f"{turn}.pulse",
        )
        file = self.folder / f"{turn}.json"
        file.write_bytes(encode(described))
        spec = ProcessSpec(
            name=slot,
            argv=(sys.executable, "-I", "-m", "troth.hosting.runner", str(file)),
            environment={"PATH": "/usr/bin:/bin"},
            folder=self.folder,
            log=self.folder / f"{slot}.log",
            bounds=BOUNDS,
        )
        return Prepared(spec, endpoint, described.pulse)

    async def _is_ready(self, endpoint: Endpoint) -> bool:
        return await self.probe.is_started(endpoint) and await self.probe.is_well(endpoint, "/well")

    async def start(self) -> None:
        await self.fleet.start()
        spec = start_spec(self.state, binary=caddy_binary(), log=self.folder / "caddy.out")
        self.world.run_edge(spec)
        await listening(self.state.https_port)
        self._tasks = [
            asyncio.create_task(self._repeat(EVERY_SECONDS, self._look)),
            asyncio.create_task(self._repeat(1.0, self.fleet.check)),
            *(asyncio.create_task(self._ask_for_ever()) for _ in range(CLIENTS)),
        ]
        await self.served(50)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.tender.stop()
        self.log.close()
        await self.fleet.stop()
        await self.supervisor.stop_all()
        await self.world.stop()

    async def _repeat(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            await work()

    async def _look(self) -> None:
        now = time.monotonic()
        self.log.follow(now)
        self.tender.look(now)

    async def _ask_for_ever(self) -> None:
        """One request after the other; nothing is tried again by the client."""
        async with self.world.browser() as browser:
            while True:
                at = time.monotonic()
                try:
                    answer = await browser.get("/api/v1/x")
                    self.answers.append(Answer(at, answer.status_code, answer.text[:20]))
                except httpx.HTTPError as error:
                    self.answers.append(Answer(at, 0, repr(error)))
                await asyncio.sleep(0.01)

    def plant(self, fault: str, instance: Instance | None = None) -> float:
        """From now on an instance, or every one that there will be, has this fault; returns when."""
        who = f"{instance.slot}-{instance.generation}" if instance is not None else "all"
        (self.folder / f"{who}.{fault}").touch()
        return time.monotonic()

    def send(self, number: signal.Signals, instance: Instance) -> float:
        """Signal an instance's process; returns when."""
        assert instance.process is not None and instance.process.pid is not None
        os.kill(instance.process.pid, number)
        return time.monotonic()

    async def served(self, more: int) -> None:
        """Wait for so many more answers that are as they should be."""
        wanted = self.good + more
        await until(lambda: self.good >= wanted, 60.0)

    async def whole(self, *, changed: bool = True) -> float:
        """Wait until two instances are ready and in balancing after one was not; returns when that was."""
        await until(lambda: not self._is_whole, 60.0) if changed else None
        await until(lambda: self._is_whole, 60.0)
        return time.monotonic()

    async def out(self, ill: Instance) -> float:
        """Wait until the edge is to send it nothing more; returns when that was."""
        await until(lambda: not ill.balanced, 30.0)
        return time.monotonic()

    async def full(self) -> float:
        """Wait until two serve that are ready, whoever else is on his way out; returns when that was."""
        await until(
            lambda: sum(one.balanced and one.phase == "ready" for one in self.fleet.instances) >= 2, 60.0
        )
        return time.monotonic()

    @property
    def _is_whole(self) -> bool:
        views = self.fleet.views()
        return len(views) == 2 and all(view.phase == "ready" and not view.held for view in views)

    @property
    def good(self) -> int:
        return sum(answer.status == 200 for answer in self.answers)

    def lost(self) -> list[Answer]:
        """Requests that were not answered as they should be."""
        return [answer for answer in self.answers if answer.status != 200]


@contextlib.asynccontextmanager
async def open_ward(
    folder: Path, policy: Policy | None = None, clock: Clock | None = None
) -> AsyncGenerator[Ward]:
    """A Ward that is up, and nothing of it afterwards."""
    ward = Ward(folder, policy or Policy(), clock or SystemClock())
    try:
        await ward.start()
        yield ward
    finally:
        await ward.stop()
    assert processes.marked(processes.prefix(folder)) == ()


def _places() -> dict[tuple[int, int], int]:
    keys = [(slot, turn) for slot in (1, 2, 3) for turn in (0, 1)]
    return dict(zip(keys, free_ports(len(keys)), strict=True))
