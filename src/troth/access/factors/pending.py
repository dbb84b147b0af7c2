"""The state of a sign-in between its password and its session. It opens nothing.

The browser holds 256 random bits, the database their SHA-256 and the domain. It lives for minutes, takes a
few guesses, and is taken once.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from troth.access.errors import NoSession, TooManyTries
from troth.access.sessions import token_hash
from troth.access.tenants import Domain
from troth.core.db import Database
from troth.core.secret import new_token

LIFETIME = timedelta(minutes=10)

MOST_GUESSES = 5
"""At the codes of one pending sign-in. After them the password is asked for again."""


class FactorNeeded(msgspec.Struct, frozen=True):
    """The password fitted, and more is asked for. `enrols` says that the tenant requires a second factor and
    the person has none yet. `token` finds the pending sign-in again, and is told this once."""

    token: str
    enrols: bool


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A pending sign-in: whose it is, what was proved, and which ways the person has to prove more.

    `passkeys` are those of this domain; `elsewhere` counts those that open other domains of the tenant alone.
    """

    person: UUID
    profile: bytes
    amr: tuple[str, ...]
    enrols: bool
    app: bool
    passkeys: int
    elsewhere: int
    codes: int


class Guess(msgspec.Struct, frozen=True):
    """A guess that was counted and may be looked at. `secret` is the sealed one of the person's app."""

    pending: Pending
    secret: bytes | None
    last_step: int


class Taken(msgspec.Struct, frozen=True):
    """A pending sign-in that is over and becomes a session. `verified` is the password's hash by now."""

    person: UUID
    amr: tuple[str, ...]
    verified: str | None


class PendingSignIns:
    """Begins, shows, counts and takes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self,
        domain: Domain,
        person: UUID,
        verified: str | None,
        *,
        amr: tuple[str, ...] = ("pwd",),
        device: bytes | None = None,
        request: str = "",
    ) -> FactorNeeded | None:
        """What is still needed after `amr`; None when that is enough. `device` is under what tries of this
        browser are counted. Raises NoSession when the person was disabled, or the password changed, in the
        meantime."""
        token = new_token()
        row = await self._database.fetchrow(
            "select * from troth.begin_pending($1, $2, $3, $4, $5, $6, $7, $8)",
            domain.name,
            token_hash(token),
            person,
            verified,
            list(amr),
            device,
            LIFETIME,
            request,
            idempotent=True,
        )
        outcome = _outcome(row)
        return None if outcome == "free" else FactorNeeded(token, outcome == "enrol")

    async def open(self, domain: Domain, token: str) -> Pending:
        """The pending sign-in of this token. Raises NoSession when it is over."""
        row = await self._database.fetchrow(
            "select * from troth.open_pending($1, $2)", domain.name, token_hash(token)
        )
        _outcome(row)
        return _read(row)

    async def guess(self, domain: Domain, token: str, *, request: str = "") -> Guess:
        """Count a guess at a code. Raises NoSession when it is over or there were too many, TooManyTries when
        the person's codes are being guessed at from elsewhere too."""
        row = await self._database.fetchrow(
            "select * from troth.try_pending($1, $2, $3, $4)",
            domain.name,
            token_hash(token),
            MOST_GUESSES,
            request,
            idempotent=False,
        )
        assert row is not None, "the function returns one row"
        if _outcome(row) == "wait":
            raise TooManyTries("Too many tries. Wait a moment and try again.", retry_after=row["wait"])
        return Guess(_read(row), row["secret"], row["last_step"] or 0)

    async def take(self, domain: Domain, token: str) -> Taken:
        """End it, to begin a session. Of any number of callers at once, one succeeds. Raises NoSession."""
        row = await self._database.fetchrow(
            "select * from troth.take_pending($1, $2)", domain.name, token_hash(token), idempotent=False
        )
        if row is None:
            raise NoSession(detail="pending sign-in is over")
        return Taken(row["person_id"], tuple(row["amr"]), row["verified"])


def _outcome(row: Any) -> str:
    outcome = row["outcome"]
    if outcome in ("over", "spent"):
        raise NoSession(detail=f"pending sign-in: {outcome}")
    return outcome


def _read(row: Any) -> Pending:
    return Pending(
        person=row["person_id"],
        profile=row["profile"],
        amr=tuple(row["amr"]),
        enrols=row["enrols"],
        app=row["app"],
        passkeys=row["passkeys"],
        elsewhere=row["elsewhere"],
        codes=row["codes"],
    )
