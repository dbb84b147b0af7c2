"""Signing in: accounts found blindly, hashes brought up to date, failures alike."""

import asyncio

import pytest

from support.access import EMAIL, NAME, PASSWORD, Access, House, furnish, sign_in
from support.waiting import until
from troth.access.accounts.limits import place_of
from troth.access.accounts.passwords import Passwords
from troth.access.accounts.people import Profile
from troth.access.accounts.pool import Turn
from troth.access.accounts.signin import MOST_FROM_ONE_PLACE, SignIn
from troth.access.errors import NoSession, SignInRefused
from troth.core.db import Database
from troth.core.errors import TooMany, Unprocessable


async def test_the_right_password_begins_a_session(house: House) -> None:
    begun = await sign_in(house)
    assert begun.session.person == house.person


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (EMAIL, "wrong"),
        ("nobody@example.org", PASSWORD),
        ("", ""),
        (EMAIL, "x" * 129),
        ("x" * 255, PASSWORD),
        ("\0", "\ud800"),
    ],
)
async def test_every_failure_says_the_same(house: House, email: str, password: str) -> None:
    with pytest.raises(SignInRefused) as caught:
        await house.access.sign_in.sign_in(house.domain, email, password)
    assert caught.value.public == "The e-mail address and password do not match."


async def test_a_person_of_another_tenant_is_unknown_here(access: Access, house: House) -> None:
    other = await furnish(access)
    await access.registrar.add(house.tenant.id, Profile("only@here.example", "Only"), (), None)
    assert await access.accounts.find(other.domain.name, other.tenant.id, "only@here.example") is None


async def test_an_old_hash_is_brought_up_to_date_at_sign_in(house: House) -> None:
    old = await Passwords(rounds=1000).hash(PASSWORD)
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute("update troth.person set password_hash = $1", old)
    await house.access.sign_in.sign_in(house.domain, EMAIL, PASSWORD)
    stored = await house.access.auditor.fetchval(
        "select password_shape from troth.person where id = $1", house.person
    )
    assert stored.startswith("pbkdf2-sha256$600000$")
    await house.access.sign_in.sign_in(house.domain, EMAIL, PASSWORD)


async def test_a_new_password_ends_what_the_old_one_began(house: House) -> None:
    access = house.access
    begun = await sign_in(house)
    await access.registrar.set_password(house.tenant.id, house.person, "another one", access.passwords)
    assert not await alive(house, begun.session.id)
    with pytest.raises(SignInRefused):
        await access.sign_in.sign_in(house.domain, EMAIL, PASSWORD)
    fresh = await sign_in(house, password="another one")
    assert await alive(house, fresh.session.id)


async def test_a_password_that_was_changed_while_it_was_checked_begins_nothing(house: House) -> None:
    access = house.access

    class Overtaken(Passwords):
        async def verify(
            self, password: str, stored: str | None, *, nobody: bool = False, turn: Turn = Turn.STRANGER
        ) -> None:
            await super().verify(password, stored, nobody=nobody, turn=turn)
            await access.registrar.set_password(
                house.tenant.id, house.person, "another one", access.passwords
            )

    held_up = SignIn(access.database, access.limits, Overtaken(), access.sessions, access.pending_sign_ins)
    with pytest.raises(NoSession):
        await held_up.sign_in(house.domain, EMAIL, PASSWORD)
    assert "session.begun" not in await access.events(house.domain.name)


async def test_a_flood_from_one_place_leaves_room_for_everybody_else(house: House) -> None:
    access = house.access
    held = asyncio.Event()

    class Held(Passwords):
        async def verify(
            self, password: str, stored: str | None, *, nobody: bool = False, turn: Turn = Turn.STRANGER
        ) -> None:
            if password == "flood":
                await held.wait()
            await super().verify(password, stored, nobody=nobody, turn=turn)

    held_up = SignIn(access.database, access.limits, Held(), access.sessions, access.pending_sign_ins)
    flood = [
        asyncio.ensure_future(
            held_up.sign_in(house.domain, f"{number}{EMAIL}", "flood", address=f"2001:db8::{number}")
        )
        for number in range(60)
    ]
    await until(lambda: sum(task.done() for task in flood) == len(flood) - MOST_FROM_ONE_PLACE)
    done, waiting = await asyncio.wait(flood, timeout=0.2)
    assert len(waiting) == MOST_FROM_ONE_PLACE
    assert all(isinstance(task.exception(), TooMany) for task in done)
    await held_up.sign_in(house.domain, EMAIL, PASSWORD, address="2001:db8:0:1::1")
    held.set()
    refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(error, SignInRefused) for error in refused)
    await held_up.sign_in(house.domain, EMAIL, PASSWORD, address="2001:db8::1")


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("192.0.2.7, 10.0.0.1", ""),
    ],
)
def test_a_place_is_what_one_holder_can_choose_addresses_from(address: str, place: str) -> None:
    assert place_of(address) == place
    assert place_of("::ffff:192.0.2.7") != place_of("::ffff:192.0.2.8")


async def alive(house: House, session: object) -> bool:
    async with house.access.database.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        return await connection.fetchval("select troth.session_alive($1)", session)


async def test_adding_the_same_address_twice_keeps_the_first(house: House) -> None:
    again = await house.access.registrar.add(house.tenant.id, Profile(EMAIL.upper(), "Else"), (), "x")
    assert again == house.person


@pytest.mark.parametrize(
    "email", ["", "x", "x@", "@x.example", "x@y", "x\n@y.example", "x" * 250 + "@y.example"]
)
async def test_what_is_no_address_is_not_added(house: House, email: str) -> None:
    with pytest.raises(Unprocessable):
        await house.access.registrar.add(house.tenant.id, Profile(email, "X"), (), None)


async def test_names_and_addresses_lie_sealed(house: House, superuser_database: Database) -> None:
    row = await superuser_database.fetchrow("select * from troth.person where id = $1", house.person)
    assert row is not None
    text = repr(dict(row)).encode()
    for plain in (EMAIL, NAME, "Weber"):
        assert plain.encode() not in text
        assert plain.encode() not in bytes(row["profile"])
        assert plain.encode() not in bytes(row["email_index"])
