"""Fixtures of wiring's tests."""

from pathlib import Path

import pytest

from support.access import Access, House, furnish
from support.office import Operator
from support.postgres import Server
from troth.core.db import Database


@pytest.fixture
async def house(database: Database, owner_database: Database, auditor_database: Database) -> House:
    return await furnish(Access(database, owner_database, auditor_database))


@pytest.fixture
def operator(postgres: Server, tmp_path: Path) -> Operator:
    return Operator(postgres, tmp_path)
