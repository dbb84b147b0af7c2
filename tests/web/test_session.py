"""`/session` and `/session/token`."""

import pytest

from support.access import EMAIL, NAME, House, furnish
from support.browser import Browser, WebAccess
from troth.core.names import SESSION_CLIENT


async def enter(browser: Browser, house: House) -> None:
    browser.cookie = (await house.begin()).token


async def test_who_am_i(browser: Browser, house: House) -> None:
    await enter(browser, house)
    response = await browser.fetch("/session")
    assert response.headers["cache-control"] == "no-store"
    answer = response.json()
    assert answer["person"] == {"id": str(house.person), "name": NAME, "email": EMAIL}
    assert answer["tenant"]["slug"] == house.tenant.slug
    assert answer["domain"] == house.domain.name


async def test_nobody_is_nobody(browser: Browser) -> None:
    response = await browser.fetch("/session")
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "no_session"


async def test_a_token_of_the_session_opens_the_api_for_five_minutes(
    web: WebAccess, browser: Browser, house: House
) -> None:
    await enter(browser, house)
    response = await browser.fetch("/session/token")
    assert response.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in response.headers
    answer = response.json()
    assert answer["token_type"] == "Bearer"
    assert 298 <= answer["expires_in"] <= 300
    principal = await web.authenticator.authenticate(house.domain.name, f"Bearer {answer['access_token']}")
    assert (principal.person, principal.tenant, principal.client) == (
        house.person,
        house.tenant.id,
        SESSION_CLIENT,
    )
    assert " ".join(principal.scopes) == answer["scope"]


async def test_a_token_may_be_narrower_and_never_wider(browser: Browser, house: House) -> None:
    await enter(browser, house)
    answer = await browser.fetch("/session/token?scope=tickets:read+tickets:delete+announcements:read")
    assert answer.json()["scope"] == "announcements:read tickets:read:own"
    assert (await browser.fetch("/session/token?scope=everything")).status_code == 400


async def test_the_same_token_is_given_until_a_minute_is_left(
    web: WebAccess, browser: Browser, house: House
) -> None:
    await enter(browser, house)
    first = (await browser.fetch("/session/token")).json()
    web.clock.advance(minutes=3)
    assert (await browser.fetch("/session/token")).json()["access_token"] == first["access_token"]
    web.clock.advance(minutes=1, seconds=1)
    third = (await browser.fetch("/session/token")).json()
    assert third["access_token"] != first["access_token"]
    assert third["expires_in"] >= 298


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site"}],
)
async def test_only_the_domains_own_pages_get_a_token(
    browser: Browser, house: House, headers: dict[str, str]
) -> None:
    await enter(browser, house)
    response = await browser.send("GET", "/session/token", headers=headers)
    assert response.status_code == 403
    assert "access_token" not in response.text


async def test_the_cookie_of_another_domain_opens_nothing(
    web: WebAccess, browser: Browser, house: House
) -> None:
    elsewhere = Browser(web, other := await furnish(web))
    await enter(browser, house)
    elsewhere.cookie = browser.cookie
    for path in ("/session", "/session/token"):
        assert (await elsewhere.fetch(path)).status_code == 401
        elsewhere.cookie = browser.cookie
    assert await web.events(other.domain.name) == ["session.cookie_elsewhere"] * 2
    assert (await browser.fetch("/session")).status_code == 200
    await elsewhere.close()


async def test_a_cookie_that_opens_nothing_is_taken_away(browser: Browser) -> None:
    browser.cookie = "A" * 43
    await browser.fetch("/session")
    assert browser.cookie == ""
    assert "Max-Age=0" in browser.set_cookie


async def test_no_token_without_a_session(browser: Browser, house: House) -> None:
    assert (await browser.fetch("/session/token")).status_code == 401
    await enter(browser, house)
    held = browser.cookie
    await browser.post("/logout", {})
    browser.cookie = held
    assert (await browser.fetch("/session/token")).status_code == 401
