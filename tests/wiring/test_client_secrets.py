"""Clients of troth.toml with a secret: made at the first start, kept in a file, and theirs to change."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.client_keys import EC_KEY, public_jwk
from support.platform import EXAMPLE
from troth.access.oauth.client_administration import rotate_secret, set_disabled
from troth.access.oauth.client_authentication import secret_hash
from troth.core.client_kinds import AuthMethod
from troth.core.config import Settings, load_settings
from troth.core.db import Database
from troth.core.registration import RegistrationFault, declared_registration
from troth.core.state import State, open_state
from troth.wiring.client_secrets import declare_client_secrets, read_client_secrets
from troth.wiring.declaration import declare


@pytest.fixture
def state(tmp_path: Path) -> State:
    return open_state(tmp_path / "state")


@pytest.fixture
def settings() -> Settings:
    return with_client("client_secret_basic")


def with_client(method: AuthMethod, **changes: Any) -> Settings:
    loaded = load_settings(EXAMPLE)
    client = msgspec.structs.replace(loaded.clients["ledger"], token_endpoint_auth_method=method, **changes)
    return msgspec.structs.replace(loaded, clients={"ledger": client})


async def start(settings: Settings, state: State, owner: Database) -> Any:
    tenants = await declare(settings, owner)
    await declare_client_secrets(settings, state, tenants, owner)
    return tenants[settings.clients["ledger"].tenant]


async def hashes(settings: Settings, database: Database) -> list[bytes]:
    client = settings.clients["ledger"]
    domain = next(one.name for one in settings.domains if one.tenant == client.tenant)
    row = await database.fetchrow("select * from troth.find_client($1, 'ledger')", domain)
    return [] if row is None else row["secret_hashes"]


async def test_a_secret_is_made_once_and_kept_where_only_the_owner_reads(
    settings: Settings, state: State, database: Database, owner_database: Database
) -> None:
    tenant = await start(settings, state, owner_database)
    (secret,) = read_client_secrets(state).values()
    assert state.client_secrets.stat().st_mode & 0o077 == 0
    await start(settings, state, owner_database)
    assert list(read_client_secrets(state).values()) == [secret]
    assert await hashes(settings, database) == [secret_hash(secret)]
    # What was changed at run time stays changed.
    rotated = await rotate_secret(owner_database, tenant, "ledger", timedelta(0))
    await start(settings, state, owner_database)
    assert await hashes(settings, database) == [secret_hash(rotated)]
    await set_disabled(owner_database, tenant, "ledger", True)
    await start(settings, state, owner_database)
    assert await hashes(settings, database) == []
    await set_disabled(owner_database, tenant, "ledger", False)
    public = with_client("none")
    await start(public, state, owner_database)


def test_a_declared_client_has_its_keys_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(msgspec.json.encode({"keys": [public_jwk(EC_KEY)]}))
    options: dict[str, Any] = {"jwks": file, "token_endpoint_auth_signing_alg": "ES256"}
    client = with_client("private_key_jwt", **options).clients["ledger"]
    assert declared_registration(client).jwks == (public_jwk(EC_KEY),)
    for content in (b"", b"[]", b'{"keys": [{"kty": "oct"}]}'):
        file.write_bytes(content)
        with pytest.raises(RegistrationFault):
            declared_registration(client)
    file.unlink()
    with pytest.raises(RegistrationFault, match="cannot be read"):
        declared_registration(client)
