"""Reads that are asked for at the same time travel together.

A lone read goes to the database at once. While `lanes` of them are under way, further ones wait, and leave
together in one call as soon as a lane is free: the busier the instance, the fewer round trips a read costs.
Each is still looked up in its own caller's context, with its own session check (003_documents.sql).
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

from troth.core.errors import Unavailable

Asked = tuple[UUID, UUID, UUID, str, str, UUID, str]
"""Session, tenant, principal, grants, collection, id, action: all of them typed or made by ourselves, so that
no caller's input can fail the call that it shares with others."""

_ONE = "select * from troth.document_read($1, $2, $3, $4, $5, $6, $7)"
_MANY = "select * from troth.documents_read($1, $2, $3, $4, $5, $6, $7)"


class ReadDatabase(Protocol):
    """The part of `core.db.Database` that is needed here."""

    async def fetch(self, query: str, *args: object, idempotent: bool | None = None) -> Sequence[Any]: ...


class ReadQueue:
    """Looks documents up, at most `lanes` calls at once with at most `most` reads in each."""

    def __init__(self, database: ReadDatabase, *, lanes: int = 2, most: int = 32) -> None:
        self._database = database
        self._lanes = lanes
        self._most = most
        self._waiting: deque[tuple[Asked, asyncio.Future[Any]]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    def ask(self, asked: Asked) -> "asyncio.Future[Any]":
        """The row, or None; raises what the database raised. A caller that goes away disturbs nobody."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        self._send()
        return answer

    def _send(self) -> None:
        while self._waiting and len(self._running) < self._lanes:
            count = min(self._most, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(count)]
            task = asyncio.get_running_loop().create_task(self._look_up(batch))
            self._running.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._send()

    async def _look_up(self, batch: list[tuple[Asked, "asyncio.Future[Any]"]]) -> None:
        try:
            rows = await self._rows([asked for asked, _ in batch])
        except asyncio.CancelledError:
            _fail(batch, Unavailable("The service is stopping."))
            raise
        except Unavailable as error:
            # Who waits behind a database without a leader has waited as long: nobody starts over.
            _fail([*batch, *self._waiting], error)
            self._waiting.clear()
            return
        except Exception as error:  # noqa: BLE001  each of the callers raises it
            await self._isolate(batch, error)
            return
        for place, (_, answer) in enumerate(batch):
            if not answer.done():
                answer.set_result(rows.get(place))

    async def _isolate(self, batch: list[tuple[Asked, "asyncio.Future[Any]"]], error: Exception) -> None:
        """One read that breaks (a damaged page, say) fails alone, not with those it travelled with."""
        if len(batch) == 1:
            _fail(batch, error)
            return
        for each in batch:
            await self._look_up([each])

    async def _rows(self, batch: list[Asked]) -> dict[int, Any]:
        """What was found, by place in the batch."""
        if len(batch) == 1:
            return dict(enumerate(await self._database.fetch(_ONE, *batch[0])))
        rows = await self._database.fetch(_MANY, *zip(*batch, strict=True))
        return {row["place"] - 1: row for row in rows}


def _fail(batch: list[tuple[Asked, "asyncio.Future[Any]"]], error: Exception) -> None:
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(error)
