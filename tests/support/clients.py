"""Clients of a house, registered as the operator would."""

from datetime import timedelta
from typing import Any

import msgspec

from support.access import CALLBACK, CLIENT_SCOPES, House
from troth.access.oauth.client_authentication import secret_hash
from troth.access.oauth.clients import Registration
from troth.access.sessions import token_hash
from troth.core.secret import new_token


async def add_client(
    house: House, identifier: str, /, *, redirect_uris: tuple[str, ...] = (CALLBACK,), **registration: Any
) -> str:
    """A client of the house's tenant with this metadata; returns its secret, which only some need."""
    secret = new_token()
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "insert into troth.client (tenant_id, id, name, redirect_uris, scopes, registration)"
            " values ($1, $2, $2, $3, $4, $5)",
            house.tenant.id,
            identifier,
            list(redirect_uris),
            CLIENT_SCOPES,
            msgspec.json.encode(Registration(**registration)).decode(),
        )
        await connection.execute(
            "insert into troth.client_secret (tenant_id, client_id, secret_hash) values ($1, $2, $3)",
            house.tenant.id,
            identifier,
            secret_hash(secret),
        )
    return secret


async def invite(
    house: House, scopes: tuple[str, ...] = (*CLIENT_SCOPES,), *, uses: int = 1, life: float = 3600
) -> str:
    """An initial access token of the house's tenant."""
    token = new_token()
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "insert into troth.initial_access_token (token_hash, tenant_id, scopes, uses_left, expires_at)"
            " values ($1, $2, $3, $4, now() + $5)",
            token_hash(token),
            house.tenant.id,
            list(scopes),
            uses,
            timedelta(seconds=life),
        )
    return token
