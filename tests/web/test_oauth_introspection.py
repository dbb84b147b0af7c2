"""Introspection over HTTP: a client that proves who it is learns of its own tokens, and of nothing else."""

import json
from typing import Any

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from support.access import House, furnish
from support.browser import Browser, WebAccess
from support.client import get_code, redeem
from support.clients import add_client


@pytest.fixture
async def secret(house: House) -> str:
    return await add_client(house, "reader", token_endpoint_auth_method="client_secret_post")


async def introspect(
    browser: Browser, token: str | None, secret: str, accept: str = "", /, **changes: str | None
) -> httpx.Response:
    form = {"token": token, "client_id": "reader", "client_secret": secret, **changes}
    sent = {name: value for name, value in form.items() if value is not None}
    headers = {"Accept": accept} if accept else {}
    return await browser.send("POST", "/oauth/introspect", headers=headers, data=sent)


async def tokens_of(browser: Browser, secret: str) -> dict[str, Any]:
    code = await get_code(browser, client_id="reader")
    return (await redeem(browser, code, client_id="reader", client_secret=secret)).json()


async def test_a_client_learns_what_its_access_token_is_good_for(
    signed_in: Browser, house: House, secret: str
) -> None:
    tokens = await tokens_of(signed_in, secret)
    told = (await introspect(signed_in, tokens["access_token"], secret)).json()
    assert told["active"] is True
    assert told["client_id"] == "reader"
    assert told["sub"] == str(house.person)
    assert told["scope"] == tokens["scope"]
    assert told["iss"] == house.domain.issuer
    assert told["aud"] == house.domain.audience
    assert told["token_type"] == "Bearer"
    assert told["acr"] == "urn:troth:acr:1"
    assert told["amr"] == ["pwd"]
    assert told["exp"] - told["iat"] == 300
    assert told["auth_time"] <= told["iat"] + 1


async def test_a_client_learns_whether_its_refresh_token_is_the_good_one(
    signed_in: Browser, secret: str
) -> None:
    tokens = await tokens_of(signed_in, secret)
    told = (await introspect(signed_in, tokens["refresh_token"], secret)).json()
    assert (told["active"], told["client_id"], told["scope"]) == (True, "reader", tokens["scope"])
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_id": "reader"}
    renewed = await signed_in.send("POST", "/oauth/token", headers={}, data={**form, "client_secret": secret})
    assert renewed.status_code == 200
    assert (await introspect(signed_in, tokens["refresh_token"], secret)).json() == {"active": False}
    assert (await introspect(signed_in, renewed.json()["refresh_token"], secret)).json()["active"] is True


async def test_nothing_is_active_after_a_logout(signed_in: Browser, secret: str) -> None:
    tokens = await tokens_of(signed_in, secret)
    await signed_in.post("/logout", {})
    for name in ("access_token", "refresh_token"):
        assert (await introspect(signed_in, tokens[name], secret)).json() == {"active": False}


async def test_of_another_clients_or_domains_token_nothing_is_said(
    web: WebAccess, signed_in: Browser, house: House, secret: str
) -> None:
    theirs = (await redeem(signed_in, await get_code(signed_in))).json()
    elsewhere = await furnish(web)
    browser = Browser(web, elsewhere)
    browser.cookie = (await elsewhere.begin()).token
    foreign = (await redeem(browser, await get_code(browser))).json()
    await browser.close()
    strangers = [theirs["access_token"], theirs["refresh_token"], theirs["id_token"], foreign["access_token"]]
    for token in (*strangers, foreign["refresh_token"], "x", "x" * 92, "é", "a.b.c"):
        assert (await introspect(signed_in, token, secret)).json() == {"active": False}


@pytest.mark.parametrize(
    ("changes", "error", "status"),
    [
        ({"token": None}, "invalid_request", 400),
        ({"client_secret": None}, "invalid_client", 401),
        ({"client_secret": "wrong"}, "invalid_client", 401),
        ({"client_id": "ledger", "client_secret": None}, "invalid_client", 401),
        ({"client_id": None, "client_secret": None}, "invalid_client", 401),
    ],
)
async def test_who_proves_nothing_learns_nothing(
    signed_in: Browser, secret: str, changes: dict[str, str | None], error: str, status: int
) -> None:
    tokens = await tokens_of(signed_in, secret)
    response = await introspect(signed_in, tokens["access_token"], secret, **changes)
    assert (response.status_code, response.json()["error"]) == (status, error)


async def test_an_answer_is_signed_on_request(
    web: WebAccess, signed_in: Browser, house: House, secret: str
) -> None:
    tokens = await tokens_of(signed_in, secret)
    kind = "application/token-introspection+jwt"
    response = await introspect(signed_in, tokens["access_token"], secret, kind)
    assert response.headers["content-type"] == kind
    keys = await web.keys.ring(house.domain)
    key = ECKey.import_key({name: str(value) for name, value in keys.public["keys"][0].items()})
    said = jws.deserialize_compact(response.text, key, algorithms=["ES256"])
    payload = json.loads(said.payload)
    assert said.headers()["typ"] == "token-introspection+jwt"
    assert payload["aud"] == "reader"
    assert payload["iss"] == house.domain.issuer
    assert payload["token_introspection"]["active"] is True


async def test_what_a_person_lost_is_not_told_of_any_more(
    web: WebAccess, signed_in: Browser, house: House, secret: str
) -> None:
    tokens = await tokens_of(signed_in, secret)
    assert "tickets:read:own" in tokens["scope"]
    async with web.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "update troth.role set scopes = array_remove(scopes, 'tickets:read:own')"
            " where tenant_id = $1 and name = 'resident'",
            house.tenant.id,
        )
    # As at the API: a token that says more than its person may is refused whole; the next one says less.
    assert (await introspect(signed_in, tokens["access_token"], secret)).json() == {"active": False}
    told = (await introspect(signed_in, tokens["refresh_token"], secret)).json()
    assert told["active"] is True
    assert told["scope"] == "openid profile"
