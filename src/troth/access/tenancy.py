"""Customers and their domains, added and taken away while the platform runs.

What is told here is committed before it is told: every instance serves a domain that was added, and serves no
more one that was removed, within a second (`access/tenants.py`).
"""

import asyncio
import re
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec
from uuid_utils.compat import uuid7

from troth.access.ownership import Challenge, NameServers, NotOwned, new_challenge, require_ownership
from troth.access.tenants import Branding
from troth.core.branding import check_colour, check_picture
from troth.core.db import Connection, Database
from troth.core.errors import UsageError
from troth.core.hostname import is_local, normalise_host
from troth.core.names import MUTUAL_TLS_PREFIX
from troth.core.policy import TenantPolicy, read_policy

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_TEXT_LIMIT = 120
BATCH = 1000
"""Domains in one statement."""

RECHECKED = 20
"""Domains whose records are asked for at once."""

PICTURES = {"image/svg+xml": ".svg", "image/png": ".png"}


class TenantView(msgspec.Struct, frozen=True, kw_only=True):
    """A customer as the operator sees it. `declared`: troth.toml names it."""

    slug: str
    name: str
    active: bool
    declared: bool
    domains: int
    created_at: datetime
    policy: TenantPolicy


class DomainView(msgspec.Struct, frozen=True, kw_only=True):
    """A domain as the operator sees it. `pending`: `record` has to be published before it serves."""

    name: str
    tenant: str
    app: str
    state: str
    declared: bool
    brand: str
    record: str = ""
    proof_gone: bool = False


class NewDomain(msgspec.Struct, frozen=True, kw_only=True):
    """What `add_domain` is asked for; the name may be in any spelling."""

    name: str
    tenant: str
    app: str
    branding: Branding = Branding()


class Tenancy:
    """Works as the schema's owner. Raises UsageError for what cannot be, with the next step."""

    def __init__(self, owner: Database, apps: frozenset[str], servers: NameServers) -> None:
        self._owner = owner
        self._apps = apps
        self._servers = servers

    async def add_tenant(self, slug: str, name: str, policy: TenantPolicy) -> None:
        """A customer without domains and people yet."""
        if not _SLUG.fullmatch(slug) or slug.startswith("troth-"):
            hint = "Use small letters, digits and hyphens, at most 40, and do not begin with troth-."
            raise UsageError(f"{slug[:60]!r} cannot be a short name.", hint=hint)
        _check_text(name)
        try:
            await self._owner.execute(
                "insert into troth.tenant (id, slug, name, policy) values ($1, $2, $3, $4)"
                " on conflict (id) do nothing",
                uuid7(),
                slug,
                name,
                msgspec.json.encode(policy).decode(),
                idempotent=True,
            )
        except asyncpg.UniqueViolationError:
            raise UsageError(f"There is a tenant {slug!r} already.", hint="See: troth tenant list") from None

    async def tenants(self, *, after: str = "", most: int = 200) -> tuple[TenantView, ...]:
        """In the order of their short names, `most` of those behind `after`."""
        rows = await self._owner.fetch(
            "select t.*, (select count(*) from troth.domain d where d.tenant_id = t.id"
            " and d.state <> 'removed') as domains"
            " from troth.tenant t where t.slug > $1 order by t.slug limit $2",
            after,
            most,
        )
        return tuple(_read_tenant(row) for row in rows)

    async def tenant(self, slug: str) -> TenantView:
        row = await self._owner.fetchrow(
            "select t.*, (select count(*) from troth.domain d where d.tenant_id = t.id"
            " and d.state <> 'removed') as domains from troth.tenant t where t.slug = $1",
            slug,
        )
        if row is None:
            raise UsageError(f"There is no tenant {slug[:60]!r}.", hint="See: troth tenant list")
        return _read_tenant(row)

    async def set_active(self, slug: str, active: bool) -> None:
        """Suspend a customer, or take it into service again. Suspended, nothing of it is served and all that
        was begun is over at once, on every instance (`troth.tenant_changes`)."""
        async with self._owner.transaction() as connection:
            tenant = await _tenant_id(connection, slug)
            await connection.execute("update troth.tenant set active = $2 where id = $1", tenant, active)
            event = "tenant.resumed" if active else "tenant.suspended"
            await connection.execute("select troth.record($1, $2, null, null, null)", event, tenant)

    async def set_policy(self, slug: str, policy: TenantPolicy) -> None:
        """What the customer decides from now on."""
        text = msgspec.json.encode(policy).decode()
        async with self._owner.transaction() as connection:
            tenant = await _tenant_id(connection, slug)
            await connection.execute("update troth.tenant set policy = $2 where id = $1", tenant, text)
            await connection.execute("select troth.record('tenant.policy', $1, null, null, null)", tenant)

    async def remove_tenant(self, slug: str) -> None:
        """Only a customer of whom nothing is kept: no domain, no person, no document, no key."""
        view = await self.tenant(slug)
        if view.declared:
            raise UsageError(f"{slug} stands in troth.toml.", hint="Take it out there, then: troth reload")
        try:
            async with self._owner.transaction() as connection:
                tenant = await _tenant_id(connection, slug)
                await connection.execute("select set_config('troth.tenant', $1, true)", str(tenant))
                await connection.execute("delete from troth.tenant where id = $1", tenant)
        except asyncpg.ForeignKeyViolationError:
            raise UsageError(
                f"{slug} has domains, people, documents or a trail: it cannot be removed.",
                hint=f"Nothing of it is served after: troth tenant suspend {slug}",
            ) from None

    async def add_domain(self, new: NewDomain) -> DomainView:
        """A local name serves within a second; any other one waits until its owner is proved."""
        name = _normal_name(new.name)
        _check_branding(new.branding)
        if new.app not in self._apps:
            raise UsageError(f"There is no application {new.app[:60]!r}.", hint=_one_of(self._apps))
        challenge = None if is_local(name) else new_challenge(name).token
        async with self._owner.transaction() as connection:
            tenant = await _tenant_id(connection, new.tenant)
            await _require_free(connection, name)
            await connection.execute(
                "select troth.put_domain($1, $2, $3, $4, true, $5)",
                name,
                tenant,
                new.app,
                msgspec.json.encode(new.branding).decode(),
                challenge,
            )
            await connection.execute("select troth.record('domain.added', $1, null, $2, null)", tenant, name)
        return await self.domain(name)

    async def add_local_domains(self, tenant: str, app: str, names: list[str]) -> int:
        """Many local names at once, branded with the tenant's name. Those that are there already stay as they
        are; returns how many are new."""
        wanted = sorted({_normal_name(name) for name in names})
        foreign = next((name for name in wanted if not is_local(name)), None)
        if foreign is not None:
            raise UsageError(f"{foreign} is no local name: its owner has to be proved.", hint=_ONE_BY_ONE)
        if app not in self._apps:
            raise UsageError(f"There is no application {app[:60]!r}.", hint=_one_of(self._apps))
        added = 0
        for start in range(0, len(wanted), BATCH):
            rows = await self._owner.fetch(
                "insert into troth.domain (name, tenant_id, app, branding)"
                " select wanted, t.id, $2, '{}' from unnest($3::text[]) wanted"
                " join troth.tenant t on t.slug = $1"
                " on conflict (name) do nothing returning name",
                tenant,
                app,
                wanted[start : start + BATCH],
                idempotent=False,
            )
            added += len(rows)
        return added

    async def domain(self, name: str) -> DomainView:
        """Raises UsageError when there is none, or it was removed."""
        row = await self._owner.fetchrow(
            f"{_DOMAINS} where d.name = $1 and d.state <> 'removed'", _normal_name(name)
        )
        if row is None:
            raise UsageError(f"There is no domain {name[:253]!r}.", hint="See: troth domain list")
        return _read_domain(row)

    async def domains(self, *, tenant: str = "", after: str = "", most: int = 200) -> tuple[DomainView, ...]:
        """In the order of their names, `most` of those behind `after`; of one customer or of all."""
        rows = await self._owner.fetch(
            f"{_DOMAINS} where d.state <> 'removed' and d.name > $2 and ($1 = '' or t.slug = $1)"
            " order by d.name limit $3",
            tenant,
            after,
            most,
        )
        return tuple(_read_domain(row) for row in rows)

    async def check_domain(self, name: str) -> DomainView:
        """Ask the name servers whether the owner published the record; then it serves. Raises NotOwned."""
        view = await self.domain(name)
        token = await self._owner.fetchval("select challenge from troth.domain where name = $1", view.name)
        if token is None:
            return view
        await require_ownership(Challenge(view.name, token), self._servers)
        # Only with the token that was proved: the domain may have been given to somebody else meanwhile.
        await self._owner.execute(
            "update troth.domain"
            " set state = 'active', proved_at = now(), asked_at = now(), proof_gone = false"
            " where name = $1 and challenge = $2 and state <> 'removed'",
            view.name,
            token,
            idempotent=True,
        )
        return await self.domain(name)

    async def recheck(self, *, most: int = RECHECKED) -> tuple[str, ...]:
        """Ask again for the records of the domains that were asked for longest ago; returns whose is gone.

        It is noted and alarmed, and takes nothing down: a slip at the customer's registrar must not sign all
        of its people out. A name server that does not answer says nothing.
        """
        rows = await self._owner.fetch(
            "select name, challenge from troth.domain where state = 'active' and proved_at is not null"
            " and asked_at < now() - interval '1 day' order by asked_at limit $1",
            most,
        )
        seen = await asyncio.gather(*(self._look(Challenge(row["name"], row["challenge"])) for row in rows))
        for row, gone in zip(rows, seen, strict=True):
            await self._note(row["name"], row["challenge"], gone)
        return tuple(row["name"] for row, gone in zip(rows, seen, strict=True) if gone)

    async def _look(self, challenge: Challenge) -> bool | None:
        """Whether the record is gone; None when nobody could be asked."""
        try:
            await require_ownership(challenge, self._servers)
        except NotOwned as fault:
            return None if fault.seen == "unreachable" else True
        return False

    async def _note(self, name: str, token: str, gone: bool | None) -> None:
        async with self._owner.transaction() as connection:
            row = await connection.fetchrow(
                "update troth.domain d set asked_at = now(), proof_gone = coalesce($3, d.proof_gone)"
                " from (select name, proof_gone from troth.domain where name = $1 for update) old"
                " where d.name = old.name and d.challenge = $2"
                " returning d.tenant_id, d.proof_gone and not old.proof_gone as news",
                name,
                token,
                gone,
            )
            if row is not None and row["news"]:
                await connection.execute(
                    "select troth.record('domain.proof_gone', $1, null, $2, null)", row["tenant_id"], name
                )

    async def remove_domain(self, name: str) -> int:
        """Take it out of service; returns how many sessions ended by it."""
        view = await self.domain(name)
        if view.declared:
            raise UsageError(
                f"{view.name} stands in troth.toml.", hint="Take it out there, then: troth reload"
            )
        return await self._owner.fetchval("select troth.remove_domain($1)", view.name, idempotent=False) or 0


_DOMAINS = "select d.*, t.slug from troth.domain d join troth.tenant t on t.id = d.tenant_id"
_ONE_BY_ONE = "Add it by itself: troth domain add NAME"


def _read_tenant(row: asyncpg.Record) -> TenantView:
    return TenantView(
        slug=row["slug"],
        name=row["name"],
        active=row["active"],
        declared=not row["added"],
        domains=row["domains"],
        created_at=row["created_at"],
        policy=read_policy(row["policy"]),
    )


def _read_domain(row: asyncpg.Record) -> DomainView:
    challenge = row["challenge"]
    return DomainView(
        name=row["name"],
        tenant=row["slug"],
        app=row["app"],
        state=row["state"],
        declared=not row["added"],
        brand=msgspec.json.decode(row["branding"], type=Branding).name,
        record=Challenge(row["name"], challenge).record if challenge else "",
        proof_gone=row["proof_gone"],
    )


async def _tenant_id(connection: Connection, slug: str) -> UUID:
    found = await connection.fetchval("select id from troth.tenant where slug = $1 for update", slug)
    if found is None:
        raise UsageError(f"There is no tenant {slug[:60]!r}.", hint="See: troth tenant list")
    return found


async def _require_free(connection: Connection, name: str) -> None:
    row = await connection.fetchrow(
        f"{_DOMAINS} where d.name = $1 and d.state <> 'removed' for update of d", name
    )
    if row is not None:
        hint = f"To move it, remove it there first: troth domain remove {name}"
        raise UsageError(f"{name} is a domain of {row['slug']} already.", hint=hint)


def _normal_name(name: str) -> str:
    try:
        host = normalise_host(name.strip())
    except ValueError as error:
        raise UsageError(str(error), hint="Write it like portal.company.example.") from None
    if host.startswith(MUTUAL_TLS_PREFIX):
        said = f"Names that begin with {MUTUAL_TLS_PREFIX} are aliases of domains."
        raise UsageError(said, hint=f"Add {host.removeprefix(MUTUAL_TLS_PREFIX)}: the alias comes with it.")
    return host


def _check_branding(branding: Branding) -> None:
    if branding.name:
        _check_text(branding.name)
    try:
        check_colour(branding.colour)
        if branding.logo is not None:
            check_picture(branding.logo.data, PICTURES.get(branding.logo.type, ""))
    except ValueError as error:
        raise UsageError(str(error)) from None


def _check_text(text: str) -> None:
    if not text.strip() or len(text) > _TEXT_LIMIT or not text.isprintable():
        raise UsageError("This name cannot be shown.", hint=f"Write 1 to {_TEXT_LIMIT} visible characters.")


def _one_of(apps: frozenset[str]) -> str:
    return f"There is: {', '.join(sorted(apps))}."
