"""The Python package authlib, unmodified, as third-party clients: what it can do, and where it is refused.

It knows neither proofs of possession nor signed requests; npm's clients show those.
"""

import json
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from support.access import CALLBACK, House
from support.authlib_client import (
    VERIFIER,
    OAuthError,
    agree,
    connect,
    consent,
    open_client,
    open_signing_client,
    redeem,
)
from support.browser import Browser
from support.client import hidden
from support.client_keys import EC_KEY, public_jwk
from support.clients import add_client, invite
from troth.access.oauth.clients import DEVICE_GRANT, REFRESH_GRANT

DETAIL = {"type": "troth_data", "collection": "tickets", "actions": ["read"], "own": True}


async def opens(client: Any, browser: Browser) -> int:
    """The status with which the API answers the client's own way of sending its token."""
    return (await client.get(f"{browser.origin}/api/v1/tickets?limit=1")).status_code


@pytest.fixture
async def signing(house: House) -> str:
    await add_client(
        house,
        "signing",
        token_endpoint_auth_method="private_key_jwt",
        token_endpoint_auth_signing_alg="ES256",
        jwks=(public_jwk(EC_KEY, kid="k"),),
    )
    return "signing"


async def test_code_and_pkce(signed_in: Browser) -> None:
    client = open_client(signed_in, "ledger")
    location = await agree(signed_in, client)
    assert parse_qs(urlsplit(location).query)["iss"] == [signed_in.origin]
    with pytest.raises(OAuthError, match="invalid_grant"):
        await redeem(client, location, VERIFIER[::-1])
    location = await agree(signed_in, client)
    tokens = await redeem(client, location)
    assert (tokens["token_type"], tokens["scope"]) == ("Bearer", "openid profile tickets:read:own")
    assert await opens(client, signed_in) == 200
    with pytest.raises(OAuthError, match="invalid_grant"):
        await redeem(client, location)
    assert await opens(client, signed_in) == 401


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_client_with_a_secret(signed_in: Browser, house: House, method: str) -> None:
    secret = await add_client(house, "server", token_endpoint_auth_method=method)
    thief = open_client(signed_in, "server", f"{secret}x", token_endpoint_auth_method=method)
    location = await agree(signed_in, thief)
    with pytest.raises(OAuthError, match="invalid_client"):
        await redeem(thief, location)
    client = open_client(signed_in, "server", secret, token_endpoint_auth_method=method)
    await redeem(client, location)
    assert await opens(client, signed_in) == 200


async def test_a_client_with_a_key(signed_in: Browser, signing: str) -> None:
    client = open_signing_client(signed_in, signing, signed_in.origin)
    await connect(signed_in, client)
    assert await opens(client, signed_in) == 200
    told = await client.introspect_token(f"{signed_in.origin}/oauth/introspect")
    assert told.json()["active"] is True


@pytest.mark.parametrize(
    ("audience", "life"), [("/oauth/token", 60), ("", None)], ids=["the endpoint", "its hour"]
)
async def test_what_authlib_signs_when_it_is_told_nothing_is_refused(
    signed_in: Browser, signing: str, audience: str, life: int | None
) -> None:
    # Audience injection wants the issuer (docs/oauth.md); and an hour is too long to remember its number.
    client = open_signing_client(signed_in, signing, f"{signed_in.origin}{audience}", life)
    with pytest.raises(OAuthError, match="invalid_client"):
        await connect(signed_in, client)


async def test_an_expired_token_is_renewed_by_the_way_and_a_replay_ends_everything(
    signed_in: Browser,
) -> None:
    client = open_client(signed_in, "ledger")
    first = dict(await connect(signed_in, client))
    for _ in range(2):
        client.token["expires_at"] = 1
        assert await opens(client, signed_in) == 200
    assert client.token["refresh_token"] != first["refresh_token"]
    newest = client.token["refresh_token"]
    for token in (first["refresh_token"], newest):
        with pytest.raises(OAuthError, match="invalid_grant"):
            await client.refresh_token(refresh_token=token)
    assert await opens(client, signed_in) == 401


async def test_revocation_ends_the_grant(signed_in: Browser, house: House) -> None:
    secret = await add_client(house, "server", token_endpoint_auth_method="client_secret_basic")
    client = open_client(signed_in, "server", secret, token_endpoint_auth_method="client_secret_basic")
    tokens = await connect(signed_in, client)
    told = await client.introspect_token(f"{signed_in.origin}/oauth/introspect")
    assert told.json()["active"] is True
    revoked = await client.revoke_token(f"{signed_in.origin}/oauth/revoke")
    assert revoked.status_code == 200
    again = await client.introspect_token(f"{signed_in.origin}/oauth/introspect", tokens["access_token"])
    assert again.json() == {"active": False}
    assert await opens(client, signed_in) == 401


async def test_a_pushed_request(signed_in: Browser, house: House) -> None:
    secret = await add_client(
        house,
        "pusher",
        token_endpoint_auth_method="client_secret_basic",
        require_pushed_authorization_requests=True,
    )
    client = open_client(signed_in, "pusher", secret, token_endpoint_auth_method="client_secret_basic")
    url, _ = client.create_authorization_url("https://unused.example", "a state", VERIFIER)
    wishes = dict(parse_qsl(urlsplit(str(url)).query))
    pushed = await client.post(
        f"{signed_in.origin}/oauth/par",
        data=wishes,
        auth=client.client_auth(client.token_endpoint_auth_method),
    )
    assert pushed.status_code == 201, pushed.text
    query = f"client_id=pusher&request_uri={pushed.json()['request_uri']}"
    await redeem(client, await consent(signed_in, f"{signed_in.origin}/oauth/authorize?{query}"))
    assert await opens(client, signed_in) == 200
    refused = await signed_in.get(f"/oauth/authorize?{urlsplit(str(url)).query}")
    assert refused.status_code == 400  # not pushed: nothing of it is believed


async def test_authorization_details(signed_in: Browser, house: House) -> None:
    await add_client(house, "rich", authorization_details_types=("troth_data",))
    client = open_client(signed_in, "rich", scope="openid")
    tokens = await connect(signed_in, client, authorization_details=json.dumps([DETAIL]))
    assert tokens["authorization_details"] == [DETAIL]
    assert await opens(client, signed_in) == 200


async def test_a_device(signed_in: Browser, house: House) -> None:
    await add_client(house, "television", grant_types=(DEVICE_GRANT, REFRESH_GRANT))
    client = open_client(signed_in, "television")
    asked = await client.post(
        f"{signed_in.origin}/oauth/device",
        data={"scope": client.scope},
        auth=client.client_auth("none"),
    )
    told = asked.json()
    question = await signed_in.post("/device", {"user_code": told["user_code"]})
    form = {"user_code": hidden(question.text, "user_code"), "decision": "allow"}
    await signed_in.post("/device/decision", form)
    tokens = await client.fetch_token(grant_type=DEVICE_GRANT, device_code=told["device_code"])
    assert tokens["scope"] == "openid profile tickets:read:own"
    assert await opens(client, signed_in) == 200


async def test_a_client_that_registered_itself(signed_in: Browser, house: House) -> None:
    wish = {"client_name": "Own Ledger", "redirect_uris": [CALLBACK]}
    nobody = open_client(signed_in, "nobody")
    registered = await nobody.request(
        "POST",
        f"{signed_in.origin}/oauth/register",
        json=wish,
        withhold_token=True,
        headers={"Authorization": f"Bearer {await invite(house)}"},
    )
    told = registered.json()
    client = open_client(
        signed_in,
        told["client_id"],
        told["client_secret"],
        token_endpoint_auth_method=told["token_endpoint_auth_method"],
    )
    await connect(signed_in, client)
    assert await opens(client, signed_in) == 200
