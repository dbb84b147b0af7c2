"""Processes made for probing under the same care as instances: one is killed, or says that it errs, and what
becomes of it is timed. Nobody's request is touched."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from troth.core.errors import PlatformError
from troth.core.process import Endpoint, ProcessSpec
from troth.hosting.backoff import Restart
from troth.hosting.edge_log import Ledger
from troth.hosting.instance import Prepared, Release
from troth.hosting.instances import Fleet
from troth.hosting.judging import Policy
from troth.hosting.sentinel import ILL
from troth.hosting.supervisor import ALWAYS, Supervisor
from troth.hosting.tending import EVERY_SECONDS, Tender

PATIENCE_SECONDS = 10.0
"""What does not happen within this time does not happen."""

_GAP = 0.02
_START_SECONDS = 20.0
_SERVICE = "sentinel"


class Replaced(msgspec.Struct, frozen=True):
    """Seconds from the illness until no more requests would have come, and until another had taken its place;
    None for what did not happen."""

    relieved: float | None
    replaced: float | None


class Sentinels:
    """Starts sentinels and ends every one of them; `folder` is theirs alone."""

    def __init__(self, supervisor: Supervisor, folder: Path) -> None:
        self._supervisor, self._folder = supervisor, folder

    async def restart(self, restart: Restart | None = ALWAYS) -> float | None:
        """Kill one; returns the seconds until it ran again, or None when it did not."""
        self._make_folder()
        process = self._supervisor.start(self._spec("restarted", self._pulse("restarted")), restart=restart)
        try:
            killed = process.pid
            began = time.monotonic()
            process.send(signal.SIGKILL)
            back = await _happens(lambda: process.pid not in (None, killed))
            return round(time.monotonic() - began, 3) if back else None
        finally:
            await process.stop()

    async def replacement(self, *, tended: bool = True) -> Replaced:
        """Two of them, looked after like instances unless `tended` is false; one begins to err. Raises
        PlatformError when they do not start."""
        self._make_folder()
        fleet = self._fleet()
        tender = Tender(fleet, Ledger(), clock=self._supervisor.clock, policy=Policy())
        looking: asyncio.Task[None] | None = None
        try:
            await fleet.start()
            if tended:
                looking = asyncio.create_task(_look_for_ever(tender))
            return await self._fall_ill(fleet)
        finally:
            if looking is not None:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
            await tender.stop()
            await fleet.stop()
            for file in self._folder.glob(f"*{ILL}"):
                file.unlink(missing_ok=True)

    async def _fall_ill(self, fleet: Fleet) -> Replaced:
        ill = fleet.instances[0]
        pulse = self._pulse(f"{ill.slot}-{ill.generation}")
        began = time.monotonic()
        pulse.with_name(pulse.name + ILL).touch()
        if not await _happens(lambda: not ill.balanced):
            return Replaced(None, None)
        relieved = round(time.monotonic() - began, 3)
        gone = await _happens(lambda: ill not in fleet.instances)
        whole = gone and sum(one.balanced and one.phase == "ready" for one in fleet.instances) == 2
        return Replaced(relieved, round(time.monotonic() - began, 3) if whole else None)

    def _fleet(self) -> Fleet:
        places: dict[Endpoint, Path] = {}

        async def prepare(slot: str, generation: int, release: Release) -> Prepared:
            pulse = self._pulse(f"{slot}-{generation}")
            pulse.with_name(pulse.name + ILL).unlink(missing_ok=True)
            endpoint = Endpoint(slot, generation)
            places[endpoint] = pulse
            return Prepared(self._spec(slot, pulse), endpoint, pulse)

        async def is_ready(endpoint: Endpoint) -> bool:
            return any(one.told is not None for one in fleet.instances if one.endpoint == endpoint)

        async def rebalance() -> None:
            """No edge knows of them."""

        fleet = Fleet(
            _SERVICE,
            2,
            release=Release(name="probe", target="none:none", folder=self._folder),
            supervisor=self._supervisor,
            prepare=prepare,
            is_ready=is_ready,
            rebalance=rebalance,
            start_seconds=_START_SECONDS,
        )
        return fleet

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self._folder / "restarted.pulse").touch(mode=0o600)
        except OSError as error:
            raise PlatformError(f"{self._folder} cannot be written: {error.strerror}.") from error

    def _pulse(self, name: str) -> Path:
        return self._folder / f"{name}.pulse"

    def _spec(self, name: str, pulse: Path) -> ProcessSpec:
        return ProcessSpec(
            name=f"{_SERVICE}-{name}" if name == "restarted" else name,
            argv=(sys.executable, "-I", "-m", "troth.hosting.sentinel", str(pulse)),
            environment={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            folder=self._folder,
            log=self._folder / f"{name}.log",
            stop_seconds=2.0,
        )


async def _look_for_ever(tender: Tender) -> None:
    while True:
        tender.look(time.monotonic())
        await asyncio.sleep(EVERY_SECONDS)


async def _happens(condition: Callable[[], bool]) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110 - other tasks and processes make it true
                await asyncio.sleep(_GAP)
            return True
    return False
