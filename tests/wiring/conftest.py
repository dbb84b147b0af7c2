"""Fixtures of wiring's tests."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.access import Access, House, furnish
from support.office import Operator
from support.postgres import Server
from support.replicas import Cluster
from troth.core.db import Database
from troth.data.backups.tool import SLOT


@pytest.fixture
async def house(database: Database, owner_database: Database, auditor_database: Database) -> House:
    return await furnish(Access(database, owner_database, auditor_database))


@pytest.fixture
def operator(postgres: Server, tmp_path: Path) -> Operator:
    return Operator(postgres, tmp_path)


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Cluster]:
    """One member whose log is kept for backups."""
    running = Cluster(tmp_path_factory.mktemp("cluster"), members=1, slots=(SLOT,))
    try:
        await running.start()
        await running.prepare()
        yield running
    finally:
        await running.stop()
