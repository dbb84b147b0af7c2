"""A house with a door: the routes of access over a real database, and a browser at them."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.access import House, furnish
from support.api import api_app, http
from support.browser import Browser, Served, WebAccess
from support.documents import ada, bob, estate, eve
from support.served import serve
from troth.core.db import Database

__all__ = ["ada", "api_app", "bob", "estate", "eve", "http"]


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


@pytest.fixture
async def signed_in(browser: Browser, house: House) -> Browser:
    browser.cookie = (await house.begin()).token
    return browser


@pytest.fixture
async def served(web: WebAccess, tmp_path: Path) -> AsyncGenerator[Served]:
    async with serve(web, tmp_path) as behind_tls:
        yield behind_tls
