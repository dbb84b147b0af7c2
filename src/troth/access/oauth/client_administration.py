"""Clients as the operator adds, changes and removes them: as the schema's owner, which no instance is.

A secret is told once, when it is made; its SHA-256 is all that stays.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from troth.access.oauth.client_authentication import secret_hash
from troth.access.oauth.clients import Registration
from troth.access.sessions import token_hash
from troth.core.client_kinds import WITH_SECRET
from troth.core.db import Connection, Database
from troth.core.secret import new_token


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A client as the operator sees it. `secrets` are the ends of its secrets' lives, None for no end."""

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


class NewClient(msgspec.Struct, frozen=True, kw_only=True):
    """A client to add, checked."""

    id: str
    name: str
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    registration: Registration


async def list_clients(owner: Database, tenant: UUID) -> tuple[Listed, ...]:
    """Every client of a tenant."""
    async with _as(owner, tenant) as connection:
        rows = await connection.fetch(
            "select c.*, array(select nullif(s.expires_at, 'infinity') from troth.client_secret s"
            " where s.client_id = c.id and s.expires_at > now() order by s.created_at) as secrets,"
            " (select count(*) from troth.session g where g.client_id = c.id and g.ended_at is null"
            "  and g.expires_at > now()) as grants"
            " from troth.client c order by c.id"
        )
    return tuple(
        Listed(
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
        )
        for row in rows
    )


async def add_client(owner: Database, tenant: UUID, client: NewClient) -> str | None:
    """Add it and return its secret, empty when it needs none; None when the id is taken."""
    secret = new_token() if client.registration.token_endpoint_auth_method in WITH_SECRET else ""
    async with _as(owner, tenant) as connection:
        added = await connection.fetchval(
            "insert into troth.client (tenant_id, id, name, redirect_uris, scopes, registration, origin)"
            " values ($1, $2, $3, $4, $5, $6, 'operator') on conflict do nothing returning id",
            tenant,
            client.id,
            client.name,
            list(client.redirect_uris),
            list(client.scopes),
            msgspec.json.encode(client.registration).decode(),
        )
        if added is None:
            return None
        if secret:
            await keep_secret(connection, tenant, client.id, secret)
        await _record(connection, tenant, "client.added", client.id)
    return secret


async def rotate_secret(owner: Database, tenant: UUID, client: str, overlap: timedelta) -> str:
    """A new secret. The newest one so far stays good for `overlap`, older ones end now."""
    secret = new_token()
    async with _as(owner, tenant) as connection:
        # Two operators at once take turns, so that no third secret lives.
        await connection.execute("select from troth.client where id = $1 for update", client)
        await connection.execute(
            "update troth.client_secret set expires_at = case when created_at ="
            " (select max(created_at) from troth.client_secret where client_id = $1)"
            " then least(expires_at, now() + $2) else now() end"
            " where client_id = $1 and expires_at > now()",
            client,
            overlap,
        )
        await connection.execute(
            "delete from troth.client_secret where client_id = $1 and expires_at <= now()", client
        )
        await keep_secret(connection, tenant, client, secret)
        await _record(connection, tenant, "client.secret_rotated", client)
    return secret


async def set_disabled(owner: Database, tenant: UUID, client: str, disabled: bool) -> int | None:
    """Disable or enable a client. Disabled, it is unknown, and what it was granted is over for good: returns
    how many grants that were. None when there is no such client."""
    async with _as(owner, tenant) as connection:
        found = await connection.fetchval(
            "update troth.client set disabled = $2, held = $2 where id = $1 returning id", client, disabled
        )
        if found is None:
            return None
        ended = 0
        if disabled:
            ended = await connection.fetchval("select troth.end_client_grants($1, 'client disabled')", client)
        await _record(connection, tenant, "client.disabled" if disabled else "client.enabled", client)
    return ended


async def remove_client(owner: Database, tenant: UUID, client: str) -> int | None:
    """Remove a client and everything that it was granted: returns how many grants that were. None when there
    is no such client."""
    async with _as(owner, tenant) as connection:
        ended = await connection.fetchval("select troth.end_client_grants($1, 'client removed')", client)
        if await connection.fetchval("delete from troth.client where id = $1 returning id", client) is None:
            return None
        await _record(connection, tenant, "client.removed", client)
    return ended


async def invite_client(
    owner: Database, tenant: UUID, scopes: tuple[str, ...], *, uses: int, life: timedelta
) -> str:
    """An initial access token (RFC 7591 section 3): whoever has it may register `uses` clients."""
    token = new_token()
    async with _as(owner, tenant) as connection:
        await connection.execute("delete from troth.initial_access_token where expires_at < now()")
        await connection.execute(
            "insert into troth.initial_access_token (token_hash, tenant_id, scopes, uses_left, expires_at)"
            " values ($1, $2, $3, $4, now() + $5)",
            token_hash(token),
            tenant,
            list(scopes),
            uses,
            life,
        )
        await _record(connection, tenant, "client.invited", "")
    return token


async def keep_secret(connection: Connection, tenant: UUID, client: str, secret: str) -> None:
    """Make a secret good for a client; the tenant's context must be set."""
    await connection.execute(
        "insert into troth.client_secret (tenant_id, client_id, secret_hash, created_at)"
        " values ($1, $2, $3, clock_timestamp()) on conflict do nothing",
        tenant,
        client,
        secret_hash(secret),
    )


@asynccontextmanager
async def _as(owner: Database, tenant: UUID) -> AsyncGenerator[Connection]:
    async with owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(tenant))
        yield connection


async def _record(connection: Connection, tenant: UUID, event: str, client: str) -> None:
    await connection.execute(
        "select troth.record($1, $2, null, null, null, jsonb_build_object('client', $3::text))",
        event,
        tenant,
        client,
    )
