"""Reads that are asked for at the same time travel together (`core/together.py`): each is still looked up in
its own caller's context, with its own session check (003_documents.sql)."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

from troth.core.together import Together

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
        self._together: Together[Asked, Any] = Together(self._rows, lanes=lanes, most=most)

    def ask(self, asked: Asked) -> "asyncio.Future[Any]":
        """The row, or None; raises what the database raised. A caller that goes away disturbs nobody."""
        return self._together.ask(asked)

    async def _rows(self, batch: list[Asked]) -> dict[int, Any]:
        """What was found, by place in the batch."""
        if len(batch) == 1:
            return dict(enumerate(await self._database.fetch(_ONE, *batch[0])))
        rows = await self._database.fetch(_MANY, *zip(*batch, strict=True))
        return {row["place"] - 1: row for row in rows}
