"""The keeper's part of a deployment: what is asked, what is kept, and what is told of it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from support.platform import EXAMPLE
from support.waiting import until
from troth.core.clock import SystemClock
from troth.core.config import load_settings
from troth.core.errors import PlatformError, UsageError
from troth.hosting.instance import Release
from troth.hosting.releases import Shelf
from troth.wiring.deploying import Deploying
from troth.wiring.services import ServicesPart


class Taking:
    """A deployment that does what it is told to, at once."""

    def __init__(self, release: Release) -> None:
        self.serving, self.resting = release, cast("Release | None", None)
        self.unfit, self.reason = "", ""
        self.pause: asyncio.Event | None = None
        self.probations: list[float] = []

    async def take_over(self, release: Release, tell: Callable[[str], None]) -> None:
        if self.pause is not None:
            await self.pause.wait()
        if self.unfit:
            raise PlatformError(self.unfit)
        self.serving, self.resting = release, self.serving
        tell(f"release {release.name} serves")

    async def probation(self, seconds: float) -> str:
        self.probations.append(seconds)
        return self.reason

    async def go_back(self, *, erring: bool = False) -> Release:
        assert self.resting is not None
        self.serving, self.resting = self.resting, None
        return self.serving

    async def let_go(self) -> Release | None:
        gone, self.resting = self.resting, None
        return gone


class Desk:
    """The portal of the example, with its first release current."""

    def __init__(self, root: Path) -> None:
        settings = load_settings(EXAMPLE)
        self.app = settings.apps["portal"]
        clock = SystemClock()
        self._shelf = Shelf(root / "portal", but=root)
        first = self._shelf.at_start(self.app.folder, self.app.target, clock.now())
        self.taking = Taking(self._shelf.release(first))
        self.forgotten: list[str] = []
        self.deploying = Deploying(settings, cast("ServicesPart", self), clock)

    # What the part asks of the services.

    def shelf(self, service: str) -> Shelf:
        return self._shelf

    def deployment(self, service: str) -> Taking:
        return self.taking

    def forget_gone(self, service: str) -> None:
        self.forgotten.append(service)

    # What a person does.

    async def do(self, what: str, **asked: object) -> dict[str, Any]:
        """Ask, and wait until it is done."""
        await self.deploying.actions()[what]({"app": "portal", **asked})
        return await self.done()

    async def done(self) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        while not answer.get("done"):
            answer = await self.deploying.actions()["deploy.progress"]({})
            await asyncio.sleep(0.01)
        return answer

    def fates(self) -> list[str]:
        return [one.fate for one in self._shelf.releases]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncGenerator[Desk]:
    desk = Desk(tmp_path / "releases")
    yield desk
    await desk.deploying.stop()


async def test_a_release_that_proves_itself_is_current_and_the_former_is_known(desk: Desk) -> None:
    told = await desk.do("deploy", probation=3)
    assert (told["failed"], told["release"]) == ("", 2)
    assert told["lines"][0].endswith("was copied as release 2")
    assert desk.fates() == ["former", "current"]
    assert desk.taking.probations == [3.0]
    assert desk.forgotten == ["portal"]


async def test_a_release_that_errs_goes_back_and_the_reason_is_kept(desk: Desk) -> None:
    desk.taking.reason = "7 of its 9 answers were errors"
    told = await desk.do("deploy")
    assert told["failed"] == "Release 2 went back to release 1: 7 of its 9 answers were errors."
    assert desk.fates() == ["current", "failed"]
    assert desk.taking.serving.name == "1"
    shown = (await desk.deploying.report())[1]
    assert (shown.fate, shown.why) == ("failed", "7 of its 9 answers were errors")


async def test_a_release_that_is_not_fit_never_becomes_current(desk: Desk) -> None:
    desk.taking.unfit = "portal-1 ended before it was ready."
    assert (await desk.do("deploy"))["failed"] == "portal-1 ended before it was ready."
    assert desk.fates() == ["current", "failed"]
    assert desk.taking.probations == []


async def test_a_rollback_lets_the_resting_release_in_again(desk: Desk) -> None:
    await desk.do("deploy", probation=0)
    told = await desk.do("rollback")
    assert told["lines"] == ["release 1 serves again"]
    assert desk.fates() == ["current", "former"]


async def test_a_rollback_to_a_release_that_rests_no_more_starts_it_anew(desk: Desk) -> None:
    await desk.do("deploy", probation=0)
    await desk.taking.let_go()
    told = await desk.do("rollback")
    assert told["lines"] == ["release 1 serves"]
    assert desk.taking.serving.name == "1"
    assert desk.fates() == ["current", "former"]


async def test_one_deployment_at_a_time(desk: Desk) -> None:
    desk.taking.pause = asyncio.Event()
    await desk.deploying.actions()["deploy"]({"app": "portal", "probation": 0})
    with pytest.raises(UsageError, match="is being deployed"):
        await desk.deploying.actions()["rollback" if desk.fates()[0] == "former" else "deploy"](
            {"app": "portal"}
        )
    desk.taking.pause.set()
    assert (await desk.done())["failed"] == ""


async def test_a_deployment_that_is_cut_short_is_over(desk: Desk) -> None:
    desk.taking.pause = asyncio.Event()
    await desk.deploying.actions()["deploy"]({"app": "portal"})
    await until(lambda: len(desk.fates()) == 2)
    await desk.deploying.stop()
    assert desk.fates() == ["current", "new"], "the one that never served is not current at the next start"


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"app": "shop"}, "no application"),
        ({"folder": "relative"}, "no folder"),
        ({"folder": "/nowhere/at/all"}, "no folder"),
        ({"target": "portal app"}, "names no callable"),
        ({"probation": -1}, "lasts 0 to"),
        ({"probation": "long"}, "lasts 0 to"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_copied(
    desk: Desk, asked: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        await desk.do("deploy", **asked)
    assert desk.fates() == ["current"]


async def test_without_a_former_release_there_is_no_rollback(desk: Desk) -> None:
    with pytest.raises(UsageError, match="no former release"):
        await desk.do("rollback")
