"""What troth.toml declares is in the database after a start, and a second start changes nothing."""

import secrets
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from troth.access.accounts.passwords import Passwords
from troth.access.accounts.people import Accounts
from troth.core.config import Settings, load_settings
from troth.core.db import Database
from troth.core.secret import Secret
from troth.core.settings import UserSettings
from troth.core.state import State, open_state
from troth.data.keys import KeyRing, Sealer
from troth.wiring.declaration import (
    CANARIES,
    PROBE_DOMAIN,
    PROBE_ROLE,
    PROBE_TENANT,
    Declared,
    declare,
    declare_users,
    make_signins,
    read_signins,
    signin_key,
    with_probes,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "residents" / "troth.toml"


@pytest.fixture(scope="module")
def settings() -> Settings:
    """The example under names that no other test uses: the database is shared."""
    settings = with_probes(load_settings(EXAMPLE))
    mark = secrets.token_hex(4)
    tenants = {f"{slug}-{mark}": tenant for slug, tenant in settings.tenants.items()}
    return msgspec.structs.replace(
        settings,
        tenants=tenants,
        domains=tuple(
            msgspec.structs.replace(one, name=f"{mark}.{one.name}", tenant=f"{one.tenant}-{mark}")
            for one in settings.domains
        ),
        roles={f"{name}-{mark}": role for name, role in settings.roles.items()},
        clients={
            f"{name}-{mark}": msgspec.structs.replace(one, tenant=f"{one.tenant}-{mark}")
            for name, one in settings.clients.items()
        },
        users=tuple(
            msgspec.structs.replace(
                one, tenant=f"{one.tenant}-{mark}", roles=tuple(f"{role}-{mark}" for role in one.roles)
            )
            for one in settings.users
        ),
    )


@pytest.fixture
def state(tmp_path: Path) -> State:
    return open_state(tmp_path / "s")


def tools(database: Database, owner: Database) -> Declared:
    ring = KeyRing(database, Secret(b"\7" * 32))
    # Few rounds: how well a password is hashed is the subject of another test.
    return Declared(owner, Accounts(owner, Sealer(ring)), Passwords(rounds=1000))


async def people(auditor: Database, tenants: dict[str, UUID]) -> dict[UUID, tuple[str, list[str]]]:
    rows = await auditor.fetch(
        "select id, password_shape, roles from person where tenant_id = any($1)", list(tenants.values())
    )
    return {row["id"]: (row["password_shape"], row["roles"]) for row in rows}


def test_the_probes_have_a_tenant_a_domain_and_a_collection_of_their_own() -> None:
    settings = with_probes(load_settings(EXAMPLE))
    assert PROBE_TENANT in settings.tenants
    assert [one.name for one in settings.domains if one.tenant == PROBE_TENANT] == [PROBE_DOMAIN]
    assert f"{CANARIES}:create" in settings.roles[PROBE_ROLE].scopes
    probing = [one for one in settings.users if one.tenant == PROBE_TENANT]
    assert sorted(one.roles for one in probing) == [(), (PROBE_ROLE,)]
    # Nobody of a customer's may write canaries.
    others = [role for name, role in settings.roles.items() if name != PROBE_ROLE]
    assert not any(scope.startswith(CANARIES) for role in others for scope in role.scopes)


async def test_a_start_declares_everything_and_a_second_changes_nothing(
    settings: Settings,
    state: State,
    database: Database,
    owner_database: Database,
    auditor_database: Database,
) -> None:
    own = tools(database, owner_database)
    tenants = await declare(settings, owner_database)
    await declare_users(settings, state, tenants, own)
    before = await people(auditor_database, tenants)
    assert len(before) == len(settings.users)
    assert await declare(settings, owner_database) == tenants
    await declare_users(settings, state, tenants, own)
    assert await people(auditor_database, tenants) == before


async def test_a_role_taken_away_in_the_file_is_gone_after_the_next_start(
    settings: Settings,
    state: State,
    database: Database,
    owner_database: Database,
    auditor_database: Database,
) -> None:
    own = tools(database, owner_database)
    tenants = await declare(settings, owner_database)
    await declare_users(settings, state, tenants, own)
    without = tuple(msgspec.structs.replace(one, roles=()) for one in settings.users)
    await declare_users(msgspec.structs.replace(settings, users=without), state, tenants, own)
    assert all(roles == [] for _, roles in (await people(auditor_database, tenants)).values())


async def test_who_is_taken_out_of_the_file_can_no_longer_sign_in_until_declared_again(
    settings: Settings,
    state: State,
    database: Database,
    owner_database: Database,
) -> None:
    own = tools(database, owner_database)
    tenants = await declare(settings, owner_database)
    await declare_users(settings, state, tenants, own)
    gone, *rest = settings.users
    domain = next(one.name for one in settings.domains if one.tenant == gone.tenant)

    async def disabled(declared: tuple[UserSettings, ...], email: str) -> bool:
        await declare_users(msgspec.structs.replace(settings, users=declared), state, tenants, own)
        found = await own.accounts.find(domain, tenants[gone.tenant], email)
        assert found is not None
        return found.disabled

    neighbour = next(user for user in rest if user.tenant == gone.tenant)
    assert await disabled(tuple(rest), gone.email)
    assert not await disabled(tuple(rest), neighbour.email)
    assert not await disabled(settings.users, gone.email)


async def test_a_client_taken_out_of_the_file_is_known_no_more_until_declared_again(
    settings: Settings, database: Database, owner_database: Database
) -> None:
    (name, client), *_ = settings.clients.items()
    domain = next(one.name for one in settings.domains if one.tenant == client.tenant)
    for declared, known in (({}, 0), (settings.clients, 1)):
        await declare(msgspec.structs.replace(settings, clients=declared), owner_database)
        found = await database.fetch("select * from troth.find_client($1, $2)", domain, name)
        assert len(found) == known


async def test_a_lost_file_of_passwords_gives_new_ones_to_the_same_people(
    settings: Settings,
    state: State,
    database: Database,
    owner_database: Database,
    auditor_database: Database,
) -> None:
    own = tools(database, owner_database)
    tenants = await declare(settings, owner_database)
    await declare_users(settings, state, tenants, own)
    before = await people(auditor_database, tenants)
    state.signins.unlink()
    await declare_users(settings, state, tenants, own)
    after = await people(auditor_database, tenants)
    assert after.keys() == before.keys()
    assert all(after[person][0] != before[person][0] for person in after)
    user = settings.users[0]
    domain = next(one.name for one in settings.domains if one.tenant == user.tenant)
    found = await own.accounts.find(domain, tenants[user.tenant], user.email)
    assert found is not None
    await own.passwords.verify(read_signins(state)[signin_key(user)], found.password_hash)


def test_passwords_are_random_kept_and_the_owners_alone(settings: Settings, state: State) -> None:
    fresh = make_signins(settings, state)
    known = read_signins(state)
    assert fresh == known.keys()
    assert len(set(known.values())) == len(known)
    assert min(map(len, known.values())) >= 20
    assert state.signins.stat().st_mode & 0o777 == 0o600
    assert make_signins(settings, state) == frozenset()
    assert read_signins(state) == known


def test_one_address_in_two_tenants_has_two_passwords(settings: Settings, state: State) -> None:
    first, second = list(settings.tenants)[:2]
    users = tuple(
        UserSettings(email="a@b.example", name="A", tenant=one, roles=()) for one in (first, second)
    )
    make_signins(msgspec.structs.replace(settings, users=users), state)
    assert len(set(read_signins(state).values())) == 2
