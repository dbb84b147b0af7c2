"""A house with an administrator, and one beside it."""

import pytest

from support.access import House, furnish
from support.administration import EVERYTHING, AdministeredAccess, Official, official
from troth.core.db import Database


@pytest.fixture
def access(database: Database, owner_database: Database, auditor_database: Database) -> AdministeredAccess:
    return AdministeredAccess(database, owner_database, auditor_database)


@pytest.fixture
async def house(access: AdministeredAccess) -> House:
    return await furnish(access)


@pytest.fixture
async def boss(house: House) -> Official:
    """May administer everything."""
    return await official(house, *EVERYTHING)


@pytest.fixture
async def stranger(access: AdministeredAccess) -> Official:
    """May administer everything, of another tenant."""
    return await official(await furnish(access), *EVERYTHING)
