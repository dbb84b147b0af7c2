"""A client that is vouched for is as it was: whatever changes it is told before it is used again."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from support.access import House, furnish
from support.clients import add_client
from support.postgres import Server
from support.waiting import until
from troth.access.endings import Ending, Feed
from troth.access.living import Remembered, client_ref
from troth.access.oauth.client_authentication import secret_hash
from troth.access.oauth.clients import Clients, Known, changes
from troth.core.db import Database
from troth.data.roles import APP


class Watched(Database):
    """Counts questions."""

    asked = 0

    async def fetchrow(self, query: str, *args: object, idempotent: bool | None = None) -> Any:
        self.asked += 1
        return await super().fetchrow(query, *args, idempotent=idempotent)


class Instance:
    """A web instance as far as clients go."""

    def __init__(self, house: House, database: Watched, feed: Feed) -> None:
        self.house, self.database, self.heard = house, database, list[str]()
        memory: Remembered[tuple[str, str], Known] = Remembered(database, feed, house.access.clock, changes)
        self.clients = Clients(database, memory)
        feed.subscribe(self._hear)

    def _hear(self, ending: Ending) -> None:
        self.heard.append(ending.ref)

    async def change(self, statement: str, *values: object) -> None:
        """As the operator, and wait until the instance was told."""
        ref = client_ref(self.house.tenant.id, "bank")
        before = self.heard.count(ref)
        async with self.house.access.owner.transaction() as connection:
            await connection.execute("select set_config('troth.tenant', $1, true)", str(self.house.tenant.id))
            await connection.execute(statement, *values)
        await until(lambda: self.heard.count(ref) > before)


@pytest.fixture
async def instance(postgres: Server, house: House) -> AsyncGenerator[Instance]:
    await add_client(house, "bank", token_endpoint_auth_method="client_secret_basic")
    database = await Watched.open(postgres.target(APP), max_size=2)
    assert isinstance(database, Watched)
    feed = Feed(postgres.target(APP))
    async with feed.listening():
        assert await feed.until_lively(10)
        yield Instance(house, database, feed)
    await database.close()


async def test_a_client_is_asked_about_once(instance: Instance) -> None:
    found = [await instance.clients.find(instance.house.domain, "bank") for _ in range(5)]
    assert found[0] is not None
    assert found == [found[0]] * 5
    assert instance.database.asked == 1


async def test_a_disabled_client_is_unknown_as_soon_as_it_was_told(instance: Instance) -> None:
    assert await instance.clients.find(instance.house.domain, "bank") is not None
    await instance.change("update troth.client set disabled = true where id = 'bank'")
    assert await instance.clients.find(instance.house.domain, "bank") is None


async def test_a_changed_client_is_read_again(instance: Instance) -> None:
    await instance.clients.find(instance.house.domain, "bank")
    await instance.change(
        "update troth.client set redirect_uris = '{https://new.example/}' where id = 'bank'"
    )
    found = await instance.clients.find(instance.house.domain, "bank")
    assert found is not None
    assert found.redirect_uris == ("https://new.example/",)


async def test_a_secret_that_was_added_or_removed_counts_at_once(instance: Instance) -> None:
    await instance.clients.find(instance.house.domain, "bank")
    fresh = secret_hash("fresh")
    await instance.change(
        "insert into troth.client_secret (tenant_id, client_id, secret_hash)"
        " values (troth.context_tenant(), 'bank', $1)",
        fresh,
    )
    found = await instance.clients.find(instance.house.domain, "bank")
    assert found is not None
    assert fresh in found.secret_hashes
    await instance.change("delete from troth.client_secret where secret_hash = $1", fresh)
    found = await instance.clients.find(instance.house.domain, "bank")
    assert found is not None
    assert fresh not in found.secret_hashes


async def test_another_tenants_client_of_the_same_name_is_another(instance: Instance) -> None:

    other = await furnish(instance.house.access)
    await instance.clients.find(instance.house.domain, "bank")
    assert await instance.clients.find(other.domain, "bank") is None
