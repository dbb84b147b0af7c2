"""Sessions: bound to a domain, ended at once, never longer than their limits."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from support.access import Access, House, furnish
from troth.access.accounts.people import Profile
from troth.access.errors import NoSession
from troth.access.sessions import ONE_FACTOR, TWO_FACTORS, acr_of, token_hash
from troth.core.policy import TenantPolicy


async def refused(house: House, token: str) -> str:
    with pytest.raises(NoSession) as caught:
        await house.access.sessions.open(house.domain, token)
    return caught.value.detail


async def test_a_begun_session_opens_with_its_token(house: House) -> None:
    begun = await house.begin()
    opened = await house.access.sessions.open(house.domain, begun.token)
    assert opened == begun.session
    assert opened.person == house.person
    assert set(opened.person_scopes) == {
        "announcements:read",
        "tickets:create",
        "tickets:read:own",
        "tickets:update:own:title,text",
    }
    profile = await house.access.accounts.profile(opened.tenant, opened.person, opened.profile)
    assert profile == Profile("anna.weber@lindenhof.example", "Anna Wéber")


async def test_what_lies_in_the_database_does_not_open_a_session(house: House) -> None:
    begun = await house.begin()
    assert await refused(house, token_hash(begun.token).hex()[:43]) == "none"


async def test_a_cookie_from_another_domain_opens_nothing_and_is_recorded(
    access: Access, house: House
) -> None:
    elsewhere = await furnish(access)
    begun = await house.begin()
    assert await refused(elsewhere, begun.token) == "elsewhere"
    assert await access.events(elsewhere.domain.name) == ["session.cookie_elsewhere"]
    row = await access.auditor.fetchrow(
        "select tenant_id, principal from troth.audit_event where domain = $1", elsewhere.domain.name
    )
    assert row is not None
    assert (row["tenant_id"], row["principal"]) == (house.tenant.id, house.person)
    await access.sessions.open(house.domain, begun.token)


async def test_a_second_domain_of_the_same_tenant_is_another_domain(access: Access, house: House) -> None:
    second = f"second-{house.domain.name}"
    await access.owner.execute(
        "insert into troth.domain (name, tenant_id, app, branding) values ($1, $2, 'app', '{}')",
        second,
        house.tenant.id,
    )
    begun = await house.begin()
    with pytest.raises(NoSession):
        await access.sessions.open(await access.directory.find(second), begun.token)
    assert await access.events(second) == ["session.cookie_elsewhere"]


async def test_logout_ends_the_session_at_once(house: House) -> None:
    begun = await house.begin()
    await house.access.sessions.end(house.domain, begun.token)
    assert await refused(house, begun.token) == "over"
    with pytest.raises(NoSession):
        await house.access.sessions.open_by_id(house.domain, begun.session.id)
    assert await house.access.events(house.domain.name) == ["session.begun", "session.ended"]


async def test_logout_on_another_domain_ends_nothing(access: Access, house: House) -> None:
    elsewhere = await furnish(access)
    begun = await house.begin()
    await access.sessions.end(elsewhere.domain, begun.token)
    await access.sessions.open(house.domain, begun.token)


async def test_signing_in_again_ends_the_session_that_the_browser_held(house: House) -> None:
    first = await house.begin()
    second = await house.access.sessions.begin(house.domain, house.person, previous=first.token)
    assert await refused(house, first.token) == "over"
    await house.access.sessions.open(house.domain, second.token)


async def alter(house: House, change: str, identifier: object) -> None:
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(change, identifier)


@pytest.mark.parametrize(
    "change",
    [
        "update troth.session set seen_at = now() - interval '61 minutes' where id = $1",
        "update troth.session set expires_at = now() where id = $1",
    ],
)
async def test_a_session_ends_when_its_time_is_over(house: House, change: str) -> None:
    begun = await house.begin()
    await alter(house, change, begun.session.id)
    assert await refused(house, begun.token) == "over"


@pytest.mark.parametrize(
    "change",
    [
        "update troth.person set disabled = true where id = $1",
        "select troth.set_disabled(tenant_id, id, true) from troth.person where id = $1",
        "select troth.set_password(tenant_id, id, 'x') from troth.person where id = $1",
    ],
)
async def test_a_session_dies_with_its_person_and_their_password(house: House, change: str) -> None:
    begun = await house.begin()
    await alter(house, change, house.person)
    assert await refused(house, begun.token) == "over"


async def test_a_session_dies_with_its_tenant(house: House) -> None:
    begun = await house.begin()
    await alter(house, "update troth.tenant set active = false where id = $1", house.tenant.id)
    assert await refused(house, begun.token) == "over"


async def test_use_is_noted_once_a_minute(house: House) -> None:
    begun = await house.begin()
    seen = "select seen_at from troth.session where id = $1"
    before = await house.access.auditor.fetchval(seen, begun.session.id)
    await house.access.sessions.open(house.domain, begun.token)
    assert await house.access.auditor.fetchval(seen, begun.session.id) == before
    await alter(
        house,
        "update troth.session set seen_at = now() - interval '2 minutes' where id = $1",
        begun.session.id,
    )
    await house.access.sessions.open(house.domain, begun.token)
    assert await house.access.auditor.fetchval(seen, begun.session.id) > before


async def test_a_disabled_person_cannot_begin_a_session(house: House) -> None:
    await alter(house, "update troth.person set disabled = true where id = $1", house.person)
    with pytest.raises(NoSession):
        await house.begin()


@pytest.mark.parametrize("token", ["", "x", "é" * 43, "a" * 43, "a" * 5000])
async def test_no_other_text_opens_a_session(house: House, token: str) -> None:
    await refused(house, token)


async def test_a_session_says_how_it_was_begun_and_a_grant_under_it_too(house: House) -> None:
    begun = await house.access.sessions.begin(house.domain, house.person, amr=("pwd", "otp"))
    assert (begun.session.amr, begun.session.acr) == (("pwd", "otp"), TWO_FACTORS)
    async with house.access.database.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        grant = await connection.fetchval(
            "insert into troth.session"
            " (id, tenant_id, domain, person_id, parent_id, client_id, idle, expires_at)"
            " select gen_random_uuid(), tenant_id, domain, person_id, id, 'ledger', idle, expires_at"
            " from troth.session where id = $1 returning id",
            begun.session.id,
        )
    opened = await house.access.sessions.open_by_id(house.domain, grant)
    assert (opened.client, opened.amr) == ("ledger", ("pwd", "otp"))


@pytest.mark.parametrize(
    ("amr", "acr"),
    [
        (("pwd",), ONE_FACTOR),
        (("otp",), ONE_FACTOR),
        (("otp", "user"), ONE_FACTOR),
        (("hwk",), ONE_FACTOR),
        (("user",), ONE_FACTOR),
        ((), ONE_FACTOR),
        (("pwd", "pin"), ONE_FACTOR),
        (("pwd", "otp"), TWO_FACTORS),
        (("hwk", "user"), TWO_FACTORS),
        (("swk", "pin"), TWO_FACTORS),
    ],
)
def test_two_factors_are_something_known_and_something_held(amr: tuple[str, ...], acr: str) -> None:
    assert acr_of(amr) == acr


async def test_a_raised_session_goes_on_under_another_cookie(house: House) -> None:
    begun = await house.begin()
    sessions = house.access.sessions
    raised = await sessions.raise_to(house.domain, begun.token, ("pwd", "otp"))
    assert raised.session.id == begun.session.id
    assert raised.session.expires_at == begun.session.expires_at
    assert raised.session.authenticated_at > begun.session.authenticated_at
    assert raised.session.acr == TWO_FACTORS
    assert await sessions.open(house.domain, raised.token) == raised.session
    assert await refused(house, begun.token) == "none"
    assert await house.access.events(house.domain.name) == ["session.begun", "session.raised"]


async def test_of_two_raises_with_one_cookie_one_wins(house: House) -> None:
    begun = await house.begin()
    raises = [house.access.sessions.raise_to(house.domain, begun.token, ("pwd", "otp")) for _ in range(2)]
    outcomes = await asyncio.gather(*raises, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Begun", "NoSession"]


async def test_nothing_else_is_raised(access: Access, house: House) -> None:
    elsewhere, begun = await furnish(access), await house.begin()
    for domain, token in ((elsewhere.domain, begun.token), (house.domain, "x" * 43)):
        with pytest.raises(NoSession):
            await access.sessions.raise_to(domain, token, ("pwd", "otp"))
    await access.sessions.end(house.domain, begun.token)
    with pytest.raises(NoSession):
        await access.sessions.raise_to(house.domain, begun.token, ("pwd", "otp"))
    assert "session.raised" not in await access.events(house.domain.name)


async def test_a_tenant_decides_how_long_its_sessions_last_and_how_many_there_are(house: House) -> None:
    policy = TenantPolicy(session_idle_minutes=5, session_absolute_hours=2, sessions_most=2)
    domain = msgspec.structs.replace(house.domain, policy=policy)
    begun = [await house.access.sessions.begin(domain, house.person) for _ in range(3)]
    assert begun[0].session.expires_at - begun[0].session.created_at == timedelta(hours=2)
    idle = "select idle from troth.session where id = $1"
    assert await house.access.auditor.fetchval(idle, begun[2].session.id) == timedelta(minutes=5)
    assert await refused(house, begun[0].token) == "over"
    for one in begun[1:]:
        await house.access.sessions.open(domain, one.token)
