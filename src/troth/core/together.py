"""Questions that are asked at the same moment travel together.

A lone one leaves at once. While `lanes` calls are under way, further questions wait, and leave together in
one call as soon as a lane is free: the busier the instance, the fewer round trips each costs. What is asked
in one call, and that each question in it is answered by itself, is the asker's to see to.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from troth.core.errors import OutcomeUnknown, Unavailable

A = TypeVar("A")
R = TypeVar("R")

Ask = Callable[[list[A]], Awaitable[Mapping[int, R]]]
"""From some questions to their answers by place; what is missing has none."""


_STOPPING = "The service is stopping."
_NO_LEADER = "The database has no leader at present."


class Together(Generic[A, R]):
    """At most `lanes` calls of `call` at once, with at most `most` questions in each."""

    def __init__(self, call: Ask[A, R], *, lanes: int = 2, most: int = 32) -> None:
        self._call = call
        self._lanes = lanes
        self._most = most
        self._waiting: deque[tuple[A, asyncio.Future[R | None]]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    def ask(self, asked: A) -> "asyncio.Future[R | None]":
        """The answer, or None; raises what the call raised. A caller that goes away disturbs nobody."""
        answer: asyncio.Future[R | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        self._send()
        return answer

    def _send(self) -> None:
        while self._waiting and len(self._running) < self._lanes:
            count = min(self._most, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(count)]
            task = asyncio.get_running_loop().create_task(self._answer(batch))
            self._running.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._send()

    async def _answer(self, batch: "list[tuple[A, asyncio.Future[R | None]]]") -> None:
        try:
            answers = await self._call([asked for asked, _ in batch])
        except asyncio.CancelledError:
            _fail(batch, Unavailable(_STOPPING))
            raise
        except Unavailable as error:
            _fail(batch, error)
            # Who waits behind a database without a leader has waited as long: nobody starts over.
            _fail(self._waiting, _not_sent(error))
            self._waiting.clear()
            return
        except Exception as error:  # noqa: BLE001  each of the callers raises it
            await self._isolate(batch, error)
            return
        for place, (_, answer) in enumerate(batch):
            if not answer.done():
                answer.set_result(answers.get(place))

    async def _isolate(self, batch: "list[tuple[A, asyncio.Future[R | None]]]", error: Exception) -> None:
        """One question that breaks (a damaged page, say) fails alone, not with those it travelled with."""
        if len(batch) == 1:
            _fail(batch, error)
            return
        try:
            for each in batch:
                await self._answer([each])
        except asyncio.CancelledError:
            _fail(batch, Unavailable(_STOPPING))
            raise


def _fail(
    batch: "list[tuple[A, asyncio.Future[R | None]]] | deque[tuple[A, asyncio.Future[R | None]]]",
    error: Exception,
) -> None:
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(error)


def _not_sent(error: Unavailable) -> Unavailable:
    """What those are told whose question never left: of theirs it is known that nothing was done."""
    return Unavailable(_NO_LEADER, detail=error.detail) if isinstance(error, OutcomeUnknown) else error
