"""A tenant's domains, for its own administrators: asked for, proved by a TXT record, taken away."""

from datetime import datetime
from typing import Any

import msgspec

from troth.access.administrator import Administrator, Guard
from troth.access.ownership import Challenge, NameServers, NotOwned, new_challenge, require_ownership
from troth.access.tenants import Branding
from troth.core.errors import Conflict, NotFound, Unavailable, Unprocessable
from troth.core.hostname import is_local, normalise_host
from troth.core.names import MUTUAL_TLS_PREFIX


class DomainView(msgspec.Struct, frozen=True, kw_only=True):
    """A domain as an administrator sees it. `challenge` is set where its owner had to be proved."""

    name: str
    app: str
    state: str
    declared: bool
    brand: str
    challenge: Challenge | None
    created_at: datetime
    proved_at: datetime | None


class AdministeredDomains:
    """Every call raises what those of Guard do."""

    def __init__(self, guard: Guard, servers: NameServers) -> None:
        self._guard = guard
        self._servers = servers

    async def list(self, by: Administrator, *, after: str | None, limit: int) -> tuple[DomainView, ...]:
        """In the order of their names."""
        query = "select * from troth.admin_domains($1, $2, $3, $4, $5)"
        rows = await self._guard.rows(by, "admin.domains:read", query, after, limit)
        return tuple(map(_read, rows))

    async def read(self, by: Administrator, name: str) -> DomainView:
        """One of them. Raises NotFound."""
        query = "select * from troth.admin_domain($1, $2, $3, $4)"
        rows = await self._guard.rows(by, "admin.domains:read", query, name)
        if not rows:
            raise _unknown()
        return _read(rows[0])

    async def add(self, by: Administrator, name: str, branding: Branding) -> Challenge:
        """Ask for a domain, which waits for this proof. Raises Conflict when anybody has it, without a word
        of who; Unprocessable."""
        host = normal_name(name)
        challenge = new_challenge(host)
        outcome = await self._guard.value(
            by,
            "admin.domains:create",
            "select troth.admin_add_domain($1, $2, $3, $4, $5, $6)",
            host,
            msgspec.json.encode(branding).decode(),
            challenge.token,
        )
        if outcome == "taken":
            raise Conflict("This domain is in use, or waits for its proof.")
        if outcome == "too_many":
            raise Conflict("Too many domains wait for their proof: remove one that is not needed.")
        return challenge

    async def check(self, by: Administrator, name: str) -> None:
        """Ask the name servers whether its owner published the record; then it serves. Raises NotFound,
        Conflict when the record does not stand there, Unavailable."""
        rows = await self._guard.rows(
            by, "admin.domains:update", "select * from troth.admin_challenge($1, $2, $3, $4)", name
        )
        if not rows:
            raise _unknown()
        token = rows[0]["challenge"]
        if rows[0]["state"] != "pending":
            return
        try:
            await require_ownership(Challenge(name, token), self._servers)
        except NotOwned as error:
            if error.seen == "unreachable":
                raise Unavailable(error.public, detail=error.detail) from None
            raise Conflict(f"{error.public} {error.hint}") from None
        query = "select troth.admin_prove_domain($1, $2, $3, $4, $5)"
        if not await self._guard.value(by, "admin.domains:update", query, name, token):
            raise Conflict("This domain was asked for anew in the meantime: read it again.")

    async def remove(self, by: Administrator, name: str) -> None:
        """Take it out of service; all sessions on it are over. Raises NotFound, Conflict."""
        query = "select troth.admin_remove_domain($1, $2, $3, $4)"
        match await self._guard.value(by, "admin.domains:delete", query, name):
            case "none":
                raise _unknown()
            case "declared":
                raise Conflict("This domain is one of the operator's own.")
            case "own":
                raise Conflict("You are signed in on this domain: remove it from another one.")
            case _:
                return


def normal_name(name: str) -> str:
    """The one spelling of a domain that a customer can own. Raises Unprocessable."""
    try:
        host = normalise_host(name.strip())
    except ValueError as error:
        raise Unprocessable("This is no domain.", errors=(("/name", f"{error}"),)) from None
    if is_local(host) or host.startswith(MUTUAL_TLS_PREFIX):
        said = "no record can prove whose it is: the operator adds it"
        raise Unprocessable("Nobody can own this domain.", errors=(("/name", said),))
    return host


def _unknown() -> NotFound:
    return NotFound("There is no such domain.")


def _read(row: Any) -> DomainView:
    challenge = row["challenge"]
    return DomainView(
        name=row["name"],
        app=row["app"],
        state=row["state"],
        declared=row["declared"],
        brand=row["brand"],
        challenge=Challenge(row["name"], challenge) if challenge else None,
        created_at=row["created_at"],
        proved_at=row["proved_at"],
    )
