"""From a client that asks for two factors, through the step-up, to its code or to its refusal (RFC 9470)."""

import html
import re

import pytest

from support.access import PASSWORD, House
from support.authenticator import Authenticator
from support.browser import Browser, WebAccess
from support.client import address, answer, hidden, redeem
from support.factors import add_app, code_of, key_in, set_factor_policy
from troth.access.sessions import ONE_FACTOR, TWO_FACTORS


async def asked_for_two(browser: Browser) -> tuple[str, dict[str, str]]:
    """Where the authorization endpoint sends the browser, and the fields of that page's forms."""
    place = (await browser.get(address(acr_values=TWO_FACTORS))).headers["location"]
    page = await browser.get(place)
    assert page.status_code == 200
    return page.text, {name: html.unescape(hidden(page.text, name)) for name in ("return_to", "acr")}


async def prove(browser: Browser, fields: dict[str, str], way: str, **form: str) -> str:
    response = await browser.post("/login/step-up", {**fields, "way": way, **form})
    assert response.status_code == 303, response.text
    return response.headers["location"]


async def goes_on(web: WebAccess, browser: Browser, house: House, place: str) -> None:
    """The request is agreed to, and its tokens say that two factors were proved."""
    page = await browser.get(place)
    decided = await browser.post(
        "/oauth/consent", {"pending": hidden(page.text, "pending"), "decision": "allow"}
    )
    tokens = (await redeem(browser, answer(decided.headers["location"])["code"])).json()
    claims = await web.keys.verify(house.domain, tokens["id_token"], "JWT", "ledger")
    assert claims.acr == TWO_FACTORS


def onward(page: str) -> str:
    found = re.search(r'<a class="button" href="([^"]*)"', page)
    assert found
    return html.unescape(found[1])


def declining(page: str) -> str:
    found = re.search(r'<a class="button button-quiet" href="([^"]*)"', page)
    assert found
    return html.unescape(found[1])


async def test_who_has_a_second_factor_proves_it_and_the_client_gets_its_code(
    web: WebAccess, signed_in: Browser, house: House
) -> None:
    key = await add_app(house)
    page, fields = await asked_for_two(signed_in)
    assert "Ledger accounting asks for more than your password" in page
    place = await prove(signed_in, fields, "app", code=code_of(house, key))
    assert place.startswith("/oauth/authorize?resume=")
    await goes_on(web, signed_in, house, place)


async def test_who_has_none_sets_an_app_up_and_the_client_gets_its_code(
    web: WebAccess, signed_in: Browser, house: House
) -> None:
    page, fields = await asked_for_two(signed_in)
    shown = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
    assert shown
    form = {**fields, "way": "new_app", "setup": html.unescape(hidden(page, "setup"))}
    wrong = await signed_in.post("/login/step-up", {**form, "code": "1"})
    assert wrong.status_code == 401
    done = await signed_in.post("/login/step-up", {**form, "code": code_of(house, key_in(shown[1]))})
    assert done.text.count("<li><code>") == 10
    await goes_on(web, signed_in, house, onward(done.text))


async def test_who_has_none_makes_a_passkey_and_the_client_gets_its_code(
    web: WebAccess, signed_in: Browser, house: House
) -> None:
    page, fields = await asked_for_two(signed_in)
    found = re.search(r'data-passkey="create" data-options="([^"]*)"', page)
    assert found
    made = Authenticator(house.domain.issuer, house.domain.name).create(html.unescape(found[1]))
    done = await signed_in.post("/login/step-up", {**fields, "way": "new_passkey", "answer": made})
    assert done.text.count("<li><code>") == 10
    await goes_on(web, signed_in, house, onward(done.text))


async def test_an_old_session_shows_its_password_before_it_sets_a_factor_up(
    signed_in: Browser, house: House
) -> None:
    house.access.clock.advance(hours=1)
    page, fields = await asked_for_two(signed_in)
    assert "<svg" not in page
    here = await prove(signed_in, fields, "new_app", setup="x", code="123456")
    assert here.startswith("/login/step-up?")
    assert here.endswith(f"&acr={TWO_FACTORS}")
    again = await prove(signed_in, fields, "password", password=PASSWORD)
    assert again == here
    assert not (await house.access.factors.show(house.domain, house.person)).any


@pytest.mark.parametrize("has", [False, True])
async def test_who_declines_takes_the_refusal_to_the_client_and_is_not_asked_again(
    signed_in: Browser, house: House, has: bool
) -> None:
    if has:
        await add_app(house)
    page, _ = await asked_for_two(signed_in)
    back = await signed_in.get(declining(page))
    refusal = answer(back.headers["location"])
    assert refusal["error"] == "unmet_authentication_requirements"
    assert refusal["state"]
    assert refusal["iss"] == house.domain.issuer
    assert (await house.access.sessions.open(house.domain, signed_in.cookie)).acr == ONE_FACTOR


async def test_where_factors_are_off_the_client_is_told_at_once(signed_in: Browser, house: House) -> None:
    await set_factor_policy(house, "off")
    step_up = await signed_in.get(address(acr_values=TWO_FACTORS))
    back = await signed_in.get(step_up.headers["location"])
    assert back.status_code == 303
    refused = await signed_in.get(back.headers["location"])
    assert answer(refused.headers["location"])["error"] == "unmet_authentication_requirements"


async def test_declining_what_was_proved_already_changes_nothing(signed_in: Browser, house: House) -> None:
    key = await add_app(house)
    page, fields = await asked_for_two(signed_in)
    await prove(signed_in, fields, "app", code=code_of(house, key))
    assert (await signed_in.get(declining(page))).status_code == 200


async def test_who_proved_enough_is_sent_on(signed_in: Browser, house: House) -> None:
    key = await add_app(house)
    _, fields = await asked_for_two(signed_in)
    await prove(signed_in, fields, "app", code=code_of(house, key))
    again = await signed_in.get(f"/login/step-up?return_to=/tickets&acr={TWO_FACTORS}")
    assert (again.status_code, again.headers["location"]) == (303, "/tickets")


async def test_a_password_never_adds_a_factor_to_an_account_that_has_one(
    signed_in: Browser, house: House
) -> None:
    page, fields = await asked_for_two(signed_in)
    shown = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
    assert shown
    setup = html.unescape(hidden(page, "setup"))
    await add_app(house)
    response = await signed_in.post(
        "/login/step-up",
        {**fields, "way": "new_app", "setup": setup, "code": code_of(house, key_in(shown[1]))},
    )
    assert response.status_code == 409
    assert (await house.access.sessions.open(house.domain, signed_in.cookie)).acr == ONE_FACTOR


@pytest.mark.parametrize("more", ["&declined=2", "&declined=1&declined=1", "&other=1"])
async def test_a_resumed_request_takes_nothing_else(signed_in: Browser, more: str) -> None:
    _, fields = await asked_for_two(signed_in)
    assert (await signed_in.get(fields["return_to"] + more)).status_code == 400


@pytest.mark.parametrize("acr", ["", "urn:other", "urn:troth:acr:9", "x" * 5000])
async def test_what_nobody_knows_is_a_fresh_proof_and_no_more(signed_in: Browser, acr: str) -> None:
    page = await signed_in.get(f"/login/step-up?return_to=/tickets&acr={acr}")
    assert page.status_code in (200, 400, 414)
    if page.status_code == 200:
        assert hidden(page.text, "acr") == ""
