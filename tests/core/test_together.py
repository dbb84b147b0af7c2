"""Questions travel together, and each gets its own answer or its own fault."""

import asyncio
from collections.abc import Mapping

import pytest

from troth.core.errors import OutcomeUnknown, Unavailable
from troth.core.together import Together


class Oracle:
    """Answers with the double, once its gate is open; what is in `silent` gets none."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.carried: list[list[int]] = []
        self.silent: frozenset[int] = frozenset()
        self.fails: Exception | None = None
        self.task: asyncio.Task[object] | None = None

    async def __call__(self, batch: list[int]) -> Mapping[int, int]:
        self.task = asyncio.current_task()
        self.carried.append(batch)
        await self.open.wait()
        if self.fails is not None:
            raise self.fails
        return {place: one * 2 for place, one in enumerate(batch) if one not in self.silent}


async def test_who_waits_leaves_together_and_no_more_than_fit() -> None:
    oracle = Oracle()
    together = Together(oracle, lanes=2, most=3)
    answers = [together.ask(number) for number in range(9)]
    await asyncio.sleep(0)
    oracle.open.set()
    assert await asyncio.gather(*answers) == [number * 2 for number in range(9)]
    assert oracle.carried == [[0], [1], [2, 3, 4], [5, 6, 7], [8]]


async def test_a_question_without_an_answer_is_told_so() -> None:
    oracle = Oracle()
    oracle.open.set()
    oracle.silent = frozenset({2})
    together = Together(oracle, lanes=1)
    assert await asyncio.gather(*(together.ask(number) for number in range(4))) == [0, 2, None, 6]


@pytest.mark.parametrize(
    ("error", "for_the_waiting"),
    [(Unavailable("No leader."), Unavailable), (OutcomeUnknown("Look."), Unavailable)],
)
async def test_who_was_not_sent_yet_is_told_that_nothing_was_done(
    error: Exception, for_the_waiting: type[Exception]
) -> None:
    oracle = Oracle()
    oracle.fails = error
    together = Together(oracle, lanes=1)
    sent, *waited = [together.ask(number) for number in range(4)]
    await asyncio.sleep(0)
    oracle.open.set()
    with pytest.raises(type(error)):
        await sent
    for answer in waited:
        with pytest.raises(Unavailable) as told:
            await answer
        assert type(told.value) is for_the_waiting
    assert oracle.carried == [[0]]


async def test_a_call_that_is_cut_off_leaves_nobody_waiting() -> None:
    oracle = Oracle()
    together = Together(oracle, lanes=1)
    answer = together.ask(1)
    await asyncio.sleep(0)
    assert oracle.task is not None
    oracle.task.cancel()
    with pytest.raises(Unavailable):
        await answer


async def test_one_by_one_too_a_call_that_is_cut_off_leaves_nobody_waiting() -> None:
    alone: list[asyncio.Task[object] | None] = []
    stuck = asyncio.Event()

    async def answer(batch: list[int]) -> Mapping[int, int]:
        if len(batch) > 1:
            raise ValueError("a damaged page")
        alone.append(asyncio.current_task())
        if len(alone) > 1:
            stuck.set()
            await asyncio.Event().wait()
        return {0: batch[0]}

    together = Together(answer, lanes=1)
    answers = [together.ask(number) for number in range(4)]
    await stuck.wait()
    assert alone[1] is not None
    alone[1].cancel()
    told = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), 10)
    assert told[0] == 0
    assert [type(one) for one in told[1:]] == [Unavailable] * 3
