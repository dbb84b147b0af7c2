"""The feed: whatever ends a session is heard, in order, and its silence is noticed."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Literal

import msgspec
import pytest

from support.access import Access, House, furnish
from support.postgres import Server
from support.waiting import until
from troth.access.endings import CHANNEL, EVERYTHING, Ending, Feed
from troth.access.errors import NoSession
from troth.core.db import Database
from troth.data.roles import APP


class Ear:
    """Keeps what a feed tells."""

    def __init__(self, feed: Feed) -> None:
        self.heard: list[Ending] = []
        feed.subscribe(lambda ending: self.heard.append(msgspec.structs.replace(ending, at=0.0)))

    async def hears(self, ending: Ending) -> None:
        await until(lambda: ending in self.heard)


@pytest.fixture
async def feed(postgres: Server) -> AsyncGenerator[Feed]:
    feed = Feed(postgres.target(APP))
    async with feed.listening():
        assert await feed.until_lively(10)
        yield feed


async def change(house: House, statement: str, *arguments: object) -> None:
    """As the operator, in the context of the house."""
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(statement, *arguments)


async def test_a_logout_is_told_with_everything_that_was_granted_under_it(feed: Feed, house: House) -> None:
    ear, begun = Ear(feed), await house.begin()
    await house.access.sessions.end(house.domain, begun.token)
    await ear.hears(Ending("session", str(begun.session.id), True))


@pytest.mark.parametrize(
    "statement",
    [
        "update troth.person set disabled = true where id = $1",
        "select troth.set_disabled(tenant_id, id, true) from troth.person where id = $1",
        "select troth.set_password(tenant_id, id, 'x') from troth.person where id = $1",
    ],
)
async def test_whatever_takes_something_from_a_person_ends_their_sessions(
    feed: Feed, house: House, statement: str
) -> None:
    ear, begun = Ear(feed), await house.begin()
    await change(house, statement, house.person)
    await ear.hears(Ending("person", str(house.person), True))
    assert not await alive(house, begun.token)


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("person", "update troth.person set roles = '{}' where id = $1"),
        (
            "tenant",
            "update troth.role set scopes = '{announcements:read}'"
            " where tenant_id = (select tenant_id from troth.person where id = $1)",
        ),
        (
            "tenant",
            "delete from troth.role where tenant_id = (select tenant_id from troth.person where id = $1)",
        ),
    ],
)
async def test_fewer_rights_end_what_is_open_and_nobody_has_to_sign_in_again(
    feed: Feed, house: House, kind: Literal["person", "tenant"], statement: str
) -> None:
    ear, begun = Ear(feed), await house.begin()
    await change(house, statement, house.person)
    await ear.hears(Ending(kind, str(house.person if kind == "person" else house.tenant.id), True))
    assert await alive(house, begun.token)


async def test_what_a_person_gains_ends_nothing_and_counts_at_once(feed: Feed, house: House) -> None:
    ear, begun = Ear(feed), await house.begin()
    await change(
        house, "update troth.person set roles = roles || '{manager}'::text[] where id = $1", house.person
    )
    await ear.hears(Ending("person", str(house.person), False))
    assert await alive(house, begun.token)


async def test_a_client_and_a_tenant_are_told_by_name(feed: Feed, house: House) -> None:
    ear, tenant = Ear(feed), str(house.tenant.id)
    await change(house, "update troth.client set disabled = true where id = 'ledger'")
    await ear.hears(Ending("client", f"{tenant}/ledger", True))
    await change(house, "delete from troth.client where id = 'other'")
    await ear.hears(Ending("client", f"{tenant}/other", True))
    await change(house, "update troth.tenant set active = false where id = $1", house.tenant.id)
    await ear.hears(Ending("tenant", tenant, True))


async def test_a_session_that_is_expired_by_hand_or_deleted_with_its_person_is_told(
    feed: Feed, house: House
) -> None:
    ear, first, second = Ear(feed), await house.begin(), await house.begin()
    await change(house, "update troth.session set expires_at = now() where id = $1", first.session.id)
    await ear.hears(Ending("session", str(first.session.id), True))
    await change(house, "delete from troth.person where id = $1", house.person)
    await ear.hears(Ending("session", str(second.session.id), True))


async def test_a_raised_session_is_not_over_but_what_is_remembered_of_it_is(feed: Feed, house: House) -> None:
    ear, begun = Ear(feed), await house.begin()
    await house.access.sessions.raise_to(house.domain, begun.token, ("pwd", "otp"))
    await ear.hears(Ending("session", str(begun.session.id), False))


async def test_what_is_rolled_back_is_never_told(feed: Feed, house: House) -> None:
    ear, begun = Ear(feed), await house.begin()
    with pytest.raises(ZeroDivisionError):
        async with house.access.database.transaction() as connection:
            await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
            await connection.execute("select troth.end_session_tree($1, 'logout')", begun.session.id)
            raise ZeroDivisionError
    other = await house.begin()
    await house.access.sessions.end(house.domain, other.token)
    await ear.hears(Ending("session", str(other.session.id), True))
    assert [one.ref for one in ear.heard if one.kind == "session"] == [str(other.session.id)]


async def test_what_ended_while_the_feed_was_lost_is_told_when_it_is_back(
    postgres: Server, house: House
) -> None:
    feed = Feed(postgres.target(APP))
    async with feed.listening():
        assert await feed.until_lively(10)
    ear, begun = Ear(feed), await house.begin()
    await house.access.sessions.end(house.domain, begun.token)
    async with feed.listening():
        await ear.hears(Ending("session", str(begun.session.id), True))
    assert ear.heard.index(EVERYTHING) < ear.heard.index(Ending("session", str(begun.session.id), True))


async def test_a_lost_connection_is_noticed_and_replaced(feed: Feed, superuser_database: Database) -> None:
    ear = Ear(feed)
    await superuser_database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where query like '%troth.beat%'"
        " and pid <> pg_backend_pid()"
    )
    await ear.hears(EVERYTHING)
    assert await feed.until_lively(10)


async def test_a_database_that_hangs_makes_the_feed_silent(feed: Feed, postgres: Server) -> None:
    postgres.pause()
    try:
        await until(lambda: not feed.lively)
    finally:
        postgres.resume()
    assert await feed.until_lively(20)


async def test_a_payload_that_cannot_be_read_makes_everything_forgotten(
    feed: Feed, database: Database
) -> None:
    ear = Ear(feed)
    await database.execute("select pg_notify($1, 'no JSON')", CHANNEL)
    await ear.hears(EVERYTHING)


async def test_an_instance_can_add_to_the_endings_and_take_none_back(house: House) -> None:
    begun = await house.begin()
    await house.access.sessions.end(house.domain, begun.token)
    async with house.access.database.transaction() as connection:
        assert await connection.execute("delete from troth.ending") == "DELETE 0"
        assert await connection.execute("update troth.ending set over = false") == "UPDATE 0"


async def test_two_instances_hear_the_same(feed: Feed, postgres: Server, house: House) -> None:
    second = Feed(postgres.target(APP))
    async with second.listening():
        assert await second.until_lively(10)
        ears, begun = (Ear(feed), Ear(second)), await house.begin()
        await house.access.sessions.end(house.domain, begun.token)
        told = Ending("session", str(begun.session.id), True)
        await asyncio.gather(*(ear.hears(told) for ear in ears))


async def alive(house: House, token: str) -> bool:
    try:
        await house.access.sessions.open(house.domain, token)
    except NoSession:
        return False
    return True


async def test_the_sessions_of_another_tenant_go_on_when_a_role_shrinks(
    feed: Feed, access: Access, house: House
) -> None:
    other = await furnish(access)
    begun = await other.begin()
    await change(
        house,
        "update troth.role set scopes = '{}' where tenant_id = $1 and name = 'resident'",
        house.tenant.id,
    )
    assert await alive(other, begun.token)
