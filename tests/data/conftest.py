"""What the tests of documents share, and those of replicas."""

from collections.abc import AsyncGenerator

import pytest

from support.documents import ada, bob, estate, eve
from support.replicas import Cluster
from support.writers import Writers
from troth.core.db import Database
from troth.data.roles import OWNER

__all__ = ["ada", "bob", "estate", "eve"]


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Cluster]:
    """Three members with roles, schema and a table to write to."""
    running = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        await running.start()
        await running.prepare()
        owner = await Database.open(running.target(OWNER), max_size=1)
        await owner.execute("create table troth.note (id bigint primary key)")
        await owner.close()
        yield running
    finally:
        await running.stop()


@pytest.fixture
async def writers(cluster: Cluster) -> AsyncGenerator[Writers]:
    await cluster.complete()
    database = await Database.open(cluster.target(OWNER), max_size=4)
    yield Writers(database)
    await database.close()
