"""A tenant run by its own people: users, roles, sessions and the trail, for whoever may.

Every call is one function of the database, which sees for itself whether the session lives, its person holds
the scope now, and proved who they are a short while ago (012_administration.sql). Nothing is decided in
Python: an instance that was taken over can do no more than the sessions that it sees.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from troth.access.accounts.people import Accounts, Profile
from troth.access.roles import Role, read_role
from troth.access.sessions import TWO_FACTORS, acr_of
from troth.core.db import Database
from troth.core.errors import (
    Conflict,
    Denied,
    NotFound,
    PreconditionFailed,
    StepUp,
    Unauthenticated,
    Unprocessable,
)

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


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person as an administrator sees them."""

    id: UUID
    profile: Profile
    roles: tuple[str, ...]
    disabled: bool
    created_at: datetime
    email_verified_at: datetime | None
    has_password: bool
    tag: str


class LivingSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session of somebody, or with `client` what that was granted under one."""

    id: UUID
    person: UUID
    domain: str
    client: str | None
    scopes: tuple[str, ...]
    acr: str
    created_at: datetime
    authenticated_at: datetime
    seen_at: datetime
    expires_at: datetime


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the trail. `principal` is who did it, where that is known."""

    id: UUID
    at: datetime
    event: str
    principal: UUID | None
    domain: str | None
    request: str | None
    detail: dict[str, Any]


class Administration:
    """What a tenant's administrators may do. Every call raises Unauthenticated when the session is over,
    StepUp when its person has to sign in anew, Denied naming the scope that is lacking."""

    def __init__(self, database: Database, accounts: Accounts) -> None:
        self._database = database
        self._accounts = accounts

    async def users(self, by: Administrator, *, after: UUID | None, limit: int) -> tuple[User, ...]:
        """The tenant's people, the oldest first."""
        rows = await self._rows(
            by, "admin.users:read", "select * from troth.admin_users($1, $2, $3, $4, $5)", after, limit
        )
        return tuple([await read_user(self._accounts, by.tenant, row) for row in rows])

    async def user(self, by: Administrator, person: UUID) -> User:
        """One of them. Raises NotFound."""
        rows = await self._rows(
            by, "admin.users:read", "select * from troth.admin_user($1, $2, $3, $4)", person
        )
        if not rows:
            raise _nobody()
        return await read_user(self._accounts, by.tenant, rows[0])

    async def change_user(
        self, by: Administrator, person: UUID, *, roles: tuple[str, ...], disabled: bool, tags: Tags
    ) -> None:
        """Other roles, disabled or not. Raises NotFound, PreconditionFailed, Unprocessable."""
        outcome = await self._value(
            by,
            "admin.users:update",
            "select troth.admin_change_user($1, $2, $3, $4, $5, $6, $7)",
            person,
            list(roles),
            disabled,
            tags,
        )
        if outcome == "none":
            raise _nobody()
        if outcome == "self":
            raise _own_account()
        if outcome == "unknown_role":
            raise Unprocessable("A role is not known here.", errors=(("/roles", "names a role that is not"),))
        _require_current(outcome)

    async def sign_out(self, by: Administrator, person: UUID) -> None:
        """End every session of a person. Raises NotFound."""
        if not await self._value(
            by, "admin.sessions:delete", "select troth.admin_sign_out($1, $2, $3, $4)", person
        ):
            raise _nobody()

    async def reset_factors(self, by: Administrator, person: UUID) -> None:
        """Take the second factors away from a person who lost them. Raises NotFound, Unprocessable."""
        outcome = await self._value(
            by, "admin.users:update", "select troth.admin_reset_factors($1, $2, $3, $4)", person
        )
        if outcome == "none":
            raise _nobody()
        if outcome == "self":
            raise _own_account()

    async def sessions(
        self, by: Administrator, *, before: UUID | None, limit: int
    ) -> tuple[LivingSession, ...]:
        """What lives in the tenant, the newest first."""
        query = "select * from troth.admin_sessions($1, $2, $3, $4, $5)"
        rows = await self._rows(by, "admin.sessions:read", query, before, limit)
        return tuple(_session(row) for row in rows)

    async def end_session(self, by: Administrator, session: UUID) -> None:
        """End one, and everything granted under it. Raises NotFound when there is none that lives."""
        if not await self._value(
            by, "admin.sessions:delete", "select troth.admin_end_session($1, $2, $3, $4)", session
        ):
            raise NotFound("There is no such session.")

    async def roles(self, by: Administrator) -> tuple[Role, ...]:
        """The platform's roles and the tenant's own."""
        rows = await self._rows(by, "admin.roles:read", "select * from troth.admin_roles($1, $2, $3)")
        return tuple(read_role(row) for row in rows)

    async def put_role(self, by: Administrator, name: str, scopes: tuple[str, ...], tags: Tags) -> bool:
        """Change the tenant's role, or with no `tags` make it. True when it is new. Raises Conflict when it
        is there already, NotFound, PreconditionFailed."""
        scope = "admin.roles:create" if tags is None else "admin.roles:update"
        outcome = await self._value(
            by, scope, "select troth.admin_put_role($1, $2, $3, $4, $5, $6)", name, list(scopes), tags
        )
        if outcome == "exists":
            raise Conflict("There is such a role already: send If-Match with its ETag to change it.")
        if outcome == "none":
            raise _no_role()
        _require_current(outcome)
        return outcome == "created"

    async def remove_role(self, by: Administrator, name: str, tags: tuple[str, ...]) -> None:
        """Take it away, from its holders too. Raises NotFound, PreconditionFailed."""
        outcome = await self._value(
            by, "admin.roles:delete", "select troth.admin_remove_role($1, $2, $3, $4, $5)", name, tags
        )
        if outcome == "none":
            raise _no_role()
        _require_current(outcome)

    async def events(
        self, by: Administrator, *, before: tuple[datetime, UUID] | None, limit: int
    ) -> tuple[Event, ...]:
        """The tenant's trail, the newest first."""
        query = "select * from troth.admin_events($1, $2, $3, $4, $5, $6)"
        at, last = before or (None, None)
        rows = await self._rows(by, "admin.audit:read", query, at, last, limit)
        return tuple(_event(row) for row in rows)

    async def _rows(self, by: Administrator, scope: str, query: str, *values: object) -> list[Any]:
        return await self._guarded(
            by, scope, lambda: self._database.fetch(query, by.domain, by.session, by.request, *values)
        )

    async def _value(self, by: Administrator, scope: str, query: str, *values: object) -> Any:
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
            await self._database.execute(
                "select troth.record_admin_refused($1, $2, $3, $4, $5)",
                by.domain,
                by.person,
                by.request,
                scope,
                reason,
            )
        return error


async def read_user(accounts: Accounts, tenant: UUID, row: Any) -> User:
    """A row of `troth.administered`."""
    return User(
        id=row["id"],
        profile=await accounts.profile(tenant, row["id"], row["profile"]),
        roles=tuple(row["roles"]),
        disabled=row["disabled"],
        created_at=row["created_at"],
        email_verified_at=row["email_verified_at"],
        has_password=row["has_password"],
        tag=row["tag"],
    )


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


def _require_current(outcome: str) -> None:
    if outcome == "stale":
        raise PreconditionFailed("Somebody changed this in the meantime: read it again.")


def _own_account() -> Unprocessable:
    return Unprocessable("Nobody changes their own account here: ask another administrator.")


def _nobody() -> NotFound:
    return NotFound("There is no such user.")


def _no_role() -> NotFound:
    return NotFound("This customer has no role of its own by that name.")


def _session(row: Any) -> LivingSession:
    return LivingSession(
        id=row["id"],
        person=row["person_id"],
        domain=row["domain"],
        client=row["client_id"],
        scopes=tuple(row["scopes"] or ()),
        acr=acr_of(tuple(row["amr"])),
        created_at=row["created_at"],
        authenticated_at=row["authenticated_at"],
        seen_at=row["seen_at"],
        expires_at=row["expires_at"],
    )


def _event(row: Any) -> Event:
    return Event(
        id=row["id"],
        at=row["at"],
        event=row["event"],
        principal=row["principal"],
        domain=row["domain"],
        request=row["request_id"],
        detail=msgspec.json.decode(row["detail"], type=dict[str, Any]),
    )
