"""An instance of the web service is killed under load: nobody outside notices."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from support.load import Tally, bombard, stored
from support.person import signed_in
from support.platform import ANNA, MARKUS, Troth, until
from support.rounds import ROUNDS, in_many_rounds, tell
from troth.hosting import processes


async def test_killing_a_web_instance_loses_no_request_and_stores_nothing_twice(
    platform: Troth, capsys: pytest.CaptureFixture[str]
) -> None:
    await kill_under_load(platform, "web-1", capsys)


async def test_killing_an_instance_of_the_application_loses_no_page(
    platform: Troth, capsys: pytest.CaptureFixture[str]
) -> None:
    await platform.whole()
    async with signed_in(platform, ANNA) as anna:
        statuses: list[int] = []

        async def visit() -> None:
            for _ in range(12):
                answer = await anna.get("/tickets")
                statuses.append(answer.status_code)

        visits = asyncio.gather(*(visit() for _ in range(4)))
        await until(_counting(statuses), lambda count: count >= 8, seconds=30, what="pages are shown")
        processes.send(platform.process("portal-1"), signal.SIGKILL)
        await visits
    assert statuses == [200] * 48
    tell(capsys, "portal-1 killed: 0 of 48 pages lost")
    await platform.whole()


@in_many_rounds
@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("turn", range(ROUNDS))
async def test_killing_web_instances_in_turn(
    platform: Troth, capsys: pytest.CaptureFixture[str], turn: int
) -> None:
    await kill_under_load(platform, f"web-{turn % 2 + 1}", capsys)


async def kill_under_load(platform: Troth, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Kill it in the middle of 400 reads and 60 writes that nobody repeats."""
    before = await platform.whole()
    restarts = _instance(before, name)["restarts"]
    tally = Tally()
    async with signed_in(platform, ANNA) as anna, signed_in(platform, MARKUS) as markus:
        load = asyncio.create_task(bombard(anna, tally, reads=400, writes=60))
        await until(tally.total, lambda count: count >= 100, seconds=60, what="the load is under way")
        killed = time.monotonic()
        processes.send(platform.process(name), signal.SIGKILL)

        async def look() -> dict[str, Any]:
            return _instance(await platform.status(), name)

        await until(
            look,
            lambda seen: seen["restarts"] != restarts and seen["phase"] == "ready",
            seconds=60,
            what=f"{name} is back",
        )
        back = time.monotonic() - killed
        titles = await load
        assert tally.failures == []
        assert tally.statuses.total() == 456
        assert await stored(markus, titles) == dict.fromkeys(titles, 1)
    status = await platform.whole()
    upstreams = {one["address"] for one in status["edge"]["upstreams"]}
    assert _instance(status, name)["endpoint"] in upstreams  # back in the balancing
    tell(
        capsys,
        f"{name} killed under load: 0 of 456 requests lost, 60 of 60 tickets once, back after {back:.2f} s",
    )


def _instance(status: dict[str, Any], name: str) -> dict[str, Any]:
    instances: list[dict[str, Any]] = status["instances"]
    return next(one for one in instances if one["name"] == name)


def _counting(seen: list[int]) -> Callable[[], Awaitable[int]]:
    async def count() -> int:
        return len(seen)

    return count
