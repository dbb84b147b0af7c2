"""Bringing the database in line with troth.toml: tenants, domains, roles, clients, users.

Everything here may be repeated at every start. What the file no longer names stays in the database, where it
opens nothing: domains, clients and users that were taken out of it are out of service. What was added while
the platform ran is not the file's to take away.
"""

from collections.abc import Callable
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from troth.access.accounts.passwords import Passwords, new_password
from troth.access.accounts.people import Accounts, Profile
from troth.access.tenants import Branding, Logo
from troth.core.config import (
    BrandingSettings,
    ClientSettings,
    DomainSettings,
    RoleSettings,
    Settings,
    TenantSettings,
    UserSettings,
)
from troth.core.db import Connection, Database
from troth.core.registration import declared_registration
from troth.core.secret import read_secret, write_secret
from troth.core.state import State
from troth.hosting.plan import SignIn

PROBE_TENANT = "troth-probes"
PROBE_DOMAIN = "probes.troth.internal"
PROBE_ROLE = "troth-probe-member"
CANARIES = "troth_canaries"
"""The collection into which the probes plant their canaries; it is the platform's own."""

PROBE_MEMBER = "member@probes.example"
PROBE_OUTSIDER = "outsider@probes.example"
PROBE_CLIENTS = ("troth-probe-client", "troth-probe-other")
PROBE_CALLBACK = "https://client.probes.example/callback"
"""Nobody is there: the probes read what the browser would have taken to it."""

_MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


def with_probes(settings: Settings) -> Settings:
    """The settings with the tenant, domain, role and users that the probes sign in as."""
    actions = ("create", "read", "update", "delete")
    names = (*settings.collections, CANARIES)
    scopes = tuple(f"{name}:{action}" for name in names for action in actions)
    return msgspec.structs.replace(
        settings,
        tenants={**settings.tenants, PROBE_TENANT: TenantSettings(name="Probes")},
        domains=(
            *settings.domains,
            DomainSettings(
                name=PROBE_DOMAIN,
                tenant=PROBE_TENANT,
                app=next(iter(settings.apps)),
                branding=BrandingSettings(name="Probes"),
            ),
        ),
        roles={**settings.roles, PROBE_ROLE: RoleSettings(scopes=scopes)},
        clients={**settings.clients, **dict.fromkeys(PROBE_CLIENTS, _probe_client())},
        users=(
            *settings.users,
            UserSettings(email=PROBE_MEMBER, name="Probe", tenant=PROBE_TENANT, roles=(PROBE_ROLE,)),
            UserSettings(email=PROBE_OUTSIDER, name="Outsider", tenant=PROBE_TENANT, roles=()),
        ),
    )


def _probe_client() -> ClientSettings:
    return ClientSettings(
        name="Probe",
        tenant=PROBE_TENANT,
        redirect_uris=(PROBE_CALLBACK,),
        scopes=(f"{CANARIES}:read",),
    )


async def declare(settings: Settings, owner: Database) -> dict[str, UUID]:
    """Write tenants, domains, roles and clients as the schema's owner; returns each tenant's id by slug."""
    async with owner.transaction() as connection:
        tenants = {slug: await _tenant(connection, slug, one) for slug, one in settings.tenants.items()}
        for domain in settings.domains:
            await _domain(connection, domain, tenants[domain.tenant])
        await connection.execute(
            "select troth.remove_domain(name) from troth.domain"
            " where not added and state <> 'removed' and name <> all($1)",
            [domain.name for domain in settings.domains],
        )
        for name, role in settings.roles.items():
            await _role(connection, name, role)
        for identifier, client in settings.clients.items():
            await _client(connection, identifier, client, tenants[client.tenant])
        for slug, tenant in tenants.items():
            declared = [name for name, client in settings.clients.items() if client.tenant == slug]
            await _disable_other_clients(connection, tenant, declared)
    return tenants


async def _tenant(connection: Connection, slug: str, tenant: TenantSettings) -> UUID:
    return await connection.fetchval(
        "insert into troth.tenant (id, slug, name, policy, added) values ($1, $2, $3, $4, false)"
        " on conflict (slug) do update set name = excluded.name, policy = excluded.policy, added = false"
        " returning id",
        uuid7(),
        slug,
        tenant.name,
        msgspec.json.encode(tenant.policy).decode(),
    )


async def _domain(connection: Connection, domain: DomainSettings, tenant: UUID) -> None:
    await connection.execute(
        "select troth.put_domain($1, $2, $3, $4, false)",
        domain.name,
        tenant,
        domain.app,
        msgspec.json.encode(_branding(domain.branding)).decode(),
    )


def _branding(settings: BrandingSettings) -> Branding:
    logo = settings.logo
    image = Logo(_MEDIA_TYPES[logo.suffix.lower()], logo.read_bytes()) if logo else None
    return Branding(name=settings.name, colour=settings.colour, logo=image)


async def _role(connection: Connection, name: str, role: RoleSettings) -> None:
    await connection.execute(
        "insert into troth.role (tenant_id, name, scopes) values (null, $1, $2)"
        " on conflict (tenant_id, name) do update set scopes = excluded.scopes",
        name,
        list(role.scopes),
    )


async def _client(connection: Connection, identifier: str, client: ClientSettings, tenant: UUID) -> None:
    await connection.execute("select set_config('troth.tenant', $1, true)", str(tenant))
    await connection.execute(
        "insert into troth.client (tenant_id, id, name, redirect_uris, scopes, registration)"
        " values ($1, $2, $3, $4, $5, $6)"
        " on conflict (tenant_id, id) do update set name = excluded.name,"
        " redirect_uris = excluded.redirect_uris, scopes = excluded.scopes,"
        " registration = excluded.registration, origin = 'declared', disabled = troth.client.held",
        tenant,
        identifier,
        client.name,
        list(client.redirect_uris),
        list(client.scopes),
        msgspec.json.encode(declared_registration(client)).decode(),
    )


async def _disable_other_clients(connection: Connection, tenant: UUID, declared: list[str]) -> None:
    await connection.execute("select set_config('troth.tenant', $1, true)", str(tenant))
    await connection.execute(
        "update troth.client set disabled = true where id <> all($1) and origin = 'declared'", declared
    )


def signin_key(user: UserSettings) -> str:
    """Under which a declared user's password is kept: one address may belong to two tenants."""
    return f"{user.tenant}/{user.email}"


def signins_to_show(settings: Settings, state: State, origin: Callable[[str], str]) -> tuple[SignIn, ...]:
    """The declared users, as whoever started the platform is shown them; `origin` of a domain."""
    known = read_signins(state)
    urls = {one.tenant: origin(one.name) for one in settings.domains}
    return tuple(
        SignIn(urls[user.tenant], user.name, user.email, known[signin_key(user)])
        for user in settings.users
        if user.tenant != PROBE_TENANT and user.tenant in urls
    )


def read_signins(state: State) -> dict[str, str]:
    """The passwords made for declared users, by `signin_key`; empty before the first start."""
    if not state.signins.exists():
        return {}
    return msgspec.json.decode(read_secret(state.signins).reveal(), type=dict[str, str])


def make_signins(settings: Settings, state: State) -> frozenset[str]:
    """Make a random password for every declared user who has none; returns whose password is new.

    Written before any account is, so that no account exists whose password nobody knows.
    """
    known = read_signins(state)
    keys = [signin_key(user) for user in settings.users]
    fresh = {key: new_password() for key in keys if key not in known}
    if fresh:
        write_secret(state.signins, msgspec.json.encode({**known, **fresh}))
    return frozenset(fresh)


class Declared(msgspec.Struct, frozen=True):
    """What declaring users needs: the owner's database, people, and the work of hashing."""

    owner: Database
    accounts: Accounts
    passwords: Passwords


async def declare_users(settings: Settings, state: State, tenants: dict[str, UUID], tools: Declared) -> None:
    """Add the declared users who are missing, with the password made for them, and give all their roles. Who
    was declared at an earlier start and is not any more is disabled."""
    fresh = make_signins(settings, state)
    known = read_signins(state)
    domains = {one.tenant: one.name for one in settings.domains}
    for key in known.keys() - {signin_key(user) for user in settings.users}:
        slug, _, email = key.partition("/")
        if slug in domains:
            await _disable(tools, domains[slug], tenants[slug], email)
    for user in settings.users:
        key, tenant = signin_key(user), tenants[user.tenant]
        domain = domains.get(user.tenant)
        if domain is None:
            continue  # nowhere to sign in
        person = await tools.accounts.find(domain, tenant, user.email)
        if person is None:
            hashed = await tools.passwords.hash(known[key])
            await tools.accounts.add(tenant, Profile(user.email, user.name), user.roles, hashed)
            continue
        if key in fresh:
            await tools.accounts.set_password(tenant, person.id, known[key], tools.passwords)
        if person.disabled:
            await _set_disabled(tools.owner, tenant, person.id, False)
        await _give_roles(tools.owner, tenant, person.id, user.roles)


async def _disable(tools: Declared, domain: str, tenant: UUID, email: str) -> None:
    person = await tools.accounts.find(domain, tenant, email)
    if person is not None and not person.disabled:
        await _set_disabled(tools.owner, tenant, person.id, True)


async def _set_disabled(owner: Database, tenant: UUID, person: UUID, disabled: bool) -> None:
    """Every session of the person is over with it."""
    await owner.execute("select troth.set_disabled($1, $2, $3)", tenant, person, disabled, idempotent=True)


async def _give_roles(owner: Database, tenant: UUID, person: UUID, roles: tuple[str, ...]) -> None:
    async with owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(tenant))
        await connection.execute("update troth.person set roles = $2 where id = $1", person, list(roles))
