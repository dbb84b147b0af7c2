"""A house with a door: the routes of access over a real database, and a browser at them."""

from collections.abc import AsyncGenerator

import pytest

from support.access import House, furnish
from support.browser import Browser, WebAccess
from troth.core.db import Database


@pytest.fixture
async def web(database: Database, owner_database: Database, auditor_database: Database) -> WebAccess:
    return WebAccess(database, owner_database, auditor_database)


@pytest.fixture
async def house(web: WebAccess) -> House:
    return await furnish(web)


@pytest.fixture
async def browser(web: WebAccess, house: House) -> AsyncGenerator[Browser]:
    opened = Browser(web, house)
    yield opened
    await opened.close()
