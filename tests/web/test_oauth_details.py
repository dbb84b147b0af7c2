"""Rich authorization requests and step-up, from the request to the call of the API."""

import json
from typing import Any

import pytest

from support.access import House
from support.browser import Browser, WebAccess
from support.client import address, answer, get_code, hidden, redeem
from support.clients import add_client
from troth.access.sessions import ONE_FACTOR, TWO_FACTORS

OWN = {"type": "troth_data", "collection": "tickets", "actions": ["read", "create"], "own": True}


def details(*wanted: dict[str, Any]) -> str:
    return json.dumps(wanted)


@pytest.fixture
async def rich(house: House) -> str:
    await add_client(house, "rich", authorization_details_types=("troth_data",))
    return "rich"


async def test_details_are_shown_agreed_to_and_carried_into_tokens(
    web: WebAccess, signed_in: Browser, house: House, rich: str
) -> None:
    asked = {"client_id": rich, "scope": None, "authorization_details": details(OWN)}
    page = await signed_in.get(address(**asked))
    assert "see your own entries in “Tickets”" in page.text
    assert "add entries" not in page.text  # the client is not registered for it
    agreed = await signed_in.post(
        "/oauth/consent", {"pending": hidden(page.text, "pending"), "decision": "allow"}
    )
    told = await redeem(signed_in, answer(agreed.headers["location"])["code"], client_id=rich)
    tokens = told.json()
    granted = [{"type": "troth_data", "collection": "tickets", "actions": ["read"], "own": True}]
    assert tokens["authorization_details"] == granted
    assert tokens.get("scope", "") == ""
    principal = await web.authenticator.authenticate(house.domain.name, f"Bearer {tokens['access_token']}")
    assert principal.reach == ("tickets:read:own",)


async def test_details_beside_scopes_keep_both(signed_in: Browser, rich: str) -> None:
    asked = {"client_id": rich, "scope": "announcements:read", "authorization_details": details(OWN)}
    tokens = (await redeem(signed_in, await get_code(signed_in, **asked), client_id=rich)).json()
    assert tokens["scope"] == "announcements:read"
    assert tokens["authorization_details"][0]["actions"] == ["read"]


async def test_wider_details_ask_again(signed_in: Browser, rich: str) -> None:
    asked = {"client_id": rich, "scope": "announcements:read", "authorization_details": None}
    await get_code(signed_in, **asked)
    wider = await signed_in.get(address(**{**asked, "authorization_details": details(OWN)}))
    assert wider.status_code == 200


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ("[", "invalid_authorization_details"),
        (details({**OWN, "type": "payment"}), "invalid_authorization_details"),
        (details({**OWN, "actions": ["delete"]}), "invalid_authorization_details"),
        (details({**OWN, "collection": "secrets"}), "invalid_authorization_details"),
    ],
)
async def test_details_that_cannot_be_granted_are_told_to_the_client(
    signed_in: Browser, rich: str, wanted: str, error: str
) -> None:
    refused = await signed_in.get(address(client_id=rich, authorization_details=wanted))
    assert answer(refused.headers["location"])["error"] == error


async def test_a_client_that_was_not_registered_for_details_gets_none(signed_in: Browser) -> None:
    refused = await signed_in.get(address(authorization_details=details(OWN)))
    assert answer(refused.headers["location"])["error"] == "invalid_authorization_details"


async def test_a_session_that_proved_too_little_is_asked_for_more(signed_in: Browser) -> None:
    asked = await signed_in.get(address(acr_values=TWO_FACTORS))
    place = asked.headers["location"]
    assert place.startswith("/login/step-up?return_to=")
    assert place.endswith(f"&acr={TWO_FACTORS}")


@pytest.mark.parametrize("wanted", [ONE_FACTOR, f"{TWO_FACTORS} {ONE_FACTOR}", f"urn:other {ONE_FACTOR}"])
async def test_a_session_that_proved_enough_goes_on(signed_in: Browser, wanted: str) -> None:
    assert (await signed_in.get(address(acr_values=wanted))).status_code == 200


async def test_nobody_is_asked_for_more_in_silence(signed_in: Browser) -> None:
    refused = await signed_in.get(address(acr_values=TWO_FACTORS, prompt="none"))
    assert answer(refused.headers["location"])["error"] == "unmet_authentication_requirements"


async def test_what_nobody_can_prove_here_is_refused(signed_in: Browser) -> None:
    refused = await signed_in.get(address(acr_values="urn:other phr"))
    assert answer(refused.headers["location"])["error"] == "unmet_authentication_requirements"


async def test_the_tokens_say_how_much_was_proved(web: WebAccess, signed_in: Browser, house: House) -> None:
    raised = await web.sessions.raise_to(house.domain, signed_in.cookie, ("pwd", "otp"))
    signed_in.cookie = raised.token
    code = await get_code(signed_in, acr_values=TWO_FACTORS)
    tokens = (await redeem(signed_in, code)).json()
    claims = await web.keys.verify(house.domain, tokens["id_token"], "JWT", "ledger")
    assert claims.acr == TWO_FACTORS
    assert set(claims.amr) == {"pwd", "otp"}
    principal = await web.authenticator.authenticate(house.domain.name, f"Bearer {tokens['access_token']}")
    assert principal.acr == TWO_FACTORS


async def test_a_request_that_would_lose_its_way_at_sign_in_is_refused(signed_in: Browser) -> None:
    refused = await signed_in.get(address(state="s" * 3500, nonce="n" * 3500))
    assert answer(refused.headers["location"])["error"] == "invalid_request"


async def test_the_longest_request_finds_its_way_through_the_sign_in(browser: Browser) -> None:
    asked = await browser.get(address(state="s" * 4000))
    login = await browser.get(asked.headers["location"])
    assert "Ledger accounting" in login.text


async def test_the_sign_in_page_is_filled_in_with_whom_the_client_expects(browser: Browser) -> None:
    asked = await browser.get(address(login_hint='anna"@lindenhof.example'))
    login = await browser.get(asked.headers["location"])
    assert 'value="anna&#34;@lindenhof.example"' in login.text


async def test_a_code_for_a_key_is_redeemed_with_that_key_alone(signed_in: Browser) -> None:
    code = await get_code(signed_in, dpop_jkt="A" * 43)
    refused = await redeem(signed_in, code)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("jkt", ["A" * 42, "A" * 44, "!" * 43])
async def test_a_thumbprint_that_is_none_is_refused(signed_in: Browser, jkt: str) -> None:
    refused = await signed_in.get(address(dpop_jkt=jkt))
    assert answer(refused.headers["location"])["error"] == "invalid_request"
