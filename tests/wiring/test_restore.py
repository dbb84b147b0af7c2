"""`troth backup restore`, killed wherever it is and run again: nothing is left running, nothing is lost."""

import signal
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.backup_site import Site
from support.kept_backups import looking
from support.platform import TROTH, troth
from support.restored import arguments, backed_up_site, restore
from support.rounds import in_many_rounds
from support.waiting import until
from troth.core.state import State
from troth.data.backups.kept_keys import gather
from troth.hosting import processes

STEPS = ("fetching base backup", "verifying every file", "replaying the log", "putting it in place")


@pytest.fixture(scope="module")
async def site() -> AsyncGenerator[Site]:
    async with backed_up_site() as made:
        yield made


async def canaries(state: State) -> int:
    """Rows in the data folder that was put in place."""
    async with looking(state) as connection:
        return await connection.fetchval("select count(*) from troth.canary_row")


@pytest.mark.chaos
@in_many_rounds
async def test_a_restore_asks_before_it_replaces_anything(site: Site, tmp_path: Path) -> None:
    state = State(tmp_path / "s")
    unasked = restore(site, state)
    assert (unasked.status, "Nothing was changed" in unasked.errors) == (2, True)
    assert restore(site, state, "--yes").status == 0
    again = restore(site, state, "--yes")
    assert (again.status, "There is a replica set in this state folder" in again.errors) == (2, True)
    wrong = restore(site, state, "--yes-replace", "another")
    assert wrong.status == 2
    right = restore(site, state, "--yes-replace", "s")
    assert right.status == 0, right.errors
    (aside,) = state.root.glob("replaced-*")
    assert (aside / "members" / "member-1" / "data" / "PG_VERSION").exists()
    assert gather(state.keys) == gather(site.folder / "keys")
    assert await canaries(state) == 4


@in_many_rounds
@pytest.mark.chaos
@pytest.mark.parametrize("step", STEPS)
async def test_a_restore_killed_in_any_step_leaves_nothing_and_goes_on(
    site: Site, tmp_path: Path, step: str
) -> None:
    state = State(tmp_path / "s")
    killed = subprocess.Popen(  # noqa: ASYNC220 - it is waited for below
        (TROTH, *arguments(site, state, "--yes")),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert killed.stderr is not None
    with killed.stderr as said:
        assert any(step in line for line in said)
        killed.send_signal(signal.SIGKILL)
        killed.wait(10)
    await until(lambda: not processes.leftovers(state.root), 20)
    again = restore(site, state, "--yes")
    assert again.status == 0, again.errors
    assert await canaries(state) == 4
    assert not (state.root / "restore").exists()


async def test_a_moment_without_an_offset_is_refused(site: Site, tmp_path: Path) -> None:
    asked = [one if one != "latest" else "2026-11-25 09:30" for one in arguments(site, State(tmp_path / "s"))]
    done = troth(*asked)
    assert (done.status, "2026-11-25T09:30:00Z" in done.errors) == (2, True)
