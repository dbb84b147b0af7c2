"""Signed requests (RFC 9101): what the client signed counts, for us alone, and nothing beside it."""

from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from support.access import House
from support.browser import Browser
from support.client import GOOD, answer, hidden
from support.client_keys import EC_KEY, RSA_KEY, PrivateKey, public_jwk, sign
from support.clients import add_client

HEADER = {"alg": "ES256", "typ": "oauth-authz-req+jwt", "kid": "k"}


@pytest.fixture
async def signer(house: House) -> House:
    keys = (public_jwk(EC_KEY, kid="k"),)
    await add_client(house, "signer", jwks=keys, request_object_signing_alg="ES256")
    return house


def claims_for(house: House, **changes: object) -> dict[str, object]:
    now = int(house.access.clock.now().timestamp())
    claims: dict[str, object] = {
        **GOOD,
        "client_id": "signer",
        "iss": "signer",
        "aud": house.domain.issuer,
        "iat": now,
        "nbf": now,
        "exp": now + 60,
        "jti": "one",
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def signed(
    house: House, header: dict[str, Any] | None = None, key: PrivateKey = EC_KEY, **changes: object
) -> str:
    return sign(key, {**HEADER, **(header or {})}, claims_for(house, **changes))


async def ask(browser: Browser, token: str, **more: str) -> httpx.Response:
    query = httpx.QueryParams({"client_id": "signer", "request": token, **more})
    return await browser.get(f"/oauth/authorize?{query}")


async def test_a_signed_request_leads_to_a_code(signer: House, signed_in: Browser) -> None:
    page = await ask(signed_in, signed(signer, max_age=3600))
    assert page.status_code == 200
    form = {"pending": hidden(page.text, "pending"), "decision": "allow"}
    location = (await signed_in.post("/oauth/consent", form)).headers["location"]
    assert answer(location)["state"] == GOOD["state"]


async def test_what_stands_beside_the_token_is_not_read(signer: House, signed_in: Browser) -> None:
    beside = {"redirect_uri": "https://evil.example/", "scope": "email", "prompt": "none", "state": "x"}
    page = await ask(signed_in, signed(signer), **beside)
    assert page.status_code == 200
    assert "evil" not in page.text
    missing = await ask(signed_in, signed(signer, redirect_uri=None), redirect_uri=GOOD["redirect_uri"])
    assert missing.status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "ledger"},
        {"iss": None},
        {"client_id": "ledger"},
        {"client_id": None},
        {"aud": None},
        {"aud": "https://evil.example"},
        {"exp": None},
        {"exp": 1},
        {"exp": 4_102_444_800},
        {"nbf": 4_102_444_800},
        {"request": "x"},
        {"request_uri": "urn:x"},
        {"sub": "signer"},
        {"scope": True},
        {"scope": None, "nonce": 1.5},
        {"padding": "x" * 9000},
    ],
    ids=lambda changes: str(changes)[:40],
)
async def test_a_token_that_says_something_else_leads_nowhere(
    signer: House, signed_in: Browser, changes: dict[str, Any]
) -> None:
    page = await ask(signed_in, signed(signer, **changes))
    assert page.status_code == 400
    assert "location" not in page.headers


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "RS256"},
        {"typ": None},
        {"typ": "JWT"},
        {"typ": "client-authentication+jwt"},
        {"kid": "other"},
        {"jwk": public_jwk(EC_KEY)},
        {"jku": "https://evil.example"},
        {"crit": ["exp"]},
    ],
    ids="-".join,
)
async def test_a_token_of_another_kind_leads_nowhere(
    signer: House, signed_in: Browser, header: dict[str, Any]
) -> None:
    assert (await ask(signed_in, signed(signer, header))).status_code == 400


async def test_a_token_of_another_key_leads_nowhere(signer: House, signed_in: Browser) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    assert (await ask(signed_in, signed(signer, key=other))).status_code == 400
    assert (await ask(signed_in, signed(signer, {"alg": "PS256"}, RSA_KEY))).status_code == 400
    assert (await ask(signed_in, "x")).status_code == 400


async def test_a_client_without_keys_cannot_sign(house: House, signed_in: Browser) -> None:
    token = signed(house, client_id="ledger", iss="ledger")
    query = httpx.QueryParams({"client_id": "ledger", "request": token})
    assert (await signed_in.get(f"/oauth/authorize?{query}")).status_code == 400


async def test_a_fault_inside_is_told_to_the_client_it_is_established_for(
    signer: House, signed_in: Browser
) -> None:
    page = await ask(signed_in, signed(signer, response_type="token"))
    assert page.status_code == 303
    assert answer(page.headers["location"])["error"] == "unsupported_response_type"


async def test_a_client_that_has_to_sign_cannot_ask_without(house: House, signed_in: Browser) -> None:
    keys = (public_jwk(EC_KEY, kid="k"),)
    options: dict[str, Any] = {"request_object_signing_alg": "ES256", "require_signed_request_object": True}
    await add_client(house, "signer", jwks=keys, **options)
    query = httpx.QueryParams({**GOOD, "client_id": "signer"})
    assert (await signed_in.get(f"/oauth/authorize?{query}")).status_code == 400
    form = {**GOOD, "client_id": "signer"}
    pushed = await signed_in.send("POST", "/oauth/par", headers={}, data=form)
    assert (pushed.status_code, pushed.json()["error"]) == (400, "invalid_request")
    form = {"client_id": "signer", "request": signed(house)}
    pushed = await signed_in.send("POST", "/oauth/par", headers={}, data=form)
    assert pushed.status_code == 201
    query = httpx.QueryParams({"client_id": "signer", "request_uri": pushed.json()["request_uri"]})
    assert (await signed_in.get(f"/oauth/authorize?{query}")).status_code == 200
    assert (await ask(signed_in, signed(house))).status_code == 200
