"""Two tenants with people and their sessions, and the documents service over them."""

import secrets
from typing import Any
from uuid import UUID

import msgspec
import pytest

from support.access import Access, House, RunningClock, furnish, password_hash
from troth.access.accounts.people import Profile
from troth.access.tokens import Bearer
from troth.core.db import Database
from troth.data.collections import Collection, compile_collection
from troth.data.documents import Documents
from troth.data.grants import Caller, read_grants

TICKET: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "title": {"type": "string", "minLength": 1, "maxLength": 120},
        "text": {"type": "string", "maxLength": 100_000},
        "status": {"enum": ["open", "closed"]},
        "rooms": {"type": "array", "items": {"$ref": "#/$defs/room"}},
        "due": {"type": "string", "format": "date"},
        "slug": {"type": "string", "pattern": "^(a+)+$"},
        "price": {"type": "number"},
        "extra": {"type": "object"},
    },
    "required": ["title"],
    "additionalProperties": False,
    "$defs": {"room": {"type": "string", "maxLength": 20}},
}

EVERYTHING = ("tickets:create", "tickets:read", "tickets:update", "tickets:delete")
OWN = ("tickets:create", "tickets:read:own", "tickets:update:own", "tickets:delete:own")


def collections() -> dict[str, Collection]:
    """Two collections that take the same documents."""
    return {name: compile_collection(name, name.capitalize(), TICKET) for name in ("tickets", "notices")}


class Person(msgspec.Struct, frozen=True):
    """Somebody with a living session."""

    house: House
    id: UUID
    session: UUID
    cookie: str

    def caller(self, *scopes: str) -> Caller:
        """Acting with these scopes."""
        return Caller(self.house.tenant.id, self.id, self.session, read_grants(scopes))

    async def token(self, *scopes: str) -> str:
        """A signed access token with these scopes."""
        bearer = Bearer(session=self.session, person=self.id, client="session", scopes=scopes)
        return (await self.house.access.tokens.mint(self.house.domain, bearer)).token

    async def sign_out(self) -> None:
        """End the session as a logout does."""
        await self.house.access.sessions.end(self.house.domain, self.cookie)


class Estate:
    """The services, and houses with people to try them on."""

    def __init__(self, database: Database, owner: Database, auditor: Database) -> None:
        self.database = database
        # It lives as long as the tests: a clock that stood still would fall behind what clients date.
        self.access = Access(database, owner, auditor, clock=RunningClock())
        self.ring = self.access.ring
        self.documents = Documents(database, self.ring, collections())

    async def house(self) -> House:
        """A fresh tenant with one person."""
        return await furnish(self.access)

    async def person(self, house: House) -> Person:
        """One more person of this house, signed in."""
        email = f"{secrets.token_hex(6)}@example.org"
        person = await self.access.registrar.add(
            house.tenant.id, Profile(email, "Somebody"), ("resident",), await password_hash(self.access)
        )
        begun = await self.access.sessions.begin(house.domain, person)
        return Person(house, person, begun.session.id, begun.token)


@pytest.fixture(scope="session")
async def estate(database: Database, owner_database: Database, auditor_database: Database) -> Estate:
    """The services over the real database."""
    return Estate(database, owner_database, auditor_database)


@pytest.fixture
async def ada(estate: Estate) -> Person:
    """A person in a fresh tenant."""
    return await estate.person(await estate.house())


@pytest.fixture
async def bob(estate: Estate, ada: Person) -> Person:
    """Somebody else of Ada's tenant."""
    return await estate.person(ada.house)


@pytest.fixture
async def eve(estate: Estate) -> Person:
    """Somebody of another tenant."""
    return await estate.person(await estate.house())
