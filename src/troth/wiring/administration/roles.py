"""`role.*`: the platform's roles, and those of one tenant."""

from uuid import UUID

import msgspec

from troth.access.roles import Role, check_name, check_scopes, list_roles, put_role, remove_role
from troth.core.errors import UsageError
from troth.wiring.administration.office import Answer, Tools, Verb, tenant_of


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Which roles to list: the platform's, and with `tenant` that tenant's too."""

    tenant: str = ""


class Putting(msgspec.Struct, frozen=True, kw_only=True):
    """A role of a tenant. `new` says whether it may, or must, be there already."""

    tenant: str
    name: str
    scopes: tuple[str, ...]
    new: bool


class Removing(msgspec.Struct, frozen=True, kw_only=True):
    """A role of a tenant to take away."""

    tenant: str
    name: str


async def _list(tools: Tools, asked: Listing) -> Answer:
    tenant = await tenant_of(tools, asked.tenant) if asked.tenant else None
    return {"roles": [_tell(role) for role in await list_roles(tools.owner, tenant)]}


async def _put(tools: Tools, asked: Putting) -> Answer:
    tenant = await tenant_of(tools, asked.tenant)
    try:
        scopes = check_scopes(asked.scopes, tools.settings.collections)
        check_name(asked.name)
    except ValueError as error:
        raise UsageError(f"{error}.", hint="See: troth role --help") from None
    own = await _own(tools, tenant)
    if asked.new and asked.name in own:
        raise UsageError(
            f"{asked.tenant} has a role {asked.name!r} already.", hint="Change it with: troth role set"
        )
    if not asked.new and asked.name not in own:
        raise _unknown(asked.tenant, asked.name)
    await put_role(tools.owner, tenant, asked.name, scopes)
    return {"role": asked.name, "scopes": scopes}


async def _remove(tools: Tools, asked: Removing) -> Answer:
    tenant = await tenant_of(tools, asked.tenant)
    if not await remove_role(tools.owner, tenant, asked.name):
        raise _unknown(asked.tenant, asked.name)
    return {"removed": asked.name}


async def _own(tools: Tools, tenant: UUID) -> set[str]:
    return {role.name for role in await list_roles(tools.owner, tenant) if role.own}


def _unknown(tenant: str, name: str) -> UsageError:
    return UsageError(
        f"{tenant} has no role of its own named {name[:60]!r}.",
        hint=f"See: troth role list --tenant {tenant}. The platform's roles stand in troth.toml.",
    )


def _tell(role: Role) -> Answer:
    return {"name": role.name, "of": "tenant" if role.own else "platform", "scopes": role.scopes,
            "people": role.people}  # fmt: skip


VERBS = (
    Verb("role.list", Listing, _list),
    Verb("role.put", Putting, _put),
    Verb("role.remove", Removing, _remove),
)
