"""`user.*`: a tenant's people. None of these verbs sets a password: that is for its owner alone."""

from typing import Annotated
from uuid import UUID

import msgspec

from troth.access.accounts.outbox import LIVES
from troth.access.accounts.people import Profile, is_plausible
from troth.access.accounts.registrar import NewPerson, Registrar, Sent
from troth.access.administration import User
from troth.access.tenants import Domain
from troth.core.clock import to_wire
from troth.core.errors import NotFound, UsageError
from troth.core.policy import Language, read_policy
from troth.core.secret import write_secret
from troth.wiring.administration.office import Answer, Tools, Verb, tenant_of

Roles = Annotated[tuple[str, ...], msgspec.Meta(max_length=50)]


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a tenant's people: those that follow `after`, an id."""

    tenant: str
    after: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100


class Naming(msgspec.Struct, frozen=True, kw_only=True):
    """One person, by address or id."""

    tenant: str
    who: str


class Adding(msgspec.Struct, frozen=True, kw_only=True):
    """A person to add."""

    tenant: str
    email: str
    name: str
    roles: Roles = ()


class Inviting(Adding, frozen=True, kw_only=True):
    """`domain` may be left out where there is but one; `language` empty is the policy's, or else English."""

    domain: str = ""
    language: Language = ""


class Writing(Naming, frozen=True, kw_only=True):
    """A person who gets a message, as for `Inviting`."""

    domain: str = ""
    language: Language = ""


class GivingRoles(Naming, frozen=True, kw_only=True):
    """All the roles that the person has from now on."""

    roles: Roles


async def _list(tools: Tools, asked: Listing) -> Answer:
    tenant = await tenant_of(tools, asked.tenant)
    try:
        after = UUID(asked.after) if asked.after else None
    except ValueError:
        raise UsageError(f"{asked.after[:60]!r} is no id of a page's last person.") from None
    found = await _registrar(tools).page(tenant, after=after, limit=asked.limit + 1)
    people, more = found[: asked.limit], len(found) > asked.limit
    return {"users": [_tell(one) for one in people], "next": str(people[-1].id) if more else None}


async def _show(tools: Tools, asked: Naming) -> Answer:
    return _tell((await _person(tools, asked))[1])


async def _add(tools: Tools, asked: Adding) -> Answer:
    tenant = await tenant_of(tools, asked.tenant)
    new = await _new(tools, tenant, asked)
    if not (await _registrar(tools).add(tenant, (new,)))[0]:
        raise UsageError(
            f"{asked.tenant} has somebody with this address already.",
            hint=f"See: troth user show {new.profile.email} --tenant {asked.tenant}",
        )
    return await _show(tools, Naming(tenant=asked.tenant, who=asked.email))


async def _invite(tools: Tools, asked: Inviting) -> Answer:
    """Add a person, or name one who has chosen no password yet, and let them choose one."""
    tenant = await tenant_of(tools, asked.tenant)
    if read_policy(await _policy(tools, tenant)).registration == "closed":
        raise UsageError(
            f"The policy of {asked.tenant} lets nobody join.",
            hint=f"Change it with: troth tenant policy {asked.tenant} registration=invitation",
        )
    domain = await _domain(tools, tenant, asked.domain)
    new = await _new(tools, tenant, asked)
    await _registrar(tools).add(tenant, (new,))
    person = (await _person(tools, Naming(tenant=asked.tenant, who=asked.email)))[1]
    if person.has_password:
        raise UsageError(
            f"{person.profile.email} has a password already.",
            hint=f"For a new one: troth user reset-password {person.profile.email} --tenant {asked.tenant}",
        )
    if set(person.roles) != set(new.roles):
        raise UsageError(
            f"{person.profile.email} is here with other roles: {', '.join(person.roles) or 'none'}.",
            hint=f"Change them first: troth user roles {person.profile.email} … --tenant {asked.tenant}",
        )
    return await _write(tools, domain, "invitation", person, asked.language)


async def _reset_password(tools: Tools, asked: Writing) -> Answer:
    tenant, person = await _person(tools, asked)
    domain = await _domain(tools, tenant, asked.domain)
    return await _write(tools, domain, "reset", person, asked.language)


async def _set_roles(tools: Tools, asked: GivingRoles) -> Answer:
    tenant, person = await _person(tools, asked)
    roles = await _known_roles(tools, tenant, asked.tenant, asked.roles)
    await _registrar(tools).set_roles(tenant, person.id, roles)
    return await _show(tools, asked)


async def _disable(tools: Tools, asked: Naming) -> Answer:
    return await _set_disabled(tools, asked, True)


async def _enable(tools: Tools, asked: Naming) -> Answer:
    return await _set_disabled(tools, asked, False)


async def _set_disabled(tools: Tools, asked: Naming, disabled: bool) -> Answer:
    tenant, person = await _person(tools, asked)
    if person.disabled != disabled:
        await _registrar(tools).set_disabled(tenant, person.id, disabled)
    return await _show(tools, asked)


async def _sign_out(tools: Tools, asked: Naming) -> Answer:
    tenant, person = await _person(tools, asked)
    await _registrar(tools).sign_out(tenant, person.id)
    return _tell(person)


async def _reset_factors(tools: Tools, asked: Naming) -> Answer:
    tenant, person = await _person(tools, asked)
    await _registrar(tools).reset_factors(tenant, person.id)
    return _tell(person)


# What they share --------------------------------------------------------------------------------------------


def _registrar(tools: Tools) -> Registrar:
    return Registrar(tools.owner, tools.sealer)


async def _person(tools: Tools, asked: Naming) -> tuple[UUID, User]:
    """Raises UsageError when there is none."""
    tenant = await tenant_of(tools, asked.tenant)
    person = await _registrar(tools).find(tenant, asked.who)
    if person is None:
        raise UsageError(
            f"{asked.tenant} has nobody like {asked.who[:80]!r}.",
            hint=f"Name an address or an id. See: troth user list --tenant {asked.tenant}",
        )
    return tenant, person


async def _new(tools: Tools, tenant: UUID, asked: Adding) -> NewPerson:
    if not is_plausible(asked.email):
        raise UsageError(f"{asked.email[:80]!r} is no e-mail address.")
    name = " ".join(asked.name.split())
    if not name or len(name) > 120 or not name.isprintable():
        raise UsageError("This name cannot be shown.", hint="Write 1 to 120 visible characters.")
    roles = await _known_roles(tools, tenant, asked.tenant, asked.roles)
    return NewPerson(profile=Profile(asked.email, name), roles=roles)


async def _known_roles(tools: Tools, tenant: UUID, slug: str, roles: tuple[str, ...]) -> tuple[str, ...]:
    unknown = await _registrar(tools).unknown_roles(tenant, roles)
    if unknown:
        raise UsageError(
            f"{slug} has no role {min(unknown)[:60]!r}.", hint=f"See: troth role list --tenant {slug}"
        )
    return tuple(sorted(set(roles)))


async def _policy(tools: Tools, tenant: UUID) -> str:
    return await tools.owner.fetchval("select policy::text from troth.tenant where id = $1", tenant)


async def _domain(tools: Tools, tenant: UUID, name: str) -> Domain:
    """Where the person's link leads. Raises UsageError when it is not to be told."""
    rows = await tools.owner.fetch("select name from troth.domain where tenant_id = $1 order by name", tenant)
    names = [row["name"] for row in rows]
    if not names or (name and name not in names):
        raise UsageError(f"This customer has no domain {name[:60]!r}.", hint="See: troth domain list")
    if not name and len(names) > 1:
        raise UsageError("To which domain is the person led?", hint=f"--domain {names[0]}, or another")
    try:
        return await tools.directory.find(name or names[0])
    except NotFound:
        raise UsageError(
            f"{name or names[0]} is not served: its customer is suspended, or its ownership is not proved.",
            hint="See: troth domain list",
        ) from None


async def _write(tools: Tools, domain: Domain, kind: Sent, person: User, language: Language) -> Answer:
    """A message; or where none are sent, a link in a file that is the owner's alone."""
    if person.disabled:
        raise UsageError(
            f"{person.profile.email} is disabled: no link would open the account.",
            hint="See: troth user enable --help",
        )
    told: Answer = {
        "id": str(person.id),
        "email": person.profile.email,
        "domain": domain.name,
        "hours": LIVES[kind].total_seconds() / 3600,
    }
    if tools.settings.mail is not None:
        await _registrar(tools).order(domain, kind, person.id, language or domain.policy.language or "en")
        return told
    tools.state.links.mkdir(mode=0o700, exist_ok=True)
    file = tools.state.links / f"{kind}-{person.id}"
    write_secret(file, (await _registrar(tools).link(domain, kind, person)).encode() + b"\n")
    return {**told, "link_file": str(file)}


def _tell(user: User) -> Answer:
    return {
        "id": str(user.id),
        "email": user.profile.email,
        "name": user.profile.name,
        "roles": user.roles,
        "disabled": user.disabled,
        "created_at": to_wire(user.created_at),
        "email_verified_at": to_wire(user.email_verified_at) if user.email_verified_at else None,
        "has_password": user.has_password,
    }


VERBS = (
    Verb("user.list", Listing, _list),
    Verb("user.show", Naming, _show),
    Verb("user.add", Adding, _add),
    Verb("user.invite", Inviting, _invite),
    Verb("user.roles", GivingRoles, _set_roles),
    Verb("user.disable", Naming, _disable),
    Verb("user.enable", Naming, _enable),
    Verb("user.sign-out", Naming, _sign_out),
    Verb("user.reset-password", Writing, _reset_password),
    Verb("user.reset-factors", Naming, _reset_factors),
)
