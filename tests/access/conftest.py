"""A house for the tests of access."""

import pytest
from hypothesis import settings

from support.access import Access, House, furnish
from troth.core.db import Database

# How long an example takes says nothing on a machine that runs a platform beside.
settings.register_profile("calm", deadline=None)
settings.load_profile("calm")


@pytest.fixture
async def access(database: Database, owner_database: Database, auditor_database: Database) -> Access:
    return Access(database, owner_database, auditor_database)


@pytest.fixture
async def house(access: Access) -> House:
    return await furnish(access)
