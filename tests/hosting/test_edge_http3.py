"""HTTP/3: a request is answered, and a flood of them costs nobody else anything."""

from collections.abc import AsyncIterator

import psutil
import pytest

from support.edge import World, running_world
from support.http3 import connection
from support.others import others
from support.rounds import in_many_rounds, tell
from support.waiting import until

AT_ONCE = {"GOGC": "50"}
"""What is not in use is collected soon: the memory that is measured is what the edge holds."""

ROUNDS, OF_EACH = 100, 50
MOST_BYTES = 64 << 20
LONGEST = 10.0
"""Seconds that anybody else may wait for an answer: for a hang alone, on a busy machine."""


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("edge"), environment=AT_ONCE) as running:
        yield running


async def test_a_request_over_http_3_is_answered(world: World) -> None:
    async with connection(world) as client:
        assert await client.get("/api/v1/third") == 200
    (seen,) = world.seen(target="/api/v1/third")
    assert seen["by"] in world.web


@in_many_rounds
@pytest.mark.chaos
async def test_streams_of_http_3_that_are_opened_and_reset_at_once_concern_nobody_else(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rapid reset, CVE-2023-44487, over QUIC."""
    edge = psutil.Process(world.processes["edge"].pid)
    async with connection(world) as client:
        assert await client.get("/api/v1/x") == 200
    before, descriptors = edge.memory_info().rss, edge.num_fds()
    reset = 0
    async with others(world) as everybody, connection(world) as attacker:
        while reset < ROUNDS * OF_EACH and not attacker.ended.is_set():
            await attacker.open_and_reset("/api/v1/flood", OF_EACH)
            reset += OF_EACH
        await everybody.answered(10)
    reached = len(world.seen(target="/api/v1/flood"))
    longest = f"others waited {everybody.longest:.2f} s at most"
    tell(capsys, f"{reset} streams reset over HTTP/3: {reached} reached an instance, {longest}")
    assert everybody.failures == []
    assert set(everybody.statuses) == {200}
    assert everybody.longest < LONGEST
    async with connection(world) as client:
        assert await client.get("/api/v1/x") == 200
    await until(lambda: edge.num_fds() < descriptors + 100)
    assert edge.memory_info().rss - before < MOST_BYTES
