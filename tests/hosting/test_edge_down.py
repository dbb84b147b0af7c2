"""The edge itself fails under load, kept by the supervisor as on a platform: how long, and what it costs."""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.edge import World
from support.full_edge import in_a_namespace
from support.others import Others, others
from support.rounds import in_many_rounds, tell
from support.waiting import until
from troth.core.errors import PlatformError
from troth.hosting import isolation
from troth.hosting.edge import render
from troth.hosting.supervisor import Supervised, Supervisor

pytestmark = [pytest.mark.chaos, in_many_rounds, pytest.mark.timeout(300)]


@contextlib.asynccontextmanager
async def kept(folder: Path) -> AsyncGenerator[tuple[World, Supervised]]:
    """Four instances, and an edge that is started again whenever it ends."""
    world = World(folder)
    supervisor = Supervisor(folder, folder / "crashes", isolation.probe())
    try:
        await world.start(edge=False)
        edge = supervisor.start(world.spec)
        await world.edge_listens()
        yield world, edge
    finally:
        await supervisor.stop_all()
        await world.stop()


def told(seen: Others) -> str:
    lost = len(seen.failures) + sum(n for status, n in seen.statuses.items() if status != 200)
    return (
        f"{seen.pause:.1f} s without an answer, {lost} of {seen.statuses.total() + len(seen.failures)} lost"
    )


async def test_an_edge_that_is_killed_is_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with kept(tmp_path) as (world, edge), others(world) as seen:
        began = time.monotonic()
        edge.send(signal.SIGKILL)
        await until(lambda: edge.restarts == 1)
        await world.edge_listens()
        seconds = time.monotonic() - began
        await seen.answered(20)
    assert set(seen.statuses) == {200}
    tell(capsys, f"edge killed: listens after {seconds:.1f} s, {told(seen)}")


def steal(world: World) -> socket.socket | None:
    thief = socket.socket()
    thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with contextlib.suppress(OSError):
        thief.bind(("127.0.0.1", world.state.https_port))
        thief.listen()
        return thief
    thief.close()
    return None


async def stolen(world: World) -> socket.socket:
    async with asyncio.timeout(20):
        while (thief := steal(world)) is None:  # noqa: ASYNC110 - nobody tells when it is free
            await asyncio.sleep(0.001)
    return thief


async def test_an_edge_whose_port_was_stolen_says_so_and_comes_back_when_it_is_free(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It can go nowhere else: its address is what the world knows."""
    async with kept(tmp_path) as (world, edge):
        edge.send(signal.SIGKILL)
        with await stolen(world):
            await until(lambda: edge.restarts >= 3 and edge.condition == "waiting", 60.0)
            tries = edge.restarts
            assert edge.last_exit is not None and edge.last_exit.evidence is not None
            assert "address already in use" in edge.last_exit.evidence.read_text()
        began = time.monotonic()
        await until(lambda: edge.condition == "running", 60.0)
        await world.edge_listens()
        seconds = time.monotonic() - began
        async with others(world) as seen:
            await seen.answered(10)
    assert set(seen.statuses) == {200}
    tell(capsys, f"edge's port stolen: {tries} starts in vain, back {seconds:.1f} s after it was free")


async def test_nobody_else_takes_a_port_that_the_edge_holds(tmp_path: Path) -> None:
    """The edge lets others of its user share its port (SO_REUSEPORT), but only who asks for it."""
    async with kept(tmp_path) as (world, _):
        assert steal(world) is None


async def test_a_configuration_that_is_refused_under_load_costs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with kept(tmp_path) as (world, _), others(world) as seen:
        leaf = world.state.domains[0].certificate
        good = leaf.certificate.read_bytes()
        for _ in range(5):
            leaf.certificate.write_bytes(world.state.domains[1].certificate.certificate.read_bytes())
            with pytest.raises(PlatformError, match="private key does not match public key"):
                await world.admin.load(render(world.state), force=True)
            await seen.answered(10)
        leaf.certificate.write_bytes(good)
        await world.admin.load(render(world.state), force=True)
    assert set(seen.statuses) == {200}
    tell(capsys, f"five configurations refused: {told(seen)}")


async def test_a_full_disk_stops_neither_the_edge_nor_its_return(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = in_a_namespace(tmp_path, "edge")
    assert seen.lost_while_full == 0
    assert seen.asked_while_full > 100
    assert "disk.full" in seen.alarms
    assert seen.written_afterwards
    tell(
        capsys,
        f"disk full: {seen.lost_while_full} of {seen.asked_while_full} lost, alarm {', '.join(seen.alarms)}; "
        f"killed while it was full, the edge was back after {seen.back:.1f} s",
    )


async def test_a_full_disk_takes_no_instance_away_and_a_killed_one_returns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = in_a_namespace(tmp_path, "instances")
    assert seen.lost_while_full == 0
    assert seen.asked_while_full > 100
    assert seen.deeds == ()
    tell(
        capsys,
        f"disk full: {seen.lost_while_full} of {seen.asked_while_full} lost; an instance killed while it was "
        f"full was back after {seen.back:.1f} s",
    )
