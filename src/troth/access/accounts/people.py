"""People: found by a blind index of their e-mail address, their names sealed at rest."""

import unicodedata
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from troth.access.accounts.passwords import Passwords
from troth.access.ports import Sealer
from troth.core.db import Database
from troth.core.errors import Unprocessable

PROFILE = "profile"
"""Purpose under which profiles are sealed."""

EMAIL = "email"
"""Purpose of the blind index."""

MAX_EMAIL = 254

_NOT_IN_ADDRESSES = frozenset(' "<>(),:;\\[]')


class Profile(msgspec.Struct, frozen=True):
    """What identifies a person to other people."""

    email: str
    name: str


class Candidate(msgspec.Struct, frozen=True):
    """An account that somebody tries to sign in to."""

    id: UUID
    password_hash: str | None
    disabled: bool


def normal_email(text: str) -> str:
    """One spelling for one address. Compared only: the address is kept as it was written."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


class Accounts:
    """People of all tenants; each call names the one it is about."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def find(self, domain: str, tenant: UUID, email: str) -> Candidate | None:
        """The account of this address in the domain's tenant; the same work whether there is one or not."""
        index = await self.index(tenant, email)
        row = await self._database.fetchrow("select * from troth.find_person($1, $2)", domain, index)
        return None if row is None else Candidate(row["id"], row["password_hash"], row["disabled"])

    async def profile(self, tenant: UUID, person: UUID, sealed: bytes) -> Profile:
        """Open a sealed profile."""
        opened = await self._sealer.open(tenant, PROFILE, sealed, person.bytes)
        return msgspec.json.decode(opened, type=Profile)

    async def add(
        self, tenant: UUID, profile: Profile, roles: tuple[str, ...], password_hash: str | None
    ) -> UUID:
        """The id of a new person, or of the one who has this address already and stays as they are.

        Raises Unprocessable when the address cannot be one.
        """
        person = uuid7()
        sealed = await self.seal(tenant, person, profile)
        index = await self.index(tenant, profile.email)
        return await self._database.fetchval(
            "select troth.add_person($1, $2, $3, $4, $5, $6)",
            tenant,
            person,
            index,
            sealed,
            password_hash,
            list(roles),
            idempotent=True,
        )

    async def seal(self, tenant: UUID, person: UUID, profile: Profile) -> bytes:
        """The profile as it is stored. Raises Unprocessable when the address cannot be one."""
        if not is_plausible(profile.email):
            raise Unprocessable("This is not an e-mail address.", errors=(("/email", "not an address"),))
        return await self._sealer.seal(tenant, PROFILE, msgspec.json.encode(profile), person.bytes)

    async def set_password(self, tenant: UUID, person: UUID, password: str, passwords: Passwords) -> None:
        """A new password; every session of the person is over with it."""
        hashed = await passwords.hash(password)
        await self._database.execute(
            "select troth.set_password($1, $2, $3)", tenant, person, hashed, idempotent=True
        )

    async def profile_of(self, tenant: UUID, person: UUID) -> Profile:
        """The profile of a person who exists."""
        async with self._database.transaction() as connection:
            await connection.execute("select set_config('troth.tenant', $1, true)", str(tenant))
            sealed = await connection.fetchval("select profile from troth.person where id = $1", person)
        return await self.profile(tenant, person, sealed)

    async def index(self, tenant: UUID, email: str) -> bytes:
        """The blind index under which an address is found."""
        return await self._sealer.blind_index(
            tenant, EMAIL, normal_email(email).encode("utf-8", "surrogatepass")
        )


def is_plausible(email: str) -> bool:
    """Whether a message could be sent there: no line breaks, no signs that lists and headers are made of."""
    local, at, domain = email.partition("@")
    sound = len(email) <= MAX_EMAIL and email.isprintable() and not set(email) & _NOT_IN_ADDRESSES
    return bool(local and at and "." in domain and "@" not in domain and sound)
