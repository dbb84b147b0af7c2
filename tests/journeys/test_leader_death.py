"""The leading database member is killed while somebody writes: no acknowledged ticket is lost or doubled."""

import asyncio
import signal
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from support.load import Tally, Writer, stored
from support.person import signed_in
from support.platform import ANNA, MARKUS, Troth
from support.rounds import ROUNDS, in_many_rounds, tell
from troth.hosting import processes

STORED_WITHIN = 60.0
"""Seconds that a write may take to resume before the test gives up; far more than is ever seen."""


async def test_killing_the_leading_database_loses_no_acknowledged_ticket(
    platform: Troth, capsys: pytest.CaptureFixture[str]
) -> None:
    await lose_the_leader(platform, "postgres", capsys)


@in_many_rounds
@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("victim", ["postgres", "member", "hung member"])
@pytest.mark.parametrize("turn", range(ROUNDS))
async def test_killing_leaders_in_turn(
    platform: Troth, capsys: pytest.CaptureFixture[str], turn: int, victim: str
) -> None:
    await lose_the_leader(platform, victim, capsys)


@contextmanager
def killed_server(platform: Troth, member: str) -> Generator[None]:
    """PostgreSQL is killed, as by the kernel when memory runs out."""
    processes.send(platform.postmaster(member), signal.SIGKILL)
    yield


@contextmanager
def killed_member(platform: Troth, member: str) -> Generator[None]:
    """Patroni and PostgreSQL are killed, as when their machine loses power."""
    processes.send(platform.process(member), signal.SIGKILL)
    processes.end(processes.marked(f"{platform.state.root}|{member}|"))
    yield


@contextmanager
def hung_member(platform: Troth, member: str) -> Generator[None]:
    """Patroni and PostgreSQL stand still and believe, once they wake up, that they still lead."""
    present = processes.marked(f"{platform.state.root}|{member}|")
    for process in present:
        processes.send(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in present:
            processes.send(process, signal.SIGCONT)


FAULTS = {"postgres": killed_server, "member": killed_member, "hung member": hung_member}


async def lose_the_leader(platform: Troth, victim: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Kill PostgreSQL, or Patroni and PostgreSQL at once, of whoever leads; or only freeze them."""
    await platform.whole()
    leader = await platform.leader()
    async with signed_in(platform, ANNA) as anna, signed_in(platform, MARKUS) as markus:
        writer = Writer(anna, Tally())
        writing = asyncio.create_task(writer.run())
        await writer.wrote(20, seconds=STORED_WITHIN)
        with FAULTS[victim](platform, leader):
            # The first of these may have been under way when it died.
            await writer.wrote(20, seconds=STORED_WITHIN)
        writer.stop.set()
        await writing

        status = await platform.whole(seconds=90)  # three members again, two of them synchronous
        await markus.renew()
        acknowledged = writer.tally.acknowledged
        assert await stored(markus, writer.sent) == dict.fromkeys(acknowledged, 1)
        assert list(acknowledged) == writer.sent
        after = await platform.leader()
    assert victim == "postgres" or after != leader
    timelines = {one["timeline"] for one in status["members"]}
    assert len(timelines) == 1
    tell(
        capsys,
        f"{victim} of the leader killed: {writer.tally.gap:.1f} s without a write, "
        f"{len(acknowledged)} acknowledged, 0 lost, 0 twice; "
        f"answers {dict(sorted(writer.tally.statuses.items()))}",
    )
