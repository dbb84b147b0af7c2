"""The authorization server over HTTP: what a strict client sees, and what an attacker gets."""

import asyncio
import base64
import hashlib
import re
import secrets
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest

from support.access import CALLBACK, EMAIL, NAME, PASSWORD, House, furnish
from support.browser import Browser, WebAccess
from troth.access.errors import NoSession

VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")

GOOD = {
    "client_id": "ledger",
    "redirect_uri": CALLBACK,
    "response_type": "code",
    "scope": "openid profile tickets:read",
    "state": "a state & more",
    "nonce": "n-0S6",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


def address(**changes: str | None) -> str:
    query = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return f"/oauth/authorize?{urlencode(query)}"


def answer(location: str) -> dict[str, str]:
    assert location.startswith(f"{CALLBACK}?"), location
    return dict(parse_qsl(urlsplit(location).query, strict_parsing=True))


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return found[1]


@pytest.fixture
async def signed_in(browser: Browser, house: House) -> Browser:
    browser.cookie = (await house.begin()).token
    return browser


async def consent(browser: Browser, decision: str = "allow", /, **changes: str | None) -> httpx.Response:
    page = await browser.get(address(**changes))
    assert page.status_code == 200, page.headers.get("location")
    return await browser.post(
        "/oauth/consent", {"pending": hidden(page.text, "pending"), "decision": decision}
    )


async def get_code(browser: Browser, **changes: str | None) -> str:
    return answer((await consent(browser, **changes)).headers["location"])["code"]


async def redeem(browser: Browser, code: str, /, **changes: str | None) -> httpx.Response:
    form = {
        "grant_type": "authorization_code",
        "client_id": "ledger",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
        **changes,
    }
    sent = {name: value for name, value in form.items() if value is not None}
    return await browser.send("POST", "/oauth/token", headers={}, data=sent)


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
        ({"request": "ey.ey.x"}, "request_not_supported"),
        ({"request_uri": "https://evil.example"}, "request_uri_not_supported"),
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


async def test_of_twenty_redemptions_at_once_one_gets_tokens_and_the_replay_ends_them(
    web: WebAccess, signed_in: Browser, house: House
) -> None:
    code = await get_code(signed_in)
    responses = await asyncio.gather(*(redeem(signed_in, code) for _ in range(20)))
    granted = [response for response in responses if response.status_code == 200]
    refused = [response for response in responses if response.status_code != 200]
    assert len(granted) == 1
    assert {response.json()["error"] for response in refused} == {"invalid_grant"}
    principal = await web.tokens.verify(house.domain, granted[0].json()["access_token"])
    with pytest.raises(NoSession):
        await web.sessions.open_by_id(house.domain, principal.session)
    events = await web.events(house.domain.name)
    assert events.count("grant.begun") == 1
    assert events.count("code.replayed") == 19
    assert (await signed_in.fetch("/session")).status_code == 200


@pytest.mark.parametrize(
    ("changes", "error", "status"),
    [
        ({"grant_type": None}, "invalid_request", 400),
        ({"grant_type": "password"}, "unsupported_grant_type", 400),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type", 400),
        ({"grant_type": "refresh_token"}, "unsupported_grant_type", 400),
        ({"client_id": None}, "invalid_client", 401),
        ({"client_id": "unknown"}, "invalid_client", 401),
        ({"client_id": "other"}, "invalid_grant", 400),
        ({"client_secret": "x"}, "invalid_client", 401),
        ({"code": None}, "invalid_request", 400),
        ({"code": "x" * 43}, "invalid_grant", 400),
        ({"code": "é"}, "invalid_grant", 400),
        ({"code_verifier": None}, "invalid_request", 400),
        ({"code_verifier": "short"}, "invalid_grant", 400),
        ({"code_verifier": "w" * 43}, "invalid_grant", 400),
        ({"code_verifier": CHALLENGE}, "invalid_grant", 400),
        ({"redirect_uri": "http://127.0.0.1/callback"}, "invalid_grant", 400),
    ],
)
async def test_a_code_alone_is_worth_nothing(
    signed_in: Browser, changes: dict[str, str | None], error: str, status: int
) -> None:
    response = await redeem(signed_in, await get_code(signed_in), **changes)
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert response.headers["access-control-allow-origin"] == "*"


async def test_a_wrong_verifier_burns_the_code(signed_in: Browser) -> None:
    code = await get_code(signed_in)
    await redeem(signed_in, code, code_verifier="w" * 43)
    assert (await redeem(signed_in, code)).json()["error"] == "invalid_grant"


async def test_the_redirect_uri_may_be_left_out_of_the_exchange(signed_in: Browser) -> None:
    assert (await redeem(signed_in, await get_code(signed_in), redirect_uri=None)).status_code == 200


async def test_a_code_lives_for_a_minute(web: WebAccess, signed_in: Browser, house: House) -> None:
    code = await get_code(signed_in)
    async with web.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute("update troth.authorization_code set expires_at = now()")
    assert (await redeem(signed_in, code)).json()["error"] == "invalid_grant"


async def test_a_code_dies_with_the_session(signed_in: Browser) -> None:
    code = await get_code(signed_in)
    await signed_in.post("/logout", {})
    assert (await redeem(signed_in, code)).json()["error"] == "invalid_grant"


async def test_a_code_of_one_domain_is_worth_nothing_on_another(web: WebAccess, signed_in: Browser) -> None:
    elsewhere = Browser(web, await furnish(web))
    code = await get_code(signed_in)
    assert (await redeem(elsewhere, code)).json()["error"] == "invalid_grant"
    assert (await redeem(signed_in, code)).status_code == 200
    await elsewhere.close()


async def get_tokens(browser: Browser, **changes: str | None) -> dict[str, Any]:
    return (await redeem(browser, await get_code(browser, **changes))).json()


async def userinfo(browser: Browser, token: str) -> httpx.Response:
    return await browser.send("GET", "/oauth/userinfo", headers={"Authorization": f"Bearer {token}"})


async def test_userinfo_tells_what_was_agreed_to(signed_in: Browser, house: House) -> None:
    tokens = await get_tokens(signed_in, scope="openid profile email")
    told = await userinfo(signed_in, tokens["access_token"])
    assert told.json() == {"sub": str(house.person), "name": NAME, "email": EMAIL}
    narrow = await get_tokens(signed_in, scope="openid", prompt="consent")
    assert (await userinfo(signed_in, narrow["access_token"])).json() == {"sub": str(house.person)}


async def test_userinfo_wants_openid_and_a_good_token(signed_in: Browser) -> None:
    tokens = await get_tokens(signed_in, scope="tickets:read")
    assert "id_token" not in tokens
    refused = await userinfo(signed_in, tokens["access_token"])
    assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope")
    forged = await userinfo(signed_in, tokens["access_token"][:-2])
    assert (forged.status_code, forged.json()["error"]) == (401, "invalid_token")
    assert "Bearer" in forged.headers["www-authenticate"]


async def test_what_a_client_was_granted_dies_with_the_session(signed_in: Browser) -> None:
    tokens = await get_tokens(signed_in)
    await signed_in.post("/logout", {})
    assert (await userinfo(signed_in, tokens["access_token"])).status_code == 401


async def revoke(browser: Browser, token: str, client: str = "ledger") -> int:
    form = {"token": token, "client_id": client}
    return (await browser.send("POST", "/oauth/revoke", headers={}, data=form)).status_code


async def test_a_client_gives_its_token_back(signed_in: Browser) -> None:
    tokens = await get_tokens(signed_in)
    assert await revoke(signed_in, tokens["access_token"], "other") == 200
    assert (await userinfo(signed_in, tokens["access_token"])).status_code == 200
    assert await revoke(signed_in, tokens["access_token"]) == 200
    assert (await userinfo(signed_in, tokens["access_token"])).status_code == 401
    assert await revoke(signed_in, "no token") == 200
    assert (await signed_in.fetch("/session")).status_code == 200


async def test_the_metadata_lists_what_exists(web: WebAccess, browser: Browser, house: House) -> None:
    documents = [
        (await browser.send("GET", f"/.well-known/{name}", headers={})).json()
        for name in ("openid-configuration", "oauth-authorization-server")
    ]
    assert documents[0] == documents[1]
    told = documents[0]
    assert told["issuer"] == house.domain.issuer
    assert told["grant_types_supported"] == ["authorization_code"]
    for name, url in told.items():
        if name.endswith(("_endpoint", "_uri")):
            path = url.removeprefix(house.domain.issuer)
            assert (await browser.send("GET", path, headers={})).status_code != 404


async def test_only_public_keys_are_published(browser: Browser) -> None:
    keys = (await browser.send("GET", "/oauth/jwks", headers={})).json()["keys"]
    assert [sorted(key) for key in keys] == [["alg", "crv", "kid", "kty", "use", "x", "y"]]


async def test_a_browser_application_of_another_origin_may_ask_the_token_endpoint(browser: Browser) -> None:
    preflight = await browser.send("OPTIONS", "/oauth/token", headers={"Origin": "https://spa.example"})
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in preflight.headers
    authorize = await browser.send("OPTIONS", "/oauth/authorize", headers={"Origin": "https://spa.example"})
    assert "access-control-allow-origin" not in authorize.headers


async def test_credentials_in_a_header_are_refused(signed_in: Browser) -> None:
    response = await signed_in.send(
        "POST", "/oauth/token", headers={"Authorization": "Basic bGVkZ2VyOg=="}, data={"grant_type": "x"}
    )
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert response.headers["www-authenticate"].startswith("Basic")


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
