"""Signing out at a client's wish: the person is asked, unless the client proves whose session it is."""

from typing import Any

import pytest

from support.access import House
from support.browser import Browser, WebAccess
from support.client import get_code, hidden, redeem
from support.clients import add_client
from troth.access.errors import NoSession

BYE = "https://ledger.example/bye"


@pytest.fixture
async def client(house: House) -> str:
    await add_client(house, "leaver", post_logout_redirect_uris=(BYE,))
    return "leaver"


async def id_token(browser: Browser, client: str) -> str:
    told = await redeem(browser, await get_code(browser, client_id=client), client_id=client)
    return str(told.json()["id_token"])


async def leave(browser: Browser, **query: str) -> Any:
    parameters = "&".join(f"{name}={value}" for name, value in query.items())
    return await browser.get(f"/oauth/logout?{parameters}")


async def is_signed_in(web: WebAccess, house: House, cookie: str) -> bool:
    try:
        await web.sessions.open(house.domain, cookie)
    except NoSession:
        return False
    return True


async def test_a_client_of_this_session_signs_the_person_out_at_once(
    web: WebAccess, signed_in: Browser, house: House, client: str
) -> None:
    hint, cookie = await id_token(signed_in, client), signed_in.cookie
    gone = await leave(signed_in, id_token_hint=hint, post_logout_redirect_uri=BYE, state="a%26b")
    assert gone.status_code == 303
    assert gone.headers["location"] == f"{BYE}?state=a%26b"
    assert signed_in.cookie == ""
    assert not await is_signed_in(web, house, cookie)


async def test_a_hint_that_is_long_over_still_counts(
    web: WebAccess, signed_in: Browser, house: House, client: str
) -> None:
    hint, cookie = await id_token(signed_in, client), signed_in.cookie
    web.clock.advance(minutes=8)
    assert (await leave(signed_in, id_token_hint=hint)).status_code == 303
    assert not await is_signed_in(web, house, cookie)


async def test_without_a_hint_the_person_is_asked_and_then_led_to_the_client(
    web: WebAccess, signed_in: Browser, house: House, client: str
) -> None:
    cookie = signed_in.cookie
    page = await leave(signed_in, client_id=client, post_logout_redirect_uri=BYE, state="s")
    assert page.status_code == 200
    assert "leaver asks for it." in page.text
    assert "https://ledger.example" in page.headers["content-security-policy"]
    assert await is_signed_in(web, house, cookie)
    gone = await signed_in.post("/oauth/logout/confirm", {"pending": hidden(page.text, "pending")})
    assert gone.headers["location"] == f"{BYE}?state=s"
    assert not await is_signed_in(web, house, cookie)


async def test_a_hint_of_an_earlier_session_of_the_same_person_asks(
    web: WebAccess, signed_in: Browser, house: House, client: str
) -> None:
    old = await id_token(signed_in, client)
    signed_in.cookie = (await house.begin()).token
    page = await leave(signed_in, id_token_hint=old)
    assert page.status_code == 200
    assert await is_signed_in(web, house, signed_in.cookie)


@pytest.mark.parametrize("hint", ["nonsense", "a.b.c", "eyJhbGciOiJub25lIn0.eyJhdWQiOiJsZWF2ZXIifQ."])
async def test_a_hint_that_we_did_not_sign_is_no_proof(
    web: WebAccess, signed_in: Browser, house: House, hint: str
) -> None:
    assert (await leave(signed_in, id_token_hint=hint)).status_code == 200
    assert await is_signed_in(web, house, signed_in.cookie)


async def test_an_access_token_is_no_hint(
    web: WebAccess, signed_in: Browser, house: House, client: str
) -> None:
    told = await redeem(signed_in, await get_code(signed_in, client_id=client), client_id=client)
    assert (await leave(signed_in, id_token_hint=told.json()["access_token"])).status_code == 200
    assert await is_signed_in(web, house, signed_in.cookie)


@pytest.mark.parametrize(
    "query",
    [
        {"post_logout_redirect_uri": BYE},
        {"client_id": "leaver", "post_logout_redirect_uri": "https://evil.example/bye"},
        {"client_id": "leaver", "post_logout_redirect_uri": f"{BYE}/"},
        {"client_id": "leaver", "post_logout_redirect_uri": "https://ledger.example/callback"},
        {"client_id": "nobody", "post_logout_redirect_uri": BYE},
        {"client_id": "ledger", "post_logout_redirect_uri": BYE},
        {"client_id": "leaver", "state": "s" * 5000},
    ],
)
async def test_nobody_is_led_to_an_address_that_is_not_registered(
    web: WebAccess, signed_in: Browser, house: House, client: str, query: dict[str, str]
) -> None:
    refused = await leave(signed_in, **query)
    assert refused.status_code == 400
    assert "location" not in refused.headers
    assert await is_signed_in(web, house, signed_in.cookie)


async def test_a_doubled_parameter_is_refused(signed_in: Browser, client: str) -> None:
    refused = await signed_in.get(f"/oauth/logout?client_id={client}&client_id={client}")
    assert refused.status_code == 400


async def test_a_hint_and_a_client_id_that_differ_are_refused(signed_in: Browser, client: str) -> None:
    hint = await id_token(signed_in, client)
    assert (await leave(signed_in, id_token_hint=hint, client_id="ledger")).status_code == 400


async def test_the_question_of_one_session_is_not_answered_by_another(
    web: WebAccess, signed_in: Browser, house: House
) -> None:
    page = await leave(signed_in)
    signed_in.cookie = (await house.begin()).token
    refused = await signed_in.post("/oauth/logout/confirm", {"pending": hidden(page.text, "pending")})
    assert refused.status_code == 400
    assert await is_signed_in(web, house, signed_in.cookie)


async def test_another_site_cannot_answer_the_question(
    web: WebAccess, signed_in: Browser, house: House
) -> None:
    page = await leave(signed_in)
    refused = await signed_in.post(
        "/oauth/logout/confirm",
        {"pending": hidden(page.text, "pending")},
        Origin="https://evil.example",
        Sec_Fetch_Site="cross-site",
    )
    assert refused.status_code == 403
    assert await is_signed_in(web, house, signed_in.cookie)


async def test_whoever_is_not_signed_in_goes_on_at_once(browser: Browser, client: str) -> None:
    gone = await leave(browser, client_id=client, post_logout_redirect_uri=BYE)
    assert gone.headers["location"] == BYE
    assert (await leave(browser)).headers["location"] == "/login?signed_out=1"


async def test_a_posted_request_becomes_the_same_question(signed_in: Browser, client: str) -> None:
    sent = await signed_in.post("/oauth/logout", {"client_id": client})
    assert sent.headers["location"] == f"/oauth/logout?client_id={client}"
