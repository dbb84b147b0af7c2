"""Ten thousand connections over which nothing is said any more: what they take, and what it costs others."""

import asyncio
import contextlib
import json
import resource
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import psutil
import pytest

from support.edge import RESIDENTS, World, running_world
from support.others import others
from support.rounds import in_many_rounds, tell
from troth.hosting.edge_limits import Limits

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600), in_many_rounds]

WANTED = 10_000
SPARE = 1000
"""Descriptors of the edge for whatever else it does."""


class Standing(msgspec.Struct, frozen=True):
    """How many connections stand, and why the others do not."""

    count: int
    reasons: dict[str, int]


@contextlib.asynccontextmanager
async def idle(world: World, count: int) -> AsyncGenerator[tuple[Standing, asyncio.subprocess.Process]]:
    """So many connections, made by a process of its own; how many stand."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "support.idle_connections"),
        *(str(world.state.https_port), RESIDENTS, str(world.authorities.ca("public")), str(count)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    try:
        assert process.stdout is not None
        told = json.loads(await asyncio.wait_for(process.stdout.readline(), 300))
        yield Standing(told["standing"], told["reasons"]), process
    finally:
        process.kill()
        await process.wait()


async def ended(process: asyncio.subprocess.Process) -> int:
    """How many of them the edge has ended by now."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"\n")
    return int(await asyncio.wait_for(process.stdout.readline(), 120))


async def test_ten_thousand_idle_connections_are_held_within_bounds_and_others_are_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard - SPARE)
    async with running_world(tmp_path) as world:
        edge = psutil.Process(world.processes["edge"].pid)
        before, descriptors = edge.memory_info().rss, edge.num_fds()
        async with others(world) as meanwhile, idle(world, count) as (standing, process):
            taken = edge.memory_info().rss - before
            await meanwhile.answered(50)
            async with asyncio.timeout(200):
                while edge.num_fds() > descriptors + 100:  # noqa: ASYNC110 - only asking tells
                    await asyncio.sleep(0.5)
            gone = await ended(process)
        left = edge.num_fds() - descriptors
    assert standing.count == count, standing.reasons
    assert meanwhile.failures == []
    assert set(meanwhile.statuses) == {200}
    assert taken / count < 64 << 10
    assert gone >= count - 100 and left <= 100, "all but the last"
    tell(
        capsys,
        f"{count} idle connections: {taken >> 20} MiB more ({taken / count / 1024:.0f} KiB each), others "
        f"waited {meanwhile.longest:.2f} s at most; all were ended after the time for idle ones",
    )


async def test_an_edge_without_a_descriptor_left_serves_again_once_the_idle_are_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing limits the connections of one client but the descriptors: then others wait, and no longer than
    an idle connection is borne."""
    async with running_world(tmp_path, limits=Limits(header=5.0, idle=5.0)) as world:
        edge = psutil.Process(world.processes["edge"].pid)
        async with others(world) as before:
            await before.answered(20)
        most = edge.num_fds() + 20
        edge.rlimit(psutil.RLIMIT_NOFILE, (most, most))
        async with others(world) as seen, idle(world, 60) as (standing, _):
            await seen.answered(50)
        async with others(world) as after:
            await after.answered(50)
    asked = len(seen.failures) + seen.statuses.total()
    lost = asked - seen.statuses[200]
    assert after.failures == [] and set(after.statuses) == {200}
    tell(
        capsys,
        f"room for 20 connections, {standing.count} of 60 came to be held: others waited "
        f"{seen.longest:.1f} s at most, {lost} of {asked} failed; none afterwards",
    )
