"""Clients that register themselves (RFC 7591, 7592): by invitation, strictly, and managed by one token."""

import asyncio
from typing import Any

import httpx
import pytest

from support.access import CALLBACK, House, furnish
from support.browser import Browser, WebAccess
from support.client import GOOD, answer, get_code, hidden, redeem
from support.client_keys import EC_KEY, RSA_KEY, public_jwk
from support.clients import invite

WISH: dict[str, Any] = {"redirect_uris": [CALLBACK], "client_name": "Own Ledger"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


async def register(browser: Browser, token: str, **changes: Any) -> httpx.Response:
    wish = {name: value for name, value in {**WISH, **changes}.items() if value is not ...}
    return await browser.send("POST", "/oauth/register", headers=bearer(token), json=wish)


async def manage(browser: Browser, method: str, told: dict[str, Any], **changes: Any) -> httpx.Response:
    path = told["registration_client_uri"].removeprefix(browser.origin)
    headers = bearer(changes.pop("token", told["registration_access_token"]))
    body = {"json": changes.pop("json")} if "json" in changes else {}
    return await browser.send(method, path, headers=headers, **body)


async def registered(browser: Browser, house: House, **changes: Any) -> dict[str, Any]:
    response = await register(browser, await invite(house), **changes)
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    return response.json()


async def complete(browser: Browser, client: str, **credential: str) -> httpx.Response:
    page = await browser.get(f"/oauth/authorize?{httpx.QueryParams({**GOOD, 'client_id': client})}")
    assert page.status_code == 200, page.text
    form = {"pending": hidden(page.text, "pending"), "decision": "allow"}
    code = answer((await browser.post("/oauth/consent", form)).headers["location"])["code"]
    return await redeem(browser, code, client_id=client, **credential)


async def test_an_invited_client_registers_and_completes_a_flow(house: House, signed_in: Browser) -> None:
    told = await registered(
        signed_in, house, token_endpoint_auth_method="client_secret_post", scope="openid tickets:read"
    )
    assert told["client_name"] == "Own Ledger"
    assert (told["client_secret_expires_at"], told["scope"]) == (0, "openid tickets:read")
    assert (told["grant_types"], told["response_types"]) == (["authorization_code"], ["code"])
    assert told["client_id_issued_at"] == pytest.approx(house.access.clock.now().timestamp(), abs=2)
    tokens = await complete(signed_in, told["client_id"], client_secret=told["client_secret"])
    assert tokens.json()["scope"] == "openid tickets:read:own"
    events = await house.access.events(house.domain.name)
    assert events.count("client.registered") == 1


async def test_without_an_invitation_nobody_registers(web: WebAccess, house: House, browser: Browser) -> None:
    elsewhere = await furnish(web)
    tokens = ["", "x", "x" * 43, await invite(elsewhere), await invite(house, life=-1)]
    for token in tokens:
        response = await register(browser, token)
        assert (response.status_code, response.json()["error"]) == (401, "invalid_token")
    assert await web.clients.find(house.domain, "Own Ledger") is None


async def test_an_invitation_is_good_for_so_many_clients_at_once_or_later(
    house: House, browser: Browser
) -> None:
    token = await invite(house, uses=3)
    answers = await asyncio.gather(*(register(browser, token) for _ in range(10)))
    assert sorted(one.status_code for one in answers) == [201] * 3 + [401] * 7
    assert len({one.json()["client_id"] for one in answers if one.status_code == 201}) == 3


async def test_a_refused_registration_uses_no_invitation_up(house: House, browser: Browser) -> None:
    token = await invite(house)
    assert (await register(browser, token, redirect_uris=[])).status_code == 400
    assert (await register(browser, token)).status_code == 201


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uris": ...}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://ledger.example/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://ledger.example/cb#x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://*.ledger.example/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://localhost/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": [CALLBACK, CALLBACK]}, "invalid_redirect_uri"),
        ({"redirect_uris": [f"https://{n}.example/" for n in range(21)]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://a.example/" + "x" * 2000]}, "invalid_redirect_uri"),
        ({"redirect_uris": CALLBACK}, "invalid_client_metadata"),
        ({"redirect_uris": [1]}, "invalid_client_metadata"),
        ({"client_name": "x" * 121}, "invalid_client_metadata"),
        ({"client_name": "a\nb"}, "invalid_client_metadata"),
        ({"client_name": "Bank\u202egnirts"}, "invalid_client_metadata"),
        ({"client_name": {"de": "x"}}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "tls_client_auth"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "self_signed_tls_client_auth"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_signing_alg": "HS256"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_signing_alg": "none"}, "invalid_client_metadata"),
        ({"request_object_signing_alg": "none"}, "invalid_client_metadata"),
        ({"require_signed_request_object": True}, "invalid_client_metadata"),
        ({"grant_types": ["password"]}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({"grant_types": ["implicit", "authorization_code"]}, "invalid_client_metadata"),
        ({"grant_types": ["refresh_token"]}, "invalid_client_metadata"),
        ({"grant_types": []}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"jwks_uri": "https://ledger.example/keys"}, "invalid_client_metadata"),
        ({"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}, "invalid_client_metadata"),
        ({"jwks": {"keys": "x"}}, "invalid_client_metadata"),
        ({"jwks": []}, "invalid_client_metadata"),
        ({"software_statement": "a.b.c"}, "unapproved_software_statement"),
        ({"backchannel_logout_uri": "https://ledger.example/out"}, "invalid_client_metadata"),
        ({"post_logout_redirect_uris": ["http://ledger.example/"]}, "invalid_client_metadata"),
        ({"client_uri": "javascript:x"}, "invalid_client_metadata"),
        ({"scope": "tickets:delete"}, "invalid_client_metadata"),
        ({"scope": "no such"}, "invalid_client_metadata"),
        ({"scope": 7}, "invalid_client_metadata"),
        ({"subject_type": "pairwise"}, "invalid_client_metadata"),
        ({"id_token_signed_response_alg": "none"}, "invalid_client_metadata"),
        ({"dpop_bound_access_tokens": "yes"}, "invalid_client_metadata"),
        ({"authorization_details_types": ["a b"]}, "invalid_client_metadata"),
        ({"allow_token_endpoint_audience": True}, "invalid_client_metadata"),
        ({"tls_client_auth_authorities": ["AAAA"]}, "invalid_client_metadata"),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_metadata_that_is_unsound_or_not_done_is_refused(
    house: House, browser: Browser, changes: dict[str, Any], error: str
) -> None:
    response = await register(browser, await invite(house), **changes)
    assert (response.status_code, response.json()["error"]) == (400, error), response.text
    described = response.json()["error_description"]
    assert described.isascii()
    assert not {'"', "\\"} & set(described)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":1,"a":2}', b"\xff", b"[" * 50_000, b"x" * 70_000])
async def test_what_is_no_metadata_is_refused(house: House, browser: Browser, body: bytes) -> None:
    headers = {**bearer(await invite(house)), "Content-Type": "application/json"}
    response = await browser.send("POST", "/oauth/register", headers=headers, content=body)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")


async def test_what_was_never_heard_of_is_ignored_and_nothing_is_read_into_the_registration(
    house: House, browser: Browser
) -> None:
    told = await registered(
        browser,
        house,
        token_endpoint_auth_method="none",
        require_pkce=False,
        origin="operator",
        client_id="ledger",
        software_id="x",
        id_token_signed_response_alg="ES256",
        subject_type=None,
    )
    client = await house.access.clients.find(house.domain, told["client_id"])
    assert client is not None
    assert client.require_pkce
    assert told["client_id"] != "ledger"
    assert "client_secret" not in told


async def test_keys_are_kept_and_an_algorithm_that_follows_from_them_is_pinned(
    house: House, browser: Browser
) -> None:
    told = await registered(
        browser, house, token_endpoint_auth_method="private_key_jwt", jwks={"keys": [public_jwk(EC_KEY)]}
    )
    assert told["token_endpoint_auth_signing_alg"] == "ES256"
    assert told["jwks"] == {"keys": [public_jwk(EC_KEY)]}
    ambiguous = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [public_jwk(RSA_KEY)]}}
    assert (await register(browser, await invite(house), **ambiguous)).status_code == 400
    named = {"token_endpoint_auth_signing_alg": "PS256"}
    assert (await register(browser, await invite(house), **ambiguous, **named)).status_code == 201


async def test_a_client_reads_what_it_registered_without_its_secret(house: House, browser: Browser) -> None:
    told = await registered(browser, house, token_endpoint_auth_method="client_secret_basic")
    read = await manage(browser, "GET", told)
    assert read.status_code == 200
    assert "client_secret" not in read.json()
    for name in ("client_id", "client_name", "redirect_uris", "scope", "registration_access_token"):
        assert read.json()[name] == told[name]


async def test_an_update_replaces_everything_and_the_token(house: House, signed_in: Browser) -> None:
    told = await registered(signed_in, house)
    wish = {"client_id": told["client_id"], "redirect_uris": ["https://new.example/cb"], "scope": "openid"}
    replaced = (await manage(signed_in, "PUT", told, json=wish)).json()
    assert (replaced["redirect_uris"], replaced["scope"]) == (wish["redirect_uris"], "openid")
    assert replaced["client_name"] == "new.example"
    assert replaced["registration_access_token"] != told["registration_access_token"]
    # The answer may have been lost: the old token lives until the new one is used.
    assert (await manage(signed_in, "GET", told)).status_code == 200
    assert (await manage(signed_in, "GET", replaced)).status_code == 200
    assert (await manage(signed_in, "GET", told)).status_code == 401
    assert (await manage(signed_in, "GET", replaced)).status_code == 200


async def test_an_update_cannot_go_beyond_the_invitation_or_choose_a_secret(
    house: House, browser: Browser
) -> None:
    token = await invite(house, ("openid", "tickets:read"))
    told = (await register(browser, token, token_endpoint_auth_method="client_secret_post")).json()
    wish = {"client_id": told["client_id"], **WISH, "token_endpoint_auth_method": "client_secret_post"}
    beyond = await manage(browser, "PUT", told, json={**wish, "scope": "openid announcements:read"})
    assert beyond.json()["error"] == "invalid_client_metadata"
    other = await manage(browser, "PUT", told, json={**wish, "client_id": "ledger"})
    assert other.json()["error"] == "invalid_client_metadata"
    chosen = await manage(browser, "PUT", told, json={**wish, "client_secret": "chosen"})
    assert chosen.status_code == 200
    client = await house.access.clients.find(house.domain, told["client_id"])
    assert client is not None
    assert len(client.secret_hashes) == 1


async def test_a_method_that_needs_a_secret_gets_one_and_one_that_does_not_loses_it(
    house: House, browser: Browser
) -> None:
    told = await registered(browser, house, token_endpoint_auth_method="none")
    wish = {"client_id": told["client_id"], **WISH}
    confidential = (await manage(browser, "PUT", told, json=wish)).json()
    assert confidential["client_secret"]
    public = await manage(browser, "PUT", confidential, json={**wish, "token_endpoint_auth_method": "none"})
    assert "client_secret" not in public.json()
    client = await house.access.clients.find(house.domain, told["client_id"])
    assert client is not None
    assert client.secret_hashes == ()


async def test_what_a_client_was_granted_ends_when_it_may_less_and_when_it_goes(
    house: House, signed_in: Browser
) -> None:
    told = await registered(signed_in, house, token_endpoint_auth_method="none")
    tokens = (await complete(signed_in, told["client_id"])).json()

    async def status() -> int:
        headers = bearer(tokens["access_token"])
        return (await signed_in.send("GET", "/oauth/userinfo", headers=headers)).status_code

    wish = {"client_id": told["client_id"], **WISH, "token_endpoint_auth_method": "none"}
    same = (await manage(signed_in, "PUT", told, json=wish)).json()
    assert await status() == 200
    narrow = (await manage(signed_in, "PUT", same, json={**wish, "scope": "openid"})).json()
    assert await status() == 401
    removed = await manage(signed_in, "DELETE", narrow)
    assert (removed.status_code, removed.content) == (204, b"")
    assert (await manage(signed_in, "GET", narrow)).status_code == 401
    assert await house.access.clients.find(house.domain, told["client_id"]) is None
    gone = await signed_in.get(
        f"/oauth/authorize?{httpx.QueryParams({**GOOD, 'client_id': told['client_id']})}"
    )
    assert gone.status_code == 400


async def test_a_removed_clients_tokens_are_dead_at_once(house: House, signed_in: Browser) -> None:
    told = await registered(signed_in, house, token_endpoint_auth_method="none")
    tokens = (await complete(signed_in, told["client_id"])).json()
    await manage(signed_in, "DELETE", told)
    headers = bearer(tokens["access_token"])
    assert (await signed_in.send("GET", "/oauth/userinfo", headers=headers)).status_code == 401


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_nobody_else_manages_a_client(
    web: WebAccess, house: House, browser: Browser, method: str
) -> None:
    told = await registered(browser, house)
    other = await registered(browser, house)
    elsewhere = await furnish(web)
    body = {"json": {"client_id": told["client_id"], **WISH}} if method == "PUT" else {}
    for token in ("", "x" * 43, other["registration_access_token"], await invite(house)):
        refused = await manage(browser, method, told, token=token, **body)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_token")
    there = Browser(web, elsewhere)
    path = told["registration_client_uri"].removeprefix(browser.origin)
    refused = await there.send(method, path, headers=bearer(told["registration_access_token"]), **body)
    assert refused.status_code == 401
    await there.close()
    for path in ("/oauth/register/ledger", "/oauth/register/x%00y", "/oauth/register/" + "x" * 500):
        headers = bearer(told["registration_access_token"])
        one = {"json": {**WISH, "client_id": path.rpartition("/")[2]}} if method == "PUT" else {}
        assert (await browser.send(method, path, headers=headers, **one)).status_code in (400, 401)
    assert (await manage(browser, "GET", told)).status_code == 200


async def test_a_disabled_client_does_not_manage_itself(house: House, browser: Browser) -> None:
    told = await registered(browser, house)
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute("update troth.client set disabled = true where id = $1", told["client_id"])
    assert (await manage(browser, "GET", told)).status_code == 401


async def test_the_clients_of_the_operator_are_untouched(signed_in: Browser) -> None:
    assert (await redeem(signed_in, await get_code(signed_in))).status_code == 200
