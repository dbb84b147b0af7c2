"""Releases of the portal come and go on the whole platform while people use it."""

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from support.platform import EXAMPLE, RESIDENTS, Done, Troth, ended, state_folder, troth
from support.rounds import in_many_rounds, tell
from troth.hosting.spike import Flood, flood

ERRING = """
_good = app
async def app(scope, receive, send):
    if scope.get("path", "").startswith("/assets/"):
        raise ValueError("a defect of this release")
    await _good(scope, receive, send)
"""
"""What it is asked at first it answers well."""

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600), in_many_rounds]


@pytest.fixture(scope="module")
def small() -> Generator[Troth]:
    with state_folder() as root:
        running = Troth(root, members=1)
        with ended(running):
            done = running.up("--detach")
            assert done.status == 0, done.output + done.errors
            yield running


@pytest.fixture
async def load(small: Troth) -> AsyncGenerator[Flood]:
    async with flood(small.face, RESIDENTS, "/assets/base.css", 4, pause=0.02) as seen:
        yield seen


def release(folder: Path, name: str, *, code: str = "", instead: bool = False) -> Path:
    """A copy of the portal with some code more, or with nothing else."""
    copy = folder / name
    shutil.copytree(EXAMPLE.parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    module = copy / "portal" / "__init__.py"
    module.write_text(code if instead else f"{module.read_text()}\n{code}\nRELEASE = {name!r}\n")
    return copy


async def run(small: Troth, *arguments: str | Path) -> Done:
    return await asyncio.to_thread(troth, *arguments, "--state", small.state.root, seconds=240.0)


async def current(small: Troth) -> str:
    """The name of the copied folder of the release that serves."""
    status = await small.status()
    (serving,) = [one for one in status["releases"] if one["fate"] == "current"]
    names = {one["release"] for one in status["instances"] if one["service"] == "portal" and not one["held"]}
    assert names == {str(serving["release"])}
    return Path(serving["source"]).name


async def test_releases_come_and_go_without_a_lost_request(
    small: Troth, load: Flood, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = await run(small, "deploy", "portal", release(tmp_path, "second"), "--probation", "3", "--json")
    told = json.loads(done.output)
    assert (done.status, told["failed"], told["app"]) == (0, "", "portal"), done.errors
    assert await current(small) == "second"
    assert (await run(small, "rollback", "portal")).status == 0
    assert await current(small) == "residents"
    assert load.sent > 100
    assert (load.failed, load.fault) == (0, "")
    tell(capsys, f"{load.sent} requests, none lost, a deployment in {told['seconds']} s")


async def test_a_release_that_does_not_start_changes_nothing(
    small: Troth, load: Flood, tmp_path: Path
) -> None:
    before = await current(small)
    broken = release(tmp_path, "broken", code="raise RuntimeError('a defect')", instead=True)
    done = await run(small, "deploy", "portal", broken)
    assert done.status == 1
    assert "ended before it was ready" in done.errors
    assert await current(small) == before
    assert (load.failed, load.fault) == (0, "")


async def test_a_release_that_errs_goes_back_by_itself_with_the_reason(
    small: Troth, load: Flood, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await current(small)
    done = await run(small, "deploy", "portal", release(tmp_path, "erring", code=ERRING), "--probation", "60")
    assert done.status == 1
    assert "went back" in done.errors and "answers were errors" in done.errors
    assert await current(small) == before
    failed, sent = load.failed, load.sent
    while load.sent < sent + 50:  # noqa: ASYNC110 - requests of others
        await asyncio.sleep(0.05)
    assert load.failed == failed, "once it went back, nothing fails any more"
    tell(capsys, f"{failed} of {sent} requests failed before the release went back")


async def test_a_folder_that_is_none_is_refused_before_anything_starts(small: Troth, tmp_path: Path) -> None:
    done = await run(small, "deploy", "portal", tmp_path / "nowhere")
    assert done.status == 2
    assert "There is no folder" in done.errors
    assert (await run(small, "deploy", "shop")).status == 2
