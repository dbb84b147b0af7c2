"""A house for the tests of access."""

import pytest

from support.access import Access, House, furnish
from troth.core.db import Database


@pytest.fixture
async def access(database: Database, owner_database: Database, auditor_database: Database) -> Access:
    return Access(database, owner_database, auditor_database)


@pytest.fixture
async def house(access: Access) -> House:
    return await furnish(access)
