"""What the tests of documents share."""

import pytest

from support.documents import Estate, Person
from troth.core.db import Database


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
