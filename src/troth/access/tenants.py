"""Which client domain a request is for: host name → domain, tenant, branding and issuer."""

import re
from datetime import timedelta
from uuid import UUID

import msgspec

from troth.access.cache import BoundedCache
from troth.core.branding import DEFAULT_COLOUR, is_colour
from troth.core.clock import Clock
from troth.core.db import Database
from troth.core.errors import NotFound, Unavailable
from troth.core.names import HTTPS_PORT, MUTUAL_TLS_PREFIX, origin_of
from troth.core.policy import TenantPolicy, read_policy

_HOST = re.compile(r"(?P<name>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?::\d{1,5})?", re.ASCII)

_KEEP = timedelta(seconds=1)
"""Short, so that within a second a domain that was just added serves, and one that was removed does not."""


_STRANGERS = 200
"""Lookups a second on behalf of strangers, by each instance."""


class Logo(msgspec.Struct, frozen=True):
    """An image, kept with the domain: `data` is base64 in JSON."""

    type: str
    data: bytes


class Branding(msgspec.Struct, frozen=True):
    """How a domain looks. `colour` is `#rrggbb`."""

    name: str = ""
    colour: str = DEFAULT_COLOUR
    logo: Logo | None = None


class Domain(msgspec.Struct, frozen=True):
    """A client domain. `issuer` is its origin, which is also its issuer of tokens (RFC 8414 section 2);
    `policy` is its tenant's."""

    name: str
    tenant_id: UUID
    tenant: str
    tenant_name: str
    app: str
    branding: Branding
    issuer: str
    policy: TenantPolicy = TenantPolicy()

    @property
    def audience(self) -> str:
        """Whom an access token is for: this domain's API, and no other's."""
        return f"{self.issuer}/api/v1"

    @property
    def mutual_tls_origin(self) -> str:
        """The same domain by the alias where the edge asks for a certificate (RFC 8705 section 5)."""
        return self.issuer.replace("https://", f"https://{MUTUAL_TLS_PREFIX}", 1)


def read_host(header: str) -> str:
    """The name in a Host header, in lower case without the port. Raises NotFound when it is no host name."""
    match = _HOST.fullmatch(header.lower()) if len(header) <= 260 else None
    if match is None:
        raise NotFound("No such site.", detail="unreadable Host header")
    return match["name"]


class DomainDirectory:
    """Looks domains up, one query each, and keeps a bounded number of them for seconds.

    Domains of a suspended tenant, removed ones and those whose owner is not proved are unknown; what was
    begun on them ends at once in the database, see `troth.session_alive`.
    """

    def __init__(
        self, database: Database, clock: Clock, *, port: int = HTTPS_PORT, capacity: int = 1024
    ) -> None:
        self._database = database
        self._clock = clock
        self._port = port
        self._known: BoundedCache[str, Domain] = BoundedCache(capacity)
        self._unknown: BoundedCache[str, bool] = BoundedCache(capacity)
        self._lookups = 0
        self._second_ends = clock.now()

    def __len__(self) -> int:
        """How many names are remembered, known and unknown ones."""
        return len(self._known) + len(self._unknown)

    async def find(self, host: str) -> Domain:
        """The domain of a Host header. Raises NotFound when there is none."""
        name = read_host(host)
        now = self._clock.now()
        domain = self._known.get(name, now)
        if domain is not None:
            return domain
        if self._unknown.get(name, now):
            raise NotFound("No such site.", detail=name)
        return await self._load(name)

    async def find_for_stranger(self, host: str) -> Domain:
        """The same for somebody who has shown nothing yet, not even that the name has a certificate.

        Any name can be asked for in a handshake: at most `_STRANGERS` of them a second are looked up, and
        beyond that nobody new gets a certificate. What was certified before goes on. Raises Unavailable then.
        """
        name = read_host(host)
        now = self._clock.now()
        if self._known.get(name, now) is None and not self._unknown.get(name, now):
            if now >= self._second_ends:
                self._second_ends, self._lookups = now + _KEEP, 0
            if self._lookups >= _STRANGERS:
                raise Unavailable("Too many unknown names are asked for.", detail=name)
            self._lookups += 1
        return await self.find(host)

    async def _load(self, name: str) -> Domain:
        row = await self._database.fetchrow(
            "select d.name, d.app, d.branding, t.id, t.slug, t.name as tenant_name, t.policy"
            " from troth.domain d join troth.tenant t on t.id = d.tenant_id"
            " where d.name in ($1, $2) and t.active and d.state = 'active' order by d.name = $1 desc limit 1",
            name,
            name.removeprefix(MUTUAL_TLS_PREFIX),
        )
        now = self._clock.now()
        if row is None:
            self._unknown.put(name, True, now + _KEEP)
            raise NotFound("No such site.", detail=name)
        branding = _branding(row["branding"], row["tenant_name"])
        domain = Domain(
            name=row["name"],
            tenant_id=row["id"],
            tenant=row["slug"],
            tenant_name=row["tenant_name"],
            app=row["app"],
            branding=branding,
            issuer=origin_of(row["name"], self._port),
            policy=read_policy(row["policy"]),
        )
        self._known.put(name, domain, now + _KEEP)
        return domain


def _branding(text: str, tenant_name: str) -> Branding:
    """What the domain's row says; what it leaves out, or says unreadably, is replaced."""
    found = msgspec.json.decode(text, type=Branding)
    colour = found.colour if is_colour(found.colour) else DEFAULT_COLOUR
    return msgspec.structs.replace(found, name=found.name or tenant_name, colour=colour)
