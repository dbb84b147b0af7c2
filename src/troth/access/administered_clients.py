"""A tenant's clients, for its own administrators: what the operator may do, save whom the platform believes
and where it sends requests to (016_administered.sql)."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from troth.access.administrator import Administrator, Guard, Tags, require_current
from troth.access.oauth.client_authentication import secret_hash
from troth.access.oauth.client_metadata import Metadata
from troth.access.oauth.clients import Registration
from troth.access.sessions import token_hash
from troth.core.client_kinds import WITH_SECRET
from troth.core.errors import Conflict, NotFound
from troth.core.secret import new_token


class ClientView(msgspec.Struct, frozen=True, kw_only=True):
    """A client as an administrator sees it. `secrets` are the ends of its secrets' lives, None for no end."""

    id: str
    name: str
    origin: str
    disabled: bool
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    registration: Registration
    created_at: datetime
    secrets: tuple[datetime | None, ...]
    grants: int
    tag: str


class ClientChange(msgspec.Struct, frozen=True, kw_only=True):
    """All that can be changed."""

    name: str
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    disabled: bool


class AdministeredClients:
    """Every call raises what those of Guard do."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def list(self, by: Administrator, *, after: str | None, limit: int) -> tuple[ClientView, ...]:
        """In the order of their ids."""
        query = "select * from troth.admin_clients($1, $2, $3, $4, $5)"
        rows = await self._guard.rows(by, "admin.clients:read", query, after, limit)
        return tuple(map(_read, rows))

    async def read(self, by: Administrator, client: str) -> ClientView:
        """One of them. Raises NotFound."""
        query = "select * from troth.admin_client($1, $2, $3, $4)"
        rows = await self._guard.rows(by, "admin.clients:read", query, client)
        if not rows:
            raise _unknown()
        return _read(rows[0])

    async def add(self, by: Administrator, client: str, metadata: Metadata) -> str:
        """Add it and return its secret, empty when it needs none. Raises Conflict."""
        secret = new_token() if metadata.registration.token_endpoint_auth_method in WITH_SECRET else ""
        outcome = await self._guard.value(
            by,
            "admin.clients:create",
            "select troth.admin_add_client($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            client,
            metadata.name,
            list(metadata.redirect_uris),
            list(metadata.scopes.texts),
            msgspec.json.encode(metadata.registration).decode(),
            secret_hash(secret) if secret else None,
        )
        if outcome == "taken":
            raise Conflict("There is a client of this id already.")
        _require_room(outcome)
        return secret

    async def change(self, by: Administrator, client: str, change: ClientChange, tags: Tags) -> None:
        """What it was granted ends when it is disabled or may less. Raises NotFound, PreconditionFailed,
        Conflict for one of troth.toml."""
        outcome = await self._guard.value(
            by,
            "admin.clients:update",
            "select troth.admin_change_client($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            client,
            change.name,
            list(change.redirect_uris),
            list(change.scopes),
            change.disabled,
            tags,
        )
        _require_own(outcome)
        require_current(outcome)

    async def remove(self, by: Administrator, client: str) -> None:
        """Remove it and everything that it was granted. Raises NotFound, Conflict for one of troth.toml."""
        query = "select troth.admin_remove_client($1, $2, $3, $4)"
        _require_own(await self._guard.value(by, "admin.clients:delete", query, client))

    async def rotate(self, by: Administrator, client: str, overlap: timedelta) -> str:
        """A new secret; the one before stays good for `overlap`. Raises NotFound, Conflict."""
        secret = new_token()
        outcome = await self._guard.value(
            by,
            "admin.clients:update",
            "select troth.admin_rotate_secret($1, $2, $3, $4, $5, $6)",
            client,
            secret_hash(secret),
            overlap,
        )
        if outcome == "no_secret":
            raise Conflict("This client has no secret: it proves in another way who it is.")
        _require_own(outcome)
        return secret

    async def invite(self, by: Administrator, scopes: tuple[str, ...], uses: int, life: timedelta) -> str:
        """An initial access token (RFC 7591 section 3): whoever has it may register `uses` clients."""
        token = new_token()
        outcome = await self._guard.value(
            by,
            "admin.clients:create",
            "select troth.admin_invite_client($1, $2, $3, $4, $5, $6, $7)",
            token_hash(token),
            list(scopes),
            uses,
            life,
        )
        _require_room(outcome)
        return token


def _require_room(outcome: str) -> None:
    if outcome == "too_many":
        raise Conflict("There are too many already: remove one that is not needed.")


def _require_own(outcome: str) -> None:
    if outcome == "none":
        raise _unknown()
    if outcome == "declared":
        raise Conflict("This client is one of the operator's own: it can be disabled here, no more.")


def _unknown() -> NotFound:
    return NotFound("There is no such client.")


def _read(row: Any) -> ClientView:
    return ClientView(
        id=row["id"],
        name=row["name"],
        origin=row["origin"],
        disabled=row["disabled"],
        redirect_uris=tuple(row["redirect_uris"]),
        scopes=tuple(row["scopes"]),
        registration=msgspec.json.decode(row["registration"], type=Registration),
        created_at=row["created_at"],
        secrets=tuple(row["secrets"]),
        grants=row["grants"],
        tag=row["tag"],
    )
