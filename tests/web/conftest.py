"""A house with a door: the routes of access over a real database, and a browser at them."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from support.access import House, furnish
from support.api import api_app, http
from support.browser import Browser, Served, WebAccess, application
from support.documents import ada, bob, estate, eve
from support.postgres import free_port
from troth.access.tenants import DomainDirectory
from troth.core.ca import Authority, Subject, write_leaf
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
    """Without the edge: one server, one domain, one certificate."""
    port = free_port()
    web.directory = DomainDirectory(web.database, web.clock, port=port)
    house = await furnish(web)
    now = datetime.now(UTC)
    authority = Authority.open(tmp_path, "public", now=now)
    subject = Subject(common_name=house.domain.name, dns=(house.domain.name,), usage="server")
    leaf = write_leaf(authority.issue(subject, now=now, lifetime=timedelta(hours=1)), tmp_path, "server")
    server = Server(
        application(web),
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGINL,
        log_level=LogLevels.error,
        ssl_cert=leaf.certificate,
        ssl_key=leaf.key,
    )
    task = asyncio.create_task(server.serve())
    yield Served(house, authority.certificate_file)
    server.stop()
    await task
