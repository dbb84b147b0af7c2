"""`/account/sessions`: a person sees where they are signed in, and ends what they do not recognise."""

from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from support.access import House, furnish
from support.browser import Browser, WebAccess
from troth.access.accounts.people import Profile
from troth.access.errors import NoSession
from troth.access.sessions import Begun

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/17.5 Mobile/15E148 Safari/604.1"
)
SESSIONS = "/account/sessions"


async def begin_from(house: House, agent: str, network: str) -> Begun:
    return await house.access.sessions.begin(house.domain, house.person, agent=agent, network=network)


async def lives(house: House, begun: Begun) -> bool:
    try:
        await house.access.sessions.open(house.domain, begun.token)
    except NoSession:
        return False
    return True


async def grow_old(house: House, begun: Begun) -> None:
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "update troth.session set authenticated_at = now() - interval '11 minutes' where id = $1",
            begun.session.id,
        )


async def grant(house: House, begun: Begun) -> UUID:
    """What a client gets for a code."""
    async with house.access.database.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "insert into troth.consent (tenant_id, session_id, client_id, scopes)"
            " values ($1, $2, 'ledger', '{tickets:read}')",
            house.tenant.id,
            begun.session.id,
        )
        return await connection.fetchval(
            "insert into troth.session (id, tenant_id, domain, person_id, parent_id, client_id, scopes, idle,"
            " expires_at) select gen_random_uuid(), tenant_id, domain, person_id, id, 'ledger',"
            " '{tickets:read}', idle, expires_at from troth.session where id = $1 returning id",
            begun.session.id,
        )


async def test_the_page_shows_device_network_and_which_one_this_is(browser: Browser, house: House) -> None:
    browser.cookie = (await begin_from(house, FIREFOX, "192.0.2.77")).token
    await begin_from(house, SAFARI, "2001:db8:1:2::3")
    page = (await browser.get(SESSIONS)).text
    assert "Firefox 128, Linux" in page
    assert "Mobile Safari 17, iOS" in page
    assert "192.0.2.0/24" in page
    assert "2001:db8:1::/48" in page
    assert "192.0.2.77" not in page
    assert page.count("This browser") == 1


async def test_what_a_browser_says_of_itself_is_text(browser: Browser, house: House) -> None:
    browser.cookie = (await begin_from(house, "<script>x</script>", "")).token
    page = (await browser.get(SESSIONS, Accept_Language="de")).text
    assert "<script>" not in page
    assert "Ein Browser, der sich nicht nennt" in page


async def test_a_session_of_ones_own_is_ended(browser: Browser, house: House) -> None:
    browser.cookie = (await house.begin()).token
    other = await house.begin()
    response = await browser.post(f"{SESSIONS}/end", {"id": str(other.session.id)})
    assert (response.status_code, response.headers["location"]) == (303, f"{SESSIONS}?done=ended")
    assert not await lives(house, other)
    assert "It is ended." in (await browser.get(response.headers["location"])).text
    assert (await house.access.events(house.domain.name)).count("session.ended") == 1


async def test_ending_this_session_signs_out(browser: Browser, house: House) -> None:
    begun = await house.begin()
    browser.cookie = begun.token
    response = await browser.post(f"{SESSIONS}/end", {"id": str(begun.session.id)})
    assert response.headers["location"] == "/login?signed_out=1"
    assert browser.cookie == ""
    assert not await lives(house, begun)


async def test_nobody_ends_the_session_of_somebody_else(
    web: WebAccess, browser: Browser, house: House
) -> None:
    browser.cookie = (await house.begin()).token
    stranger = await (await furnish(web)).begin()
    neighbour = await neighbour_of(house)
    for target in (stranger.session.id, neighbour.session.id, uuid7()):
        response = await browser.post(f"{SESSIONS}/end", {"id": str(target)})
        assert response.status_code == 404
    assert await lives(house, neighbour)


async def neighbour_of(house: House) -> Begun:
    """Another person of the same tenant, signed in."""
    person = await house.access.registrar.add(
        house.tenant.id, Profile("bo@lindenhof.example", "Bo"), ("resident",), None
    )
    return await house.access.sessions.begin(house.domain, person)


async def test_all_others_are_ended_and_this_one_goes_on(browser: Browser, house: House) -> None:
    begun, others = await house.begin(), [await house.begin() for _ in range(3)]
    neighbour = await neighbour_of(house)
    browser.cookie = begun.token
    assert (await browser.post(f"{SESSIONS}/end-others", {})).status_code == 303
    assert [await lives(house, one) for one in (begun, neighbour, *others)] == [True, True, *[False] * 3]


async def test_signing_out_everywhere_ends_this_one_too(browser: Browser, house: House) -> None:
    begun, other = await house.begin(), await house.begin()
    browser.cookie = begun.token
    assert (await browser.post(f"{SESSIONS}/end-everywhere", {})).headers["location"] == "/login?signed_out=1"
    assert [await lives(house, one) for one in (begun, other)] == [False, False]
    assert "session.ended_everywhere" in await house.access.events(house.domain.name)


@pytest.mark.parametrize("path", ["end", "end-others", "end-everywhere"])
async def test_who_signed_in_long_ago_proves_it_anew_before_ending_other_sessions(
    browser: Browser, house: House, path: str
) -> None:
    begun, other = await house.begin(), await house.begin()
    await grow_old(house, begun)
    browser.cookie = begun.token
    response = await browser.post(f"{SESSIONS}/{path}", {"id": str(other.session.id)})
    assert response.headers["location"] == "/login?return_to=/account/sessions&again=1"
    assert await lives(house, other)


async def test_an_application_is_disconnected_and_asked_about_again(browser: Browser, house: House) -> None:
    begun = await house.begin()
    browser.cookie = begun.token
    granted = await grant(house, begun)
    page = (await browser.get(SESSIONS)).text
    assert "Ledger accounting" in page
    assert "see all entries in “Tickets”" in page
    response = await browser.post("/account/applications/disconnect", {"id": str(granted)})
    assert response.headers["location"] == f"{SESSIONS}?done=disconnected"
    with pytest.raises(NoSession):
        await house.access.sessions.open_by_id(house.domain, granted)
    left = "select troth.consented($1, $2, 'ledger')"
    assert await house.access.database.fetchval(left, house.domain.name, begun.session.id) == []
    assert await lives(house, begun)
    assert "grant.revoked" in await house.access.events(house.domain.name)
    assert "You have connected no application." in (await browser.get(SESSIONS)).text


async def test_the_form_that_disconnects_ends_no_session(browser: Browser, house: House) -> None:
    begun, other = await house.begin(), await house.begin()
    browser.cookie = begun.token
    response = await browser.post("/account/applications/disconnect", {"id": str(other.session.id)})
    assert response.status_code == 404
    assert await lives(house, other)


@pytest.mark.parametrize("form", [{"other": "x"}, {"id": "x"}, {"id": ""}, {"id": "0" * 500}])
async def test_a_form_that_names_no_session_is_refused(
    browser: Browser, house: House, form: dict[str, str]
) -> None:
    browser.cookie = (await house.begin()).token
    assert (await browser.post(f"{SESSIONS}/end", form)).status_code == 400


async def test_nobody_is_sent_to_sign_in_and_comes_back(browser: Browser) -> None:
    assert (await browser.get(SESSIONS)).headers["location"] == "/login?return_to=/account/sessions"
    assert (await browser.post(f"{SESSIONS}/end-others", {})).headers["location"] == (
        "/login?return_to=/account"
    )


async def test_the_account_is_reachable_from_the_session_and_the_way_out(
    browser: Browser, house: House
) -> None:
    browser.cookie = (await house.begin()).token
    assert (await browser.fetch("/session")).json()["account"] == f"{house.domain.issuer}/account"
    assert 'href="/account"' in (await browser.get("/logout")).text
    assert (await browser.get("/account")).headers["location"] == SESSIONS
    assert 'href="/logout"' in (await browser.get(SESSIONS)).text


async def test_of_more_sessions_than_a_person_may_have_the_oldest_end(house: House) -> None:
    begun = [await house.begin() for _ in range(22)]
    assert [await lives(house, one) for one in begun] == [*[False] * 2, *[True] * 20]
