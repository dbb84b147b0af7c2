"""A pool that loses its connection at the worst moment: what was asked is done, and nobody is told."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import TypeVar

import asyncpg

from troth.core.connection import Connection
from troth.core.db import Database, DatabaseTarget

T = TypeVar("T")


class LosingDatabase(Database):
    """Behaves until `lost_after` says otherwise; what it loses is a real connection to a real server."""

    def __init__(self, target: DatabaseTarget, *, min_size: int, max_size: int) -> None:
        super().__init__(target, min_size=min_size, max_size=max_size)
        self._part = ""
        self._then: Callable[[], object] = _nothing
        self._lost: list[str] = []

    @contextlib.contextmanager
    def lost_after(self, part: str, *, then: Callable[[], object] | None = None) -> Generator[list[str]]:
        """The first statement that holds `part` is carried out, its answer is lost with the connection, and
        `then` happens. The list fills with what was lost; at the end it was lost once."""
        self._part, self._then, self._lost = part, then or _nothing, []
        yield self._lost
        assert len(self._lost) == 1, f"{part} was not asked"

    async def _repeat(
        self,
        query: str,
        work: Callable[[Connection], Awaitable[T]],
        idempotent: bool | None,
        deadline: float,
    ) -> T:
        if not self._part or self._part not in query:
            return await super()._repeat(query, work, idempotent, deadline)
        self._part = ""

        async def lose_it_once(connection: Connection) -> T:
            answer = await work(connection)
            if self._lost:
                return answer
            self._lost.append(query)
            connection.terminate()
            self._then()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

        return await super()._repeat(query, lose_it_once, idempotent, deadline)


@contextlib.asynccontextmanager
async def losing(target: DatabaseTarget, *, max_size: int = 2) -> AsyncGenerator[LosingDatabase]:
    """Opened for the block."""
    database = LosingDatabase(target, min_size=1, max_size=max_size)
    await database.fetchval("select 1")
    try:
        yield database
    finally:
        await database.close()


def _nothing() -> None:
    pass
