"""`tenant.*` and `domain.*`: customers and their domains, while the platform runs."""

from typing import Any

import msgspec

from troth.access.ownership import NameServers
from troth.access.tenancy import DomainView, NewDomain, Tenancy, TenantView
from troth.access.tenants import Branding, Logo
from troth.core.branding import DEFAULT_COLOUR
from troth.core.errors import UsageError
from troth.core.policy import TenantPolicy
from troth.wiring.administration.office import Answer, Tools, Verb, refusal, tenant_of


class Everything(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list: what follows `after`."""

    tenant: str = ""
    after: str = ""


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """The customer, or the domain, that something is done to."""

    name: str


class AddingTenant(msgspec.Struct, frozen=True, kw_only=True):
    """`policy` says what differs from the defaults."""

    slug: str
    name: str
    policy: TenantPolicy = TenantPolicy()


class SettingPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`policy` has the members that change; the others stay."""

    name: str
    policy: dict[str, Any]


class AddingDomain(msgspec.Struct, frozen=True, kw_only=True):
    """`app` empty: the platform's only application. `logo` is an image and its media type."""

    name: str
    tenant: str
    app: str = ""
    brand: str = ""
    colour: str = DEFAULT_COLOUR
    logo: Logo | None = None


def tenancy_of(tools: Tools) -> Tenancy:
    """The service that the verbs share with the admin API."""
    dns = tools.settings.dns
    return Tenancy(tools.owner, frozenset(tools.settings.apps), NameServers(dns.servers, dns.port))


async def _tenants(tools: Tools, asked: Everything) -> Answer:
    found = await tenancy_of(tools).tenants(after=asked.after)
    return {"tenants": [_tell_tenant(one) for one in found]}


async def _tenant(tools: Tools, asked: Named) -> Answer:
    return _tell_tenant(await tenancy_of(tools).tenant(asked.name))


async def _add_tenant(tools: Tools, asked: AddingTenant) -> Answer:
    tenancy = tenancy_of(tools)
    await tenancy.add_tenant(asked.slug, asked.name, asked.policy)
    return _tell_tenant(await tenancy.tenant(asked.slug))


async def _set_policy(tools: Tools, asked: SettingPolicy) -> Answer:
    tenancy = tenancy_of(tools)
    policy = msgspec.to_builtins((await tenancy.tenant(asked.name)).policy)
    await tenancy.set_policy(asked.name, read_policy_change({**policy, **asked.policy}))
    return _tell_tenant(await tenancy.tenant(asked.name))


def read_policy_change(members: dict[str, Any]) -> TenantPolicy:
    """Strictly: a misspelt member must not leave a door open that was meant to be closed."""
    known = {field.name for field in msgspec.structs.fields(TenantPolicy)}
    unknown = sorted(members.keys() - known)
    if unknown:
        raise UsageError(
            f"A policy has no member {unknown[0][:60]!r}.", hint=f"It has: {', '.join(sorted(known))}."
        )
    try:
        return msgspec.convert(members, TenantPolicy)
    except msgspec.ValidationError as error:
        raise refusal(error, TenantPolicy) from None


async def _suspend(tools: Tools, asked: Named) -> Answer:
    await tenancy_of(tools).set_active(asked.name, False)
    return {"suspended": asked.name}


async def _resume(tools: Tools, asked: Named) -> Answer:
    await tenancy_of(tools).set_active(asked.name, True)
    return {"resumed": asked.name}


async def _remove_tenant(tools: Tools, asked: Named) -> Answer:
    await tenancy_of(tools).remove_tenant(asked.name)
    return {"removed": asked.name}


async def _domains(tools: Tools, asked: Everything) -> Answer:
    if asked.tenant:
        await tenant_of(tools, asked.tenant)
    found = await tenancy_of(tools).domains(tenant=asked.tenant, after=asked.after)
    return {"domains": [_tell_domain(one) for one in found]}


async def _add_domain(tools: Tools, asked: AddingDomain) -> Answer:
    apps = tuple(tools.settings.apps)
    if not asked.app and len(apps) != 1:
        raise UsageError("Which application is behind the domain?", hint=f"--app {' or '.join(apps)}")
    branding = Branding(asked.brand, asked.colour, asked.logo)
    new = NewDomain(name=asked.name, tenant=asked.tenant, app=asked.app or apps[0], branding=branding)
    return _tell_domain(await tenancy_of(tools).add_domain(new))


async def _check_domain(tools: Tools, asked: Named) -> Answer:
    return _tell_domain(await tenancy_of(tools).check_domain(asked.name))


async def _remove_domain(tools: Tools, asked: Named) -> Answer:
    ended = await tenancy_of(tools).remove_domain(asked.name)
    return {"removed": asked.name, "sessions_ended": ended}


def _tell_tenant(view: TenantView) -> Answer:
    return msgspec.to_builtins(view)


def _tell_domain(view: DomainView) -> Answer:
    return msgspec.to_builtins(view)


VERBS = (
    Verb("tenant.list", Everything, _tenants),
    Verb("tenant.show", Named, _tenant),
    Verb("tenant.add", AddingTenant, _add_tenant),
    Verb("tenant.policy", SettingPolicy, _set_policy),
    Verb("tenant.suspend", Named, _suspend),
    Verb("tenant.resume", Named, _resume),
    Verb("tenant.remove", Named, _remove_tenant),
    Verb("domain.list", Everything, _domains),
    Verb("domain.add", AddingDomain, _add_domain),
    Verb("domain.check", Named, _check_domain),
    Verb("domain.remove", Named, _remove_domain),
)
