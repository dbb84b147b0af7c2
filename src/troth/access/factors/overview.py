"""What a person has set up, as their own page shows it; renaming and removing it; an operator's reset."""

from datetime import datetime
from uuid import UUID

import msgspec

from troth.access.errors import FactorNotChanged
from troth.access.factors.passkeys import clean_name
from troth.access.tenants import Domain
from troth.core.db import Database


class Passkey(msgspec.Struct, frozen=True):
    """A passkey in the list; `credential` is its id in hexadecimal."""

    id: UUID
    name: str
    domain: str
    created_at: datetime
    used_at: datetime | None
    credential: str
    backed_up: bool


class Overview(msgspec.Struct, frozen=True):
    """`policy` is the tenant's: off, optional or required."""

    policy: str
    app_since: datetime | None
    app_used: datetime | None
    passkeys: tuple[Passkey, ...]
    codes: int

    @property
    def any(self) -> bool:
        """Whether there is a factor beside the password."""
        return self.app_since is not None or bool(self.passkeys)


class Factors:
    """Shows, renames, removes and resets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def show(self, domain: Domain, person: UUID) -> Overview:
        """Everything that the person has."""
        row = await self._database.fetchrow("select * from troth.show_factors($1, $2)", domain.name, person)
        assert row is not None, "the function returns one row"
        return Overview(
            row["policy"],
            row["app_since"],
            row["app_used"],
            msgspec.json.decode(row["passkeys"], type=tuple[Passkey, ...]),
            row["codes"],
        )

    async def rename(self, domain: Domain, person: UUID, passkey: UUID, name: str) -> None:
        """Raises FactorNotChanged when it is not this person's."""
        done = await self._database.fetchval(
            "select troth.rename_passkey($1, $2, $3, $4)",
            domain.name,
            person,
            passkey,
            clean_name(name),
            idempotent=True,
        )
        if not done:
            raise FactorNotChanged("unknown")

    async def remove(self, domain: Domain, person: UUID, passkey: UUID | None, *, request: str = "") -> None:
        """Remove a passkey, or the app when none is named. Raises FactorNotChanged when it is not there, or
        is the last one and the tenant requires one."""
        outcome = await self._database.fetchval(
            "select troth.remove_factor($1, $2, $3, $4)",
            domain.name,
            person,
            passkey,
            request,
            idempotent=False,
        )
        if outcome != "removed":
            raise FactorNotChanged(outcome)

    async def reset(self, tenant: UUID, person: UUID) -> bool:
        """For an operator whose person has lost everything: no factor is left, and every session is over.
        False when there is no such person."""
        return await self._database.fetchval(
            "select troth.reset_factors($1, $2)", tenant, person, idempotent=False
        )
