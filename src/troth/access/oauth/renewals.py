"""Refresh tokens that are exchanged at the same moment share one call to the database, and one commit.

Good tokens are nearly all there are. Whatever else a token turns out to be (used before, of a dead session,
held by another call) is asked about alone, in a transaction of its own, as every token would be without this.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import asyncpg
import msgspec

from troth.core.together import Together

_ONE = "select * from troth.renew_grant($1, $2, $3, $4, $5, $6, $7, $8, $9)"
_MANY = "select * from troth.renew_grants($1, $2, $3, $4, $5, $6, $7)"


class RenewalDatabase(Protocol):
    """The part of `core.db.Database` that is needed here."""

    async def fetch(
        self, query: str, *args: object, idempotent: bool | None = None
    ) -> Sequence[asyncpg.Record]: ...
    async def fetchrow(
        self, query: str, *args: object, idempotent: bool | None = None
    ) -> asyncpg.Record | None: ...


class Renewal(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange that is asked for: typed or made by ourselves throughout, so that no caller's input can
    fail the call that it shares with others. `call` is what a repetition after a failover is known by,
    `trace` the request's number, `overlap` for how long the token before gives the same successor again."""

    domain: str
    grant: UUID
    generation: int
    secret_hash: bytes
    client: str
    confirmation: str | None
    overlap: timedelta
    trace: str
    call: UUID

    def __repr__(self) -> str:
        return f"Renewal({self.grant}, {self.generation}, …)"


class Renewals:
    """Exchanges refresh tokens, at most `lanes` shared calls at once with at most `most` tokens in each. One
    lane is enough, for a shared call waits for nobody: two make twice as many commits of half the tokens."""

    def __init__(self, database: RenewalDatabase, *, lanes: int = 1, most: int = 32) -> None:
        self._database = database
        self._together: Together[Renewal, asyncpg.Record] = Together(self._share, lanes=lanes, most=most)

    async def renew(self, asked: Renewal) -> asyncpg.Record | None:
        """The `troth.grant_told` of it. Raises Unavailable when the database cannot be asked."""
        return await self._together.ask(asked) or await self._alone(asked)

    async def _share(self, batch: list[Renewal]) -> dict[int, asyncpg.Record]:
        """What was exchanged, by place in the batch; nothing for what has to be asked about alone."""
        # Of a family that is there twice, what came first must not be judged by what came second.
        asked = Counter(one.grant for one in batch)
        places = [place for place, one in enumerate(batch) if asked[one.grant] == 1]
        chosen = [batch[place] for place in places]
        if not chosen:
            return {}
        rows = await self._database.fetch(
            _MANY,
            [one.domain for one in chosen],
            [one.grant for one in chosen],
            [one.generation for one in chosen],
            [one.secret_hash for one in chosen],
            [one.client for one in chosen],
            [one.confirmation for one in chosen],
            [one.call for one in chosen],
            # Repeated, it exchanges nothing twice: what it had exchanged is then asked about alone, and known
            # by its call.
            idempotent=True,
        )
        return {places[row["place"] - 1]: row for row in rows}

    async def _alone(self, asked: Renewal) -> asyncpg.Record | None:
        return await self._database.fetchrow(
            _ONE,
            asked.domain,
            asked.grant,
            asked.generation,
            asked.secret_hash,
            asked.client,
            asked.confirmation,
            asked.overlap,
            asked.trace,
            asked.call,
            idempotent=True,
        )
