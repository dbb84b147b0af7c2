"""The portal in front of a data API in memory."""

from collections.abc import AsyncGenerator

import pytest
from starlette.types import ASGIApp

from support.portal import NOW, Visitor, anna_of, markus_of, open_portal
from support.portal_api import FakeDataApi


@pytest.fixture
def api() -> FakeDataApi:
    return FakeDataApi(lambda: NOW)


@pytest.fixture
async def portal(api: FakeDataApi) -> AsyncGenerator[ASGIApp]:
    async with open_portal(api.app()) as app:
        yield app


@pytest.fixture
def anna(portal: ASGIApp) -> Visitor:
    return anna_of(portal)


@pytest.fixture
def markus(portal: ASGIApp) -> Visitor:
    return markus_of(portal)
