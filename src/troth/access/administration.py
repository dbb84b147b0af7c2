"""A tenant run by its own people: users, roles, sessions and the trail, for whoever may."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from troth.access.accounts.people import Accounts, Profile
from troth.access.administrator import Administrator, Guard, Tags, require_current
from troth.access.roles import Role, read_roles
from troth.access.sessions import acr_of
from troth.core.errors import Conflict, NotFound, TooMany, Unprocessable


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
    """What a tenant's administrators may do; `mail` says whether messages are sent here. Every call raises
    what those of Guard do."""

    def __init__(self, guard: Guard, accounts: Accounts, *, mail: bool) -> None:
        self._guard = guard
        self._accounts = accounts
        self._mail = mail

    async def users(self, by: Administrator, *, after: UUID | None, limit: int) -> tuple[User, ...]:
        """The tenant's people, the oldest first."""
        rows = await self._guard.rows(
            by, "admin.users:read", "select * from troth.admin_users($1, $2, $3, $4, $5)", after, limit
        )
        return tuple([await read_user(self._accounts, by.tenant, row) for row in rows])

    async def user(self, by: Administrator, person: UUID) -> User:
        """One of them. Raises NotFound."""
        rows = await self._guard.rows(
            by, "admin.users:read", "select * from troth.admin_user($1, $2, $3, $4)", person
        )
        if not rows:
            raise _nobody()
        return await read_user(self._accounts, by.tenant, rows[0])

    async def change_user(
        self, by: Administrator, person: UUID, *, roles: tuple[str, ...], disabled: bool, tags: Tags
    ) -> None:
        """Other roles, disabled or not. Raises NotFound, PreconditionFailed, Unprocessable."""
        outcome = await self._guard.value(
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
            raise _unknown_role()
        require_current(outcome)

    async def invite(
        self, by: Administrator, profile: Profile, roles: tuple[str, ...], *, language: str
    ) -> UUID:
        """A new person, who chooses a password by the link that is sent to them. Raises Conflict when the
        address has an account or no messages are sent here, Unprocessable."""
        person = uuid7()
        outcome = await self._guard.value(
            by,
            "admin.users:create",
            "select troth.admin_invite($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            person,
            await self._accounts.index(by.tenant, profile.email),
            await self._accounts.seal(by.tenant, person, profile),
            list(roles),
            uuid7() if self._mail else None,
            language,
        )
        if outcome == "no_mail":
            raise _no_mail()
        if outcome == "exists":
            raise Conflict("Somebody has this e-mail address already.")
        if outcome == "unknown_role":
            raise _unknown_role()
        return person

    async def order_reset(self, by: Administrator, person: UUID, *, language: str) -> None:
        """Send a person the link by which they choose a new password: nobody else ever chooses it. Raises
        NotFound, Conflict, TooMany."""
        wait: int = await self._guard.value(
            by,
            "admin.users:update",
            "select troth.admin_order_reset($1, $2, $3, $4, $5, $6)",
            person,
            uuid7() if self._mail else None,
            language,
        )
        match wait:
            case 0:
                return
            case -1:
                raise _no_mail()
            case -2:
                raise _nobody()
            case -3:
                raise Conflict("This account is disabled.")
            case _:
                raise TooMany("This person was sent too many messages.", retry_after=wait)

    async def sign_out(self, by: Administrator, person: UUID) -> None:
        """End every session of a person. Raises NotFound."""
        if not await self._guard.value(
            by, "admin.sessions:delete", "select troth.admin_sign_out($1, $2, $3, $4)", person
        ):
            raise _nobody()

    async def reset_factors(self, by: Administrator, person: UUID) -> None:
        """Take the second factors away from a person who lost them. Raises NotFound, Unprocessable."""
        outcome = await self._guard.value(
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
        rows = await self._guard.rows(by, "admin.sessions:read", query, before, limit)
        return tuple(_session(row) for row in rows)

    async def end_session(self, by: Administrator, session: UUID) -> None:
        """End one, and everything granted under it. Raises NotFound when there is none that lives."""
        if not await self._guard.value(
            by, "admin.sessions:delete", "select troth.admin_end_session($1, $2, $3, $4)", session
        ):
            raise NotFound("There is no such session.")

    async def roles(self, by: Administrator) -> tuple[Role, ...]:
        """The platform's roles and the tenant's own."""
        rows = await self._guard.rows(by, "admin.roles:read", "select * from troth.admin_roles($1, $2, $3)")
        return read_roles(rows)

    async def put_role(self, by: Administrator, name: str, scopes: tuple[str, ...], tags: Tags) -> bool:
        """Change the tenant's role, or with no `tags` make it. True when it is new. Raises Conflict when it
        is there already, NotFound, PreconditionFailed."""
        scope = "admin.roles:create" if tags is None else "admin.roles:update"
        outcome = await self._guard.value(
            by, scope, "select troth.admin_put_role($1, $2, $3, $4, $5, $6)", name, list(scopes), tags
        )
        if outcome == "exists":
            raise Conflict("There is such a role already: send If-Match with its ETag to change it.")
        if outcome == "none":
            raise _no_role()
        require_current(outcome)
        return outcome == "created"

    async def remove_role(self, by: Administrator, name: str, tags: tuple[str, ...]) -> None:
        """Take it away, from its holders too. Raises NotFound, PreconditionFailed."""
        outcome = await self._guard.value(
            by, "admin.roles:delete", "select troth.admin_remove_role($1, $2, $3, $4, $5)", name, tags
        )
        if outcome == "none":
            raise _no_role()
        require_current(outcome)

    async def events(
        self, by: Administrator, *, before: tuple[datetime, UUID] | None, limit: int
    ) -> tuple[Event, ...]:
        """The tenant's trail, the newest first."""
        query = "select * from troth.admin_events($1, $2, $3, $4, $5, $6)"
        at, last = before or (None, None)
        rows = await self._guard.rows(by, "admin.audit:read", query, at, last, limit)
        return tuple(_event(row) for row in rows)


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


def _own_account() -> Unprocessable:
    return Unprocessable("Nobody changes their own account here: ask another administrator.")


def _unknown_role() -> Unprocessable:
    return Unprocessable("A role is not known here.", errors=(("/roles", "names a role that is not"),))


def _no_mail() -> Conflict:
    return Conflict("No messages are sent here: the operator has configured no [mail].")


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
