"""Requests pushed beforehand (RFC 9126): checked at once, their client's own, good once and for a minute."""

import asyncio
from typing import Any

import httpx
import pytest

from support.access import House, furnish
from support.browser import Browser, WebAccess
from support.client import GOOD, answer, hidden, redeem
from support.clients import add_client

PUSHED: dict[str, str | None] = {**GOOD}


async def push(browser: Browser, **changes: str | None) -> httpx.Response:
    form = {name: value for name, value in {**PUSHED, **changes}.items() if value is not None}
    return await browser.send("POST", "/oauth/par", headers={}, data=form)


async def uri_of(browser: Browser, **changes: str | None) -> str:
    response = await push(browser, **changes)
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    told = response.json()
    assert told["expires_in"] == 60
    return told["request_uri"]


def ask(browser: Browser, uri: str, client: str = "ledger", **more: str) -> httpx.QueryParams:
    return httpx.QueryParams({"client_id": client, "request_uri": uri, **more})


async def authorize(browser: Browser, uri: str, client: str = "ledger", **more: str) -> httpx.Response:
    return await browser.get(f"/oauth/authorize?{ask(browser, uri, client, **more)}")


async def test_a_pushed_request_leads_to_a_code(signed_in: Browser) -> None:
    page = await authorize(signed_in, await uri_of(signed_in))
    assert page.status_code == 200
    form = {"pending": hidden(page.text, "pending"), "decision": "allow"}
    location = (await signed_in.post("/oauth/consent", form)).headers["location"]
    assert answer(location)["state"] == GOOD["state"]
    assert (await redeem(signed_in, answer(location)["code"])).status_code == 200


async def test_what_stands_beside_the_reference_is_not_read(signed_in: Browser) -> None:
    page = await authorize(
        signed_in, await uri_of(signed_in), scope="email", redirect_uri="https://evil.example", prompt="none"
    )
    assert page.status_code == 200
    assert "evil" not in page.text


async def test_of_many_browsers_with_one_reference_one_is_served(signed_in: Browser) -> None:
    uri = await uri_of(signed_in)
    pages = await asyncio.gather(*(authorize(signed_in, uri) for _ in range(10)))
    assert sorted(page.status_code for page in pages) == [200] + [400] * 9


async def test_a_reference_is_its_clients_and_its_domains_own(web: WebAccess, signed_in: Browser) -> None:
    uri = await uri_of(signed_in)
    assert (await authorize(signed_in, uri, "other")).status_code == 400
    elsewhere = Browser(web, await furnish(web))
    assert (await authorize(elsewhere, uri)).status_code == 400
    await elsewhere.close()
    assert (await authorize(signed_in, uri)).status_code == 200


async def test_a_reference_lives_for_a_minute(web: WebAccess, house: House, signed_in: Browser) -> None:
    uri = await uri_of(signed_in)
    async with web.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute("update troth.pushed_request set expires_at = now()")
    assert (await authorize(signed_in, uri)).status_code == 400


async def test_what_is_pushed_is_kept_sealed(web: WebAccess, house: House, signed_in: Browser) -> None:
    await uri_of(signed_in, login_hint="anna.weber@lindenhof.example")
    async with web.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        stored = await connection.fetchval("select parameters from troth.pushed_request")
    assert b"anna" not in stored


@pytest.mark.parametrize(
    "uri",
    ["https://evil.example/request", "urn:ietf:params:oauth:request_uri:", "urn:x", "é", "x" * 5000,
     "urn:ietf:params:oauth:request_uri:" + "x" * 43, "file:///etc/passwd"],
)  # fmt: skip
async def test_a_reference_that_was_not_given_out_leads_nowhere(signed_in: Browser, uri: str) -> None:
    page = await authorize(signed_in, uri)
    assert page.status_code == 400
    assert "location" not in page.headers


@pytest.mark.parametrize(
    ("changes", "error", "status"),
    [
        ({"client_id": None}, "invalid_client", 401),
        ({"client_id": "unknown"}, "invalid_client", 401),
        ({"client_secret": "x"}, "invalid_client", 401),
        ({"redirect_uri": None}, "invalid_request", 400),
        ({"redirect_uri": "https://evil.example"}, "invalid_request", 400),
        ({"request_uri": "urn:x"}, "invalid_request", 400),
        ({"response_type": "token"}, "unsupported_response_type", 400),
        ({"code_challenge": None}, "invalid_request", 400),
        ({"code_challenge_method": "plain"}, "invalid_request", 400),
        ({"scope": "no such"}, "invalid_scope", 400),
        ({"nonce": "n" * 5000}, "invalid_request", 400),
        ({"request": "x"}, "invalid_request_object", 400),
        ({"registration": "{}"}, "registration_not_supported", 400),
    ],
)
async def test_a_bad_request_is_refused_when_it_is_pushed(
    web: WebAccess, house: House, browser: Browser, changes: dict[str, str | None], error: str, status: int
) -> None:
    response = await push(browser, **changes)
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert "location" not in response.headers
    async with web.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        assert await connection.fetchval("select count(*) from troth.pushed_request") == 0


async def test_a_field_that_occurs_twice_is_refused(browser: Browser) -> None:
    form = httpx.QueryParams([*((name, value) for name, value in GOOD.items()), ("scope", "openid")])
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await browser.send("POST", "/oauth/par", headers=headers, content=str(form))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


async def test_two_references_in_one_request_are_refused(signed_in: Browser) -> None:
    first, second = await uri_of(signed_in), await uri_of(signed_in)
    query = f"{ask(signed_in, first)}&{httpx.QueryParams({'request_uri': second})}"
    assert (await signed_in.get(f"/oauth/authorize?{query}")).status_code == 400
    both = await authorize(signed_in, first, request="a.b.c")
    assert both.status_code == 400
    assert (await authorize(signed_in, first)).status_code == 200


async def test_a_client_that_has_to_push_cannot_ask_directly(house: House, signed_in: Browser) -> None:
    await add_client(house, "pusher", require_pushed_authorization_requests=True)
    query = httpx.QueryParams({**GOOD, "client_id": "pusher"})
    refused = await signed_in.get(f"/oauth/authorize?{query}")
    assert refused.status_code == 400
    uri = await uri_of(signed_in, client_id="pusher")
    assert (await authorize(signed_in, uri, "pusher")).status_code == 200


async def test_a_confidential_client_pushes_with_its_credential(house: House, signed_in: Browser) -> None:
    secret = await add_client(house, "post", token_endpoint_auth_method="client_secret_post")
    refused = await push(signed_in, client_id="post")
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    uri = await uri_of(signed_in, client_id="post", client_secret=secret)
    assert (await authorize(signed_in, uri, "post")).status_code == 200


async def test_without_pkce_a_confidential_client_needs_a_nonce(house: House, signed_in: Browser) -> None:
    method: dict[str, Any] = {"token_endpoint_auth_method": "client_secret_post", "require_pkce": False}
    secret = await add_client(house, "old", **method)
    await add_client(house, "public", require_pkce=False)
    bare: dict[str, str | None] = {"code_challenge": None, "code_challenge_method": None}
    own: dict[str, str | None] = {"client_id": "old", "client_secret": secret, **bare}
    assert (await push(signed_in, **{**own, "nonce": None})).json()["error"] == "invalid_request"
    assert (await push(signed_in, **{**own, "scope": "tickets:read"})).json()["error"] == "invalid_request"
    assert (await push(signed_in, client_id="public", **bare)).json()["error"] == "invalid_request"
    page = await authorize(signed_in, await uri_of(signed_in, **own), "old")
    form = {"pending": hidden(page.text, "pending"), "decision": "allow"}
    code = answer((await signed_in.post("/oauth/consent", form)).headers["location"])["code"]
    told = await redeem(signed_in, code, client_id="old", client_secret=secret, code_verifier=None)
    assert told.status_code == 200


async def test_a_code_without_challenge_is_not_redeemed_with_a_verifier(
    house: House, signed_in: Browser
) -> None:
    """PKCE downgrade (RFC 9700 section 4.8.2), and the other way round."""
    method: dict[str, Any] = {"token_endpoint_auth_method": "client_secret_post", "require_pkce": False}
    secret = await add_client(house, "old", **method)
    own: dict[str, str | None] = {"client_id": "old", "client_secret": secret}
    bare: dict[str, str | None] = {"code_challenge": None, "code_challenge_method": None}
    for challenge, verifier in ((bare, {}), ({}, {"code_verifier": None})):
        page = await authorize(
            signed_in, await uri_of(signed_in, **own, **challenge, prompt="consent"), "old"
        )
        form = {"pending": hidden(page.text, "pending"), "decision": "allow"}
        code = answer((await signed_in.post("/oauth/consent", form)).headers["location"])["code"]
        refused = await redeem(signed_in, code, **own, **verifier)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
