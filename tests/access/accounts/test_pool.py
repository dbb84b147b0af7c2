"""The pool of hashing: who goes first, and what a flood can take up."""

import asyncio
import threading

import pytest

from troth.access.accounts.pool import HashingPool, Turn
from troth.core.errors import TooMany


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


async def _until_busy(began: threading.Event) -> None:
    assert await asyncio.to_thread(began.wait, 10)


async def test_who_is_known_goes_before_strangers_and_both_before_an_import(gate: threading.Event) -> None:
    pool = HashingPool(threads=1, waiting=8)
    began, order = threading.Event(), list[str]()

    def first() -> None:
        began.set()
        gate.wait(10)

    running = asyncio.ensure_future(pool.run(first, Turn.STRANGER))
    await _until_busy(began)
    waiting = [
        asyncio.ensure_future(pool.run(lambda name=name: order.append(name), turn))
        for name, turn in (
            ("import", Turn.BACKGROUND),
            ("stranger", Turn.STRANGER),
            ("known", Turn.KNOWN),
            ("second stranger", Turn.STRANGER),
        )
    ]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(running, *waiting)
    assert order == ["known", "stranger", "second stranger", "import"]
    pool.close()


async def test_strangers_leave_a_quarter_of_the_queue_to_who_is_known(gate: threading.Event) -> None:
    pool = HashingPool(threads=1, waiting=8)
    flood = [asyncio.ensure_future(pool.run(lambda: gate.wait(10), Turn.STRANGER)) for _ in range(20)]
    await asyncio.sleep(0)
    refused = [task for task in flood if task.done()]
    assert len(refused) == 20 - 7
    assert all(isinstance(task.exception(), TooMany) for task in refused)
    with pytest.raises(TooMany):
        pool.require_room(Turn.STRANGER)
    pool.require_room(Turn.KNOWN)
    known = asyncio.ensure_future(pool.run(lambda: True, Turn.KNOWN))
    await asyncio.sleep(0)
    gate.set()
    assert await known
    await asyncio.gather(*flood, return_exceptions=True)
    pool.require_room(Turn.STRANGER)
    pool.close()


async def test_what_fails_is_raised_where_it_is_awaited_and_gives_its_place_back() -> None:
    pool = HashingPool(threads=1, waiting=0)

    def fail() -> None:
        raise ValueError("on purpose")

    for _ in range(3):
        with pytest.raises(ValueError, match="on purpose"):
            await pool.run(fail, Turn.KNOWN)
        # The place is given back by the thread, a moment after the answer.
        while True:
            try:
                pool.require_room(Turn.KNOWN)
            except TooMany:
                await asyncio.sleep(0)
            else:
                break
    pool.close()


async def test_a_closed_pool_takes_nothing_and_drops_what_waits(gate: threading.Event) -> None:
    pool = HashingPool(threads=1, waiting=4)
    began = threading.Event()

    def first() -> bool:
        began.set()
        return gate.wait(10)

    running = asyncio.ensure_future(pool.run(first, Turn.KNOWN))
    await _until_busy(began)
    waiting = asyncio.ensure_future(pool.run(lambda: None, Turn.KNOWN))
    await asyncio.sleep(0)
    pool.close()
    gate.set()
    assert await running
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(TooMany):
        await pool.run(lambda: None, Turn.KNOWN)
