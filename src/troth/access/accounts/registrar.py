"""A tenant's people in the operator's hands: found, added, invited, given roles, signed out.

Nobody but its owner ever chooses a password: an operator can ask for a message, or where no messages are sent
for a link to hand over, and what is chosen there is known to one.
"""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from troth.access.accounts.outbox import make_link
from troth.access.accounts.people import PROFILE, Accounts, Profile
from troth.access.administration import User, read_user
from troth.access.factors.overview import Factors
from troth.access.ports import Sealer
from troth.access.tenants import Domain
from troth.core.db import Database
from troth.core.names import PLATFORMS_OWN

Sent = Literal["invitation", "reset"]


class NewPerson(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody to add. Without a hash they have no password, and cannot sign in until they chose one."""

    profile: Profile
    roles: tuple[str, ...] = ()
    password_hash: str | None = None
    verified: bool = False


class Registrar:
    """`database` is the operator's."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer
        self._accounts = Accounts(database, sealer)

    async def page(self, tenant: UUID, *, after: UUID | None, limit: int) -> tuple[User, ...]:
        """Some of the tenant's people, the oldest first."""
        rows = await self._database.fetch("select * from troth.people($1, $2, $3)", tenant, after, limit)
        return tuple([await read_user(self._accounts, tenant, row) for row in rows])

    async def find(self, tenant: UUID, who: str) -> User | None:
        """A person by their address, or by their id."""
        index = await self._accounts.index(tenant, who)
        rows = await self._database.fetch(
            "select * from troth.person_of($1, $2, $3)", tenant, _id_of(who), index
        )
        return await read_user(self._accounts, tenant, rows[0]) if rows else None

    async def unknown_roles(self, tenant: UUID, roles: Sequence[str]) -> frozenset[str]:
        """Which of these neither the platform nor the tenant has to give."""
        unknown: list[str] = await self._database.fetchval(
            "select troth.unknown_roles($1, $2)", tenant, list(roles)
        )
        return frozenset(unknown) | {one for one in roles if one.startswith(PLATFORMS_OWN)}

    async def known(self, tenant: UUID, emails: Sequence[str]) -> frozenset[str]:
        """Which of these addresses somebody has."""
        indexes = {await self._accounts.index(tenant, email): email for email in emails}
        rows = await self._database.fetch(
            "select known from troth.known_people($1, $2) known", tenant, list(indexes)
        )
        found = {row["known"] for row in rows}
        return frozenset([email for email in emails if await self._accounts.index(tenant, email) in found])

    async def add(self, tenant: UUID, people: Sequence[NewPerson]) -> tuple[bool, ...]:
        """Add people, all or none of them; for each whether they are new. Who is here stays as they are."""
        ids = [uuid7() for _ in people]
        profiles = [
            await self._sealer.seal(tenant, PROFILE, msgspec.json.encode(one.profile), person.bytes)
            for person, one in zip(ids, people, strict=True)
        ]
        rows: list[Any] = await self._database.fetch(
            "select added from troth.add_people($1, $2, $3, $4, $5, $6, $7) added",
            tenant,
            ids,
            [await self._accounts.index(tenant, one.profile.email) for one in people],
            profiles,
            [one.password_hash for one in people],
            [" ".join(one.roles) for one in people],
            [one.verified for one in people],
            idempotent=True,
        )
        added = {row["added"] for row in rows}
        return tuple(person in added for person in ids)

    async def set_roles(self, tenant: UUID, person: UUID, roles: Sequence[str]) -> None:
        """Other roles; access tokens that say more are refused from the commit on."""
        await self._database.execute(
            "select troth.set_roles($1, $2, $3)", tenant, person, list(roles), idempotent=True
        )

    async def set_disabled(self, tenant: UUID, person: UUID, disabled: bool) -> None:
        """Every session of the person is over either way."""
        await self._database.execute(
            "select troth.set_disabled($1, $2, $3)", tenant, person, disabled, idempotent=True
        )

    async def sign_out(self, tenant: UUID, person: UUID) -> None:
        """End every session of a person, on all domains."""
        await self._database.execute("select troth.sign_out($1, $2)", tenant, person, idempotent=False)

    async def reset_factors(self, tenant: UUID, person: UUID) -> None:
        """Take the second factors away from a person who lost them."""
        await Factors(self._database).reset(tenant, person)

    async def order(self, domain: Domain, kind: Sent, person: UUID, language: str) -> None:
        """Ask for a message to a person; the outbox sends it."""
        await self._database.execute(
            "select troth.order_mail_to($1, $2, $3, $4, $5, $6)",
            uuid7(),
            domain.tenant_id,
            domain.name,
            kind,
            language,
            person,
            idempotent=True,
        )

    async def link(self, domain: Domain, kind: Sent, user: User) -> str:
        """A link to hand over by another way than a message. Earlier ones of its kind are useless now."""
        return await make_link(self._database, self._accounts, domain, kind, user.profile, person=user.id)


def _id_of(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
