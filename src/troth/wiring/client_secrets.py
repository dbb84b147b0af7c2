"""Secrets of the clients that troth.toml declares: made here, kept in a file for the operator to hand on.

The file troth.toml itself never holds one: it is copied, mailed and put under version control.
"""

from uuid import UUID

import msgspec

from troth.access.oauth.client_administration import keep_secret
from troth.core.client_kinds import WITH_SECRET
from troth.core.config import Settings
from troth.core.db import Database
from troth.core.secret import new_token, read_secret, write_secret
from troth.core.state import State


def read_client_secrets(state: State) -> dict[str, str]:
    """The secrets made so far, by `tenant/client`. One that was rotated since is good no more."""
    if not state.client_secrets.exists():
        return {}
    return msgspec.json.decode(read_secret(state.client_secrets).reveal(), type=dict[str, str])


async def declare_client_secrets(
    settings: Settings, state: State, tenants: dict[str, UUID], owner: Database
) -> None:
    """Give every declared client that needs a secret, and has none that is good, the one of the file; one is
    made where the file has none. Written before it is good, so that none is good that nobody knows."""
    for name, client in settings.clients.items():
        if client.token_endpoint_auth_method not in WITH_SECRET:
            continue
        tenant = tenants[client.tenant]
        async with owner.transaction() as connection:
            await connection.execute("select set_config('troth.tenant', $1, true)", str(tenant))
            if not await connection.fetchval(
                "select exists (select from troth.client_secret where client_id = $1 and expires_at > now())",
                name,
            ):
                secret = _kept(state, f"{client.tenant}/{name}")
                await keep_secret(connection, tenant, name, secret)


def _kept(state: State, key: str) -> str:
    known = read_client_secrets(state)
    if key not in known:
        known[key] = new_token()
        write_secret(state.client_secrets, msgspec.json.encode(known))
    return known[key]
