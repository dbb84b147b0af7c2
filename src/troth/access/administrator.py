"""Who administers, and the one way to the database for it: a call of a function that decides for itself.

Every call is one function of the database, which sees for itself whether the session lives, its person holds
the scope now, and proved who they are a short while ago (012_administration.sql). Nothing is decided in
Python: an instance that was taken over can do no more than the sessions that it sees.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from troth.access.failures import record_failure
from troth.access.sessions import TWO_FACTORS
from troth.core.db import Database
from troth.core.errors import Denied, PreconditionFailed, StepUp, Unauthenticated

FRESH = timedelta(minutes=10)
"""How long ago an administrator may have signed in; the database says the same."""

Tags = tuple[str, ...] | None
"""The entity tags that a change is based on; None for whichever version there is."""

T = TypeVar("T")


class Administrator(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever asks: on this domain, under this session; `scopes` are the token's."""

    domain: str
    tenant: UUID
    person: UUID
    session: UUID
    scopes: tuple[str, ...]
    request: str


class Guard:
    """Asks the database. Every call raises Unauthenticated when the session is over, StepUp when its person
    has to sign in anew, Denied naming the scope that is lacking."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rows(self, by: Administrator, scope: str, query: str, *values: object) -> list[Any]:
        return await self._guarded(
            by, scope, lambda: self._database.fetch(query, by.domain, by.session, by.request, *values)
        )

    async def value(self, by: Administrator, scope: str, query: str, *values: object) -> Any:
        """Not repeated after a lost connection: what was done the first time would be refused the second."""
        return await self._guarded(
            by,
            scope,
            lambda: self._database.fetchval(
                query, by.domain, by.session, by.request, *values, idempotent=False
            ),
        )

    async def _guarded(self, by: Administrator, scope: str, ask: Callable[[], Awaitable[T]]) -> T:
        if scope not in by.scopes:
            raise await self._refuse(by, _lacking(scope), "the token")
        try:
            return await ask()
        except asyncpg.PostgresError as error:
            refused = _refusal(error)
            if refused is None:
                raise
        raise await self._refuse(by, refused, "the person")

    async def _refuse(self, by: Administrator, error: Unauthenticated | Denied, who: str) -> Exception:
        """The refusal, once it is in the trail. A session that is over leaves none: who was it?"""
        if isinstance(error, (Denied, StepUp)):
            scope = error.scope if isinstance(error, Denied) else ""
            reason = f"{who} lacks the scope" if scope else "sign in again"
            await record_failure(
                self._database,
                "administration.refused",
                by.domain,
                by.person,
                by.request,
                scope=scope,
                reason=reason,
            )
        return error


def _refusal(error: asyncpg.PostgresError) -> Unauthenticated | Denied | None:
    """What the database said no with, see 012_administration.sql."""
    match error.sqlstate:
        case "TR401":
            return Unauthenticated("The session of this access token has ended.", error="invalid_token")
        case "TR402":
            weak = str(error) == "too weak"
            said = "Sign in with a second factor" if weak else "Sign in again"
            return StepUp(
                f"{said}: administration needs a sign-in of the last {FRESH.seconds // 60} minutes.",
                max_age=FRESH.seconds,
                acr=TWO_FACTORS if weak else "",
            )
        case "TR403":
            return _lacking(str(error))
        case _:
            return None


def _lacking(scope: str) -> Denied:
    return Denied(f"This needs the scope {scope}.", scope=scope)


def require_current(outcome: str) -> None:
    """Raises PreconditionFailed."""
    if outcome == "stale":
        raise PreconditionFailed("Somebody changed this in the meantime: read it again.")
