"""Guessing is slowed down; the person whose password is guessed is not locked out."""

import asyncio
import secrets
from collections.abc import Awaitable

import pytest

from support.access import EMAIL, PASSWORD, Access, House, furnish
from troth.access.accounts.foreign import read_foreign
from troth.access.accounts.people import Profile
from troth.access.errors import SignInRefused
from troth.core.db import Database
from troth.core.errors import TooMany

HOME, ATTACKER = "192.0.2.7", "198.51.100.66"


async def outcome(attempt: Awaitable[object]) -> str:
    try:
        await attempt
    except TooMany as error:
        assert error.retry_after >= 1
        return "wait"
    except SignInRefused:
        return "refused"
    return "in"


def guess(
    house: House, email: str = EMAIL, *, address: str = ATTACKER, device: str = ""
) -> Awaitable[object]:
    return house.access.limits.begin(house.domain, email, address=address, device=device)


async def guess_until_slowed(house: House, email: str = EMAIL, *, most: int = 40, address: str = "") -> int:
    """How many tries are let through, each from a network of its own unless one is named."""
    for number in range(most):
        place = address or f"203.0.113.{number}"
        if await outcome(guess(house, email, address=place)) == "wait":
            return number
    return most


async def hold(house: House, superuser: Database) -> None:
    """Whoever waits now waits for an hour: how long a hash takes on a busy machine says nothing."""
    await superuser.execute(
        "update troth.attempt set blocked_until = now() + interval '1 hour'"
        " where tenant_id = $1 and blocked_until > '-infinity'",
        house.tenant.id,
    )


async def test_one_network_gets_a_few_tries_at_an_account(house: House) -> None:
    assert await guess_until_slowed(house, address=ATTACKER) == 5


async def test_many_networks_together_get_ten(house: House) -> None:
    assert await guess_until_slowed(house) == 10


async def test_one_network_gets_thirty_at_all_accounts(house: House) -> None:
    seen = [await outcome(guess(house, f"{number}@example.org")) for number in range(32)]
    assert seen == ["in"] * 30 + ["wait"] * 2


async def test_unknown_accounts_are_slowed_down_alike(house: House) -> None:
    assert await guess_until_slowed(house, "nobody@example.org") == 10
    assert await guess_until_slowed(house, "nobody2@example.org", address=ATTACKER) == 5


async def test_tries_at_the_same_moment_are_counted_one_by_one(house: House) -> None:
    seen = await asyncio.gather(*(outcome(guess(house)) for _ in range(20)))
    assert seen.count("in") == 5


async def test_the_wait_grows_and_has_an_end(house: House, owner_database: Database) -> None:
    waits = [
        await owner_database.fetchval(
            "select extract(epoch from troth.attempt_wait('account', $1))::int", count
        )
        for count in (9, 10, 11, 14, 15, 1000)
    ]
    assert waits == [0, 2, 4, 32, 60, 60]


async def test_no_account_is_open_to_a_hundred_guesses_an_hour(owner_database: Database) -> None:
    waits = await owner_database.fetchval(
        "select sum(extract(epoch from troth.attempt_wait('account', n)))::int from generate_series(1, 99) n"
    )
    assert waits > 3600


async def test_the_victims_own_browser_signs_in_while_an_attacker_waits(
    house: House, superuser_database: Database
) -> None:
    device = await house.access.devices.issue(house.domain, EMAIL)
    await guess_until_slowed(house)
    await guess_until_slowed(house, address=HOME)
    await hold(house, superuser_database)
    sign_in = house.access.sign_in
    for _ in range(3):
        await sign_in.sign_in(house.domain, EMAIL, PASSWORD, address=HOME, device=device)
    assert await outcome(sign_in.sign_in(house.domain, EMAIL, PASSWORD, address=ATTACKER)) == "wait"


async def test_the_victims_own_network_signs_in_while_an_attacker_waits(
    house: House, superuser_database: Database
) -> None:
    sign_in = house.access.sign_in
    await sign_in.sign_in(house.domain, EMAIL, PASSWORD, address=HOME)
    await guess_until_slowed(house)
    await hold(house, superuser_database)
    await sign_in.sign_in(house.domain, EMAIL, PASSWORD, address=HOME)
    assert await outcome(sign_in.sign_in(house.domain, EMAIL, PASSWORD, address="192.0.2.8")) == "wait"


async def test_a_stolen_device_gets_few_guesses_too(house: House) -> None:
    device = await house.access.devices.issue(house.domain, EMAIL)
    seen = [await outcome(guess(house, address=f"203.0.113.{n}", device=device)) for n in range(12)]
    assert seen == ["in"] * 10 + ["wait"] * 2


async def test_a_right_password_counts_against_nobody(house: House) -> None:
    sign_in = house.access.sign_in
    for number in range(12):
        await sign_in.sign_in(house.domain, EMAIL, PASSWORD, address=f"203.0.113.{number}")
    assert await guess_until_slowed(house, address=ATTACKER) == 5


async def test_an_attacker_with_an_account_of_their_own_gains_no_guesses_by_it(house: House) -> None:
    access = house.access
    await access.registrar.add(
        house.tenant.id, Profile("mallory@example.org", "M"), (), await access.passwords.hash(PASSWORD)
    )
    for number in range(29):
        await outcome(guess(house, f"{number}@example.org"))
    own = access.sign_in.sign_in(house.domain, "mallory@example.org", PASSWORD, address=ATTACKER)
    assert await outcome(own) == "in"
    assert await outcome(guess(house, "x@example.org")) == "in"
    assert await outcome(guess(house, "y@example.org")) == "wait"


async def test_a_device_is_good_for_one_account_on_one_domain(access: Access, house: House) -> None:
    devices, other = access.devices, await furnish(access)
    cookie = await devices.issue(house.domain, EMAIL)
    assert await devices.read(house.domain, EMAIL.upper(), cookie)
    assert await devices.read(house.domain, "else@example.org", cookie) is None
    assert await devices.read(other.domain, EMAIL, cookie) is None
    for forged in ("", "x", cookie[:-2], cookie[:-1] + "\n", "A" * len(cookie), cookie * 9, "ä"):
        assert await devices.read(house.domain, EMAIL, forged) is None


async def test_a_device_is_forgotten_after_a_year(house: House) -> None:
    devices = house.access.devices
    cookie = await devices.issue(house.domain, EMAIL)
    house.access.clock.advance(days=365)
    assert await devices.read(house.domain, EMAIL, cookie)
    house.access.clock.advance(days=1)
    assert await devices.read(house.domain, EMAIL, cookie) is None


async def test_tenants_count_apart(access: Access, house: House) -> None:
    other = await furnish(access)
    await guess_until_slowed(house)
    assert await guess_until_slowed(other) == 10


async def test_nothing_that_is_counted_shows_an_address(house: House, superuser_database: Database) -> None:
    await outcome(guess(house))
    rows = await superuser_database.fetch("select * from troth.attempt where tenant_id = $1", house.tenant.id)
    assert {row["kind"] for row in rows} == {"account", "network", "pair"}
    assert all(len(row["key"]) == 32 for row in rows)
    assert ATTACKER not in repr([dict(row) for row in rows])


async def test_old_counters_are_swept_and_begin_anew(house: House, superuser_database: Database) -> None:
    await guess_until_slowed(house)
    await superuser_database.execute(
        "update troth.attempt set updated_at = now() - interval '61 minutes', blocked_until = '-infinity'"
        " where tenant_id = $1",
        house.tenant.id,
    )
    assert await guess_until_slowed(house, address=ATTACKER) == 5
    await superuser_database.execute(
        "update troth.attempt set updated_at = now() - interval '3 hours' where tenant_id = $1",
        house.tenant.id,
    )
    for number in range(3):
        await outcome(guess(house, f"{number}@example.org", address=HOME))
    left = await superuser_database.fetchval(
        "select count(*) from troth.attempt where tenant_id = $1 and updated_at < now() - interval '2 hours'",
        house.tenant.id,
    )
    assert left == 0


async def test_that_somebody_guesses_is_recorded_once(house: House) -> None:
    for _ in range(9):
        await outcome(guess(house))
    events = await house.access.auditor.fetch(
        "select detail from troth.audit_event where tenant_id = $1 and event = 'attempts.slowed'",
        house.tenant.id,
    )
    assert len(events) == 1


async def test_an_unknown_account_is_checked_against_a_neighbours_hash(house: House) -> None:
    tried = [await house.access.limits.begin(house.domain, f"{n}@example.org") for n in range(4)]
    assert all(one.person is None for one in tried)
    assert all(one.stored and one.stored.startswith("pbkdf2-sha256$600000$") for one in tried)
    for one in tried:
        with pytest.raises(SignInRefused):
            await house.access.sign_in.sign_in(house.domain, "5@example.org", PASSWORD)
        assert not one.disabled


async def test_imported_costs_are_met_by_unknown_addresses_as_often_as_by_known_ones(house: House) -> None:
    access = house.access
    slow = await access.passwords.wrap(read_foreign(f"pbkdf2_sha256$90000$salt${'A' * 43}="))
    for _ in range(15):
        address = f"{secrets.token_hex(8)}@example.org"
        await access.registrar.add(house.tenant.id, Profile(address, "I"), (), slow)
    strangers = [
        await access.limits.begin(house.domain, f"{secrets.token_hex(8)}@x.example") for _ in range(24)
    ]
    slower = sum("pbkdf2-sha256:90000" in (one.stored or "") for one in strangers)
    assert slower >= 12


async def test_an_account_without_a_password_looks_like_none(house: House) -> None:
    await house.access.registrar.add(house.tenant.id, Profile("invited@example.org", "I"), (), None)
    tried = await house.access.limits.begin(house.domain, "invited@example.org")
    assert (tried.person, bool(tried.stored)) == (None, True)
