"""Authorization over HTTP: who is asked, who is redirected, what a client learns and an attacker does not."""

from urllib.parse import parse_qs, urlsplit

import pytest

from support.access import CALLBACK, EMAIL, PASSWORD, House
from support.browser import Browser, WebAccess
from support.client import GOOD, address, answer, consent, get_code, hidden, redeem


async def test_a_person_connects_a_client_from_sign_in_to_tokens(
    web: WebAccess, browser: Browser, house: House
) -> None:
    first = await browser.get(address())
    assert first.status_code == 303
    login = await browser.get(first.headers["location"])
    assert "Ledger accounting" in login.text
    assert "https://ledger.example" in login.headers["content-security-policy"]
    back = hidden(login.text, "return_to").replace("&amp;", "&")
    signed_in = await browser.post("/login", {"email": EMAIL, "password": PASSWORD, "return_to": back})
    page = await browser.get(signed_in.headers["location"])
    assert "see your own entries in “Tickets”" in page.text
    assert "ledger.example" in page.text
    agreed = await browser.post(
        "/oauth/consent", {"pending": hidden(page.text, "pending"), "decision": "allow"}
    )
    told = answer(agreed.headers["location"])
    assert told["state"] == GOOD["state"]
    assert told["iss"] == house.domain.issuer
    response = await redeem(browser, told["code"])
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    tokens = response.json()
    assert tokens["token_type"] == "Bearer"
    assert tokens["scope"] == "openid profile tickets:read:own"
    principal = await web.authenticator.authenticate(house.domain.name, f"bearer {tokens['access_token']}")
    assert principal.client == "ledger"
    claims = await web.keys.verify(house.domain, tokens["id_token"], "JWT", "ledger")
    assert claims.nonce == GOOD["nonce"]
    assert claims.sub == str(house.person)
    assert claims.auth_time is not None


async def test_consent_is_remembered_for_the_session_and_no_wider(signed_in: Browser) -> None:
    await get_code(signed_in)
    again = await signed_in.get(address())
    assert "code" in answer(again.headers["location"])
    wider = await signed_in.get(address(scope="openid profile email tickets:read"))
    assert wider.status_code == 200
    asked_for = await signed_in.get(address(prompt="consent"))
    assert asked_for.status_code == 200


async def test_consent_is_asked_each_time_where_any_program_may_listen(signed_in: Browser) -> None:
    loopback = {"redirect_uri": "http://127.0.0.1:4711/callback"}
    assert "code=" in (await consent(signed_in, **loopback)).headers["location"]
    other = {"redirect_uri": "http://127.0.0.1:4712/callback"}
    assert (await signed_in.get(address(**other))).status_code == 200
    silent = await signed_in.get(address(**other, prompt="none"))
    assert "error=consent_required" in silent.headers["location"]


async def test_a_refusal_goes_to_the_client(signed_in: Browser) -> None:
    told = answer((await consent(signed_in, "deny")).headers["location"])
    assert told["error"] == "access_denied"
    assert told["state"] == GOOD["state"]


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": None},
        {"client_id": "unknown"},
        {"client_id": "x" * 5000},
        {"client_id": "led\x00ger"},
        {"redirect_uri": None},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": f"{CALLBACK}/"},
        {"redirect_uri": f"{CALLBACK}?x=1"},
        {"redirect_uri": f"{CALLBACK}#f"},
        {"redirect_uri": "https://ledger.example:444/callback"},
        {"redirect_uri": "https://ledger.example@evil.example/callback"},
        {"redirect_uri": "http://127.0.0.1.evil.example/callback"},
        {"redirect_uri": "http://127.0.0.1:99999/callback"},
        {"redirect_uri": "http://localhost/callback"},
        {"redirect_uri": "http://127.0.0.1:80@evil.example/callback"},
    ],
)
async def test_nobody_is_redirected_before_client_and_address_are_known(
    signed_in: Browser, changes: dict[str, str | None]
) -> None:
    response = await signed_in.get(address(**changes))
    assert response.status_code == 400
    assert "location" not in response.headers
    assert "evil" not in response.text


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "no such scope"}, "invalid_scope"),
        ({"scope": "tickets:read  openid"}, "invalid_scope"),
        ({"scope": "tickets:delete"}, "invalid_scope"),
        ({"scope": " ".join(["openid"] * 200)}, "invalid_scope"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "dance"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"registration": "{}"}, "registration_not_supported"),
        ({"nonce": "n" * 5000}, "invalid_request"),
        ({"prompt": "none"}, "consent_required"),
    ],
)
async def test_a_known_client_learns_what_is_wrong(
    signed_in: Browser, house: House, changes: dict[str, str | None], error: str
) -> None:
    response = await signed_in.get(address(**changes))
    assert response.status_code == 303
    told = answer(response.headers["location"])
    assert told["error"] == error
    assert told["state"] == GOOD["state"]
    assert told["iss"] == house.domain.issuer


async def test_a_doubled_parameter_is_refused(signed_in: Browser) -> None:
    response = await signed_in.get(f"{address()}&scope=openid")
    assert answer(response.headers["location"])["error"] == "invalid_request"


async def test_without_a_session_prompt_none_asks_nobody(browser: Browser) -> None:
    response = await browser.get(address(prompt="none"))
    assert answer(response.headers["location"])["error"] == "login_required"


async def test_prompt_login_wants_a_sign_in_after_the_request(
    web: WebAccess, signed_in: Browser, house: House
) -> None:
    web.clock.advance(seconds=5)
    first = await signed_in.get(address(prompt="login"))
    assert first.headers["location"].startswith("/login?")
    assert (await signed_in.get(first.headers["location"])).status_code == 200
    again = parse_qs(urlsplit(first.headers["location"]).query)["return_to"][0]
    assert (await signed_in.get(again)).headers["location"].startswith("/login?")
    async with web.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute("update troth.session set authenticated_at = now() + interval '1 minute'")
    assert (await signed_in.get(again)).status_code == 200


async def test_max_age_wants_a_young_sign_in(web: WebAccess, signed_in: Browser) -> None:
    assert (await signed_in.get(address(max_age="600"))).status_code == 200
    web.clock.advance(minutes=11)
    response = await signed_in.get(address(max_age="600"))
    assert response.headers["location"].startswith("/login?")


async def test_a_native_application_listens_wherever_a_port_is_free(signed_in: Browser) -> None:
    page = await signed_in.get(address(redirect_uri="http://127.0.0.1:51234/callback"))
    assert page.status_code == 200
    assert "http://127.0.0.1:51234" in page.headers["content-security-policy"]


async def test_a_request_may_be_posted(signed_in: Browser) -> None:
    response = await signed_in.post("/oauth/authorize", GOOD, Sec_Fetch_Site="cross-site")
    assert response.status_code == 303
    assert (await signed_in.get(response.headers["location"])).status_code == 200


async def test_consent_cannot_be_given_by_another_site_or_session(
    web: WebAccess, signed_in: Browser, house: House
) -> None:
    page = await signed_in.get(address())
    form = {"pending": hidden(page.text, "pending"), "decision": "allow"}
    foreign = await signed_in.post("/oauth/consent", form, Sec_Fetch_Site="cross-site", Origin="null")
    assert foreign.status_code == 403
    victim = Browser(web, house)
    victim.cookie = (await house.begin()).token
    assert (await victim.post("/oauth/consent", form)).status_code == 400
    await victim.close()


@pytest.mark.parametrize("pending", ["", "x", "a.b.c"])
async def test_a_forged_request_is_refused(signed_in: Browser, pending: str) -> None:
    assert (await signed_in.post("/oauth/consent", {"pending": pending})).status_code == 400
    assert (await signed_in.get(f"/oauth/authorize?resume={pending or 'y'}")).status_code == 400


async def test_an_access_token_does_not_pass_for_a_pending_request(signed_in: Browser) -> None:
    token = (await signed_in.fetch("/session/token")).json()["access_token"]
    assert (await signed_in.get(f"/oauth/authorize?resume={token}")).status_code == 400


async def test_a_policy_that_cannot_name_an_address_names_its_scheme(web: WebAccess, house: House) -> None:
    async with web.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "update troth.client set redirect_uris = $1", ["http://[::1]/cb", "com.example.app:/cb"]
        )
    browser = Browser(web, house)
    browser.cookie = (await house.begin()).token
    for uri, source in (("http://[::1]:9/cb", "http:"), ("com.example.app:/cb", "com.example.app:")):
        page = await browser.get(address(redirect_uri=uri))
        assert f"form-action 'self' {source};" in page.headers["content-security-policy"]
    await browser.close()
