"""The keeper's part of scaling: what a person says comes first, and is kept."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from support.platform import EXAMPLE
from support.waiting import until
from troth.cli.scaling import set_number
from troth.core.clock import SystemClock
from troth.core.config import load_settings
from troth.core.errors import PlatformError, UsageError
from troth.core.process import Endpoint
from troth.core.state import State
from troth.hosting.edge_log import Ledger
from troth.hosting.pulse import Pulse
from troth.wiring.scaling import Scaling
from troth.wiring.services import ServicesPart

PLACE = Endpoint("127.0.0.1", 1)


class Services:
    """Fleets that change at once, and an edge that tells what it is told to."""

    def __init__(self) -> None:
        pulse = Pulse(pid=1, at=1.0, lag=0.0, beats=1, served=0, failed=0, raised=0, in_flight=0)
        one = SimpleNamespace(endpoint=PLACE, told=pulse, balanced=True)
        self.fleets = {
            name: SimpleNamespace(size=2, changing=asyncio.Lock(), instances=(one,) if name == "web" else ())
            for name in ("web", "portal")
        }
        self.tending = SimpleNamespace(ledger=Ledger())
        self.load = 0
        self.edge_fails = self.resize_fails = False

    async def in_flight(self) -> dict[str, int]:
        if self.edge_fails:
            raise PlatformError("The edge does not answer.")
        return {str(PLACE): self.load}

    async def resize(self, service: str, wanted: int) -> None:
        if self.resize_fails:
            raise PlatformError(f"{service}-3 ended before it was ready.")
        self.fleets[service].size = wanted


class Desk:
    def __init__(self, root: Path) -> None:
        self.state, self.services = State(root), Services()
        self.scaling = self.open()

    def open(self) -> Scaling:
        settings = load_settings(EXAMPLE)
        return Scaling(settings, self.state, cast("ServicesPart", self.services), SystemClock())

    async def set(self, service: str, number: object) -> dict[str, Any]:
        return await self.scaling.actions()["scaling.set"]({"service": service, "number": number})

    async def look(self, times: int) -> None:
        for _ in range(times):
            await self.scaling.work()
            await asyncio.sleep(0)

    async def web(self) -> dict[str, Any]:
        return msgspec.to_builtins((await self.scaling.report())[0])


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncGenerator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    await desk.scaling.stop()


async def test_load_raises_the_number_and_the_status_says_why(desk: Desk) -> None:
    desk.services.load = 60
    await desk.look(2)
    await until(lambda: desk.services.fleets["web"].size == 4)
    assert desk.services.fleets["portal"].size == 2
    shown = await desk.web()
    assert (shown["instances"], shown["mode"], shown["under_way"]) == (4, "auto", 60)
    assert "2 to 4" in shown["last_change"] and "60 requests under way" in shown["last_change"]


async def test_a_number_by_a_person_stays_whatever_the_load_also_after_a_restart(desk: Desk) -> None:
    assert (await desk.set("web", 3))["mode"] == "fixed"
    desk.services.load = 60
    await desk.look(3)
    assert desk.services.fleets["web"].size == 3
    assert desk.scaling.hindered() == ("web stays at 3, by a person's word",)
    again = desk.open()
    assert again.served["web"].fixed == 3
    desk.scaling = again
    assert (await desk.set("web", None))["mode"] == "auto"
    assert desk.open().served["web"].fixed is None


async def test_while_it_is_halted_nothing_follows(desk: Desk) -> None:
    desk.scaling.halted = True
    desk.services.load = 60
    await desk.look(4)
    assert desk.services.fleets["web"].size == 2
    desk.scaling.halted = False
    await desk.look(1)
    await until(lambda: desk.services.fleets["web"].size == 4)


async def test_an_edge_that_is_away_is_no_reason_to_fail(desk: Desk) -> None:
    desk.services.edge_fails = True
    assert await desk.scaling.work() == ""


async def test_instances_that_do_not_come_up_leave_the_number_and_are_told(desk: Desk) -> None:
    desk.services.load, desk.services.resize_fails = 60, True
    await desk.look(2)
    await until(lambda: bool(desk.scaling.served["web"].changes))
    shown = await desk.web()
    assert shown["instances"] == 2
    assert "failed: web-3 ended before it was ready." in shown["last_change"]


@pytest.mark.parametrize("service, number", [("shop", 2), ("web", 0), ("web", 5), ("web", "three")])
async def test_what_cannot_be_is_refused_and_changes_nothing(
    desk: Desk, service: str, number: object
) -> None:
    with pytest.raises(UsageError) as refused:
        await desk.set(service, number)
    assert refused.value.hint
    assert desk.services.fleets["web"].size == 2


def test_a_file_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "scaling.json").write_text("{")
    with pytest.raises(PlatformError) as refused:
        Desk(tmp_path)
    assert "Delete it" in refused.value.hint


def test_the_command_refuses_what_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no number"):
        set_number(tmp_path, "web", "many", json=False)
