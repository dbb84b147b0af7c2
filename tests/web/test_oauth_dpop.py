"""Tokens bound to a key (DPoP) over HTTP: without the key, what was stolen is worth nothing."""

import asyncio
import time
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from support.access import House
from support.browser import Browser, WebAccess
from support.client import GOOD, VERIFIER, address, answer, get_code, hidden, redeem
from support.client_keys import public_jwk
from support.clients import add_client
from support.prover import Prover


@pytest.fixture
async def prover(web: WebAccess, house: House) -> Prover:
    """A client that was told the nonce before."""
    made = Prover()
    made.nonce = await web.proofs.nonce(house.domain)
    return made


def token_url(browser: Browser) -> str:
    return f"{browser.origin}/oauth/token"


async def send(browser: Browser, proof: str | None, **form: str | None) -> httpx.Response:
    whole = {"client_id": "ledger", **form}
    sent = {name: value for name, value in whole.items() if value is not None}
    headers = {"DPoP": proof} if proof is not None else {}
    return await browser.send("POST", "/oauth/token", headers=headers, data=sent)


async def exchange(browser: Browser, proof: str | None, code: str, **form: str | None) -> httpx.Response:
    return await send(
        browser, proof, grant_type="authorization_code", code=code, code_verifier=VERIFIER, **form
    )


async def bound(browser: Browser, prover: Prover) -> dict[str, Any]:
    response = await exchange(browser, prover.proof(token_url(browser)), await get_code(browser))
    assert response.status_code == 200, response.text
    assert response.json()["token_type"] == "DPoP"
    return response.json()


async def renew(browser: Browser, proof: str | None, token: str) -> httpx.Response:
    return await send(browser, proof, grant_type="refresh_token", refresh_token=token)


async def userinfo(browser: Browser, scheme: str, token: str, proof: str | None) -> httpx.Response:
    headers = {"Authorization": f"{scheme} {token}", **({"DPoP": proof} if proof else {})}
    return await browser.send("GET", "/oauth/userinfo", headers=headers)


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "RS256", "Ed25519", "EdDSA"])
async def test_a_client_learns_the_nonce_and_gets_tokens_bound_to_its_key(
    web: WebAccess, signed_in: Browser, house: House, algorithm: str
) -> None:
    prover, code = Prover(algorithm), await get_code(signed_in)
    first = await exchange(signed_in, prover.proof(token_url(signed_in)), code)
    assert (first.status_code, first.json()["error"]) == (400, "use_dpop_nonce")
    assert "DPoP-Nonce" in first.headers["access-control-expose-headers"]
    prover.nonce = first.headers["dpop-nonce"]
    second = await exchange(signed_in, prover.proof(token_url(signed_in)), code)
    assert (second.status_code, second.json()["token_type"]) == (200, "DPoP")
    assert second.headers["dpop-nonce"]
    principal = await web.tokens.verify(house.domain, second.json()["access_token"])
    assert principal.confirmation.jkt == prover.thumbprint


async def test_a_bound_token_opens_with_its_key_alone(signed_in: Browser, prover: Prover) -> None:
    token = (await bound(signed_in, prover))["access_token"]
    url = f"{signed_in.origin}/oauth/userinfo"
    assert (
        await userinfo(signed_in, "DPoP", token, prover.proof(url, "GET", token=token))
    ).status_code == 200
    thief = Prover()
    thief.nonce = prover.nonce
    for scheme, proof in (
        ("Bearer", None),
        ("Bearer", prover.proof(url, "GET", token=token)),
        ("DPoP", None),
        ("DPoP", thief.proof(url, "GET", token=token)),
        ("DPoP", prover.proof(url, "GET")),
        ("DPoP", prover.proof(url, "GET", token=f"{token}x")),
        ("DPoP", prover.proof(url, "POST", token=token)),
        ("DPoP", prover.proof(f"{signed_in.origin}/oauth/token", "GET", token=token)),
        ("DPoP", prover.proof(url.replace("https", "http"), "GET", token=token)),
    ):
        refused = await userinfo(signed_in, scheme, token, proof)
        assert refused.status_code == 401, (scheme, proof)


async def test_a_bearer_token_is_refused_as_dpop(signed_in: Browser, prover: Prover) -> None:
    token = (await redeem(signed_in, await get_code(signed_in))).json()["access_token"]
    proof = prover.proof(f"{signed_in.origin}/oauth/userinfo", "GET", token=token)
    assert (await userinfo(signed_in, "DPoP", token, proof)).status_code == 401
    assert (await userinfo(signed_in, "Bearer", token, None)).status_code == 200


async def test_a_proof_opens_once_of_any_number_at_once(signed_in: Browser, prover: Prover) -> None:
    token = (await bound(signed_in, prover))["access_token"]
    proof = prover.proof(f"{signed_in.origin}/oauth/userinfo", "GET", token=token)
    answers = await asyncio.gather(*(userinfo(signed_in, "DPoP", token, proof) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200, *[401] * 7]


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"typ": "JWT"}, {}),
        ({"typ": None}, {}),
        ({"alg": "none"}, {}),
        ({"alg": "HS256"}, {}),
        ({"alg": "PS256"}, {}),
        ({"jwk": None}, {}),
        ({"jwk": "x"}, {}),
        ({"jwk": public_jwk(Prover().key)}, {}),
        ({"jwk": public_jwk(Prover().key, d="AAAA")}, {}),
        ({"jwk": {"kty": "oct", "k": "AAAA"}}, {}),
        ({"kid": "x"}, {}),
        ({"jku": "https://elsewhere.example/"}, {}),
        ({"crit": ["x"], "x": 1}, {}),
        ({}, {"jti": None}),
        ({}, {"jti": ""}),
        ({}, {"jti": "x" * 300}),
        ({}, {"jti": 7}),
        ({}, {"htm": None}),
        ({}, {"htm": "GET"}),
        ({}, {"htu": None}),
        ({}, {"htu": "https://elsewhere.example/oauth/token"}),
        ({}, {"htu": "https://[broken/oauth/token"}),
        ({}, {"iat": None}),
        ({}, {"iat": "now"}),
        ({}, {"iat": 1}),
        ({}, {"iat": int(time.time()) + 3600}),
    ],
)
async def test_a_proof_that_proves_nothing_uses_nothing_up(
    signed_in: Browser, prover: Prover, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    code = await get_code(signed_in)
    bad = prover.proof(token_url(signed_in), header=header, **claims)
    refused = await exchange(signed_in, bad, code)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_dpop_proof")
    assert (await exchange(signed_in, prover.proof(token_url(signed_in)), code)).status_code == 200


@pytest.mark.parametrize("proof", ["", "x", "a.b.c", "x" * 9000, "é"])
async def test_what_is_no_proof_is_refused(signed_in: Browser, proof: str) -> None:
    header: Any = httpx.Headers({"DPoP": proof}, encoding="utf-8")
    response = await signed_in.send(
        "POST",
        "/oauth/token",
        headers=header,
        data={"client_id": "ledger", "grant_type": "refresh_token", "refresh_token": "x"},
    )
    assert response.json()["error"] == "invalid_dpop_proof"


async def test_two_proofs_are_refused(signed_in: Browser, prover: Prover) -> None:
    url = token_url(signed_in)
    two: Any = httpx.Headers([("DPoP", prover.proof(url)), ("DPoP", prover.proof(url))])
    response = await signed_in.send("POST", "/oauth/token", headers=two, data={"client_id": "ledger"})
    assert response.json()["error"] == "invalid_dpop_proof"


async def test_a_nonce_grows_old_and_is_of_one_domain(
    web: WebAccess, signed_in: Browser, house: House, prover: Prover
) -> None:
    web.clock.advance(minutes=4, seconds=1)
    now = int(web.clock.now().timestamp())
    stale = await exchange(signed_in, prover.proof(token_url(signed_in), iat=now), "x")
    assert stale.json()["error"] == "use_dpop_nonce"
    assert stale.headers["dpop-nonce"] != prover.nonce


async def test_a_public_clients_refresh_token_needs_the_same_key(signed_in: Browser, prover: Prover) -> None:
    tokens = await bound(signed_in, prover)
    thief = Prover()
    thief.nonce = prover.nonce
    for proof in (None, thief.proof(token_url(signed_in))):
        refused = await renew(signed_in, proof, tokens["refresh_token"])
        assert refused.json()["error"] == "invalid_grant"
    good = await renew(signed_in, prover.proof(token_url(signed_in)), tokens["refresh_token"])
    assert (good.status_code, good.json()["token_type"]) == (200, "DPoP")
    replayed = await renew(signed_in, prover.proof(token_url(signed_in)), tokens["refresh_token"])
    assert replayed.json()["refresh_token"] == good.json()["refresh_token"]


async def test_a_thief_without_the_key_cannot_end_the_grant_either(
    signed_in: Browser, prover: Prover
) -> None:
    tokens = await bound(signed_in, prover)
    second = await renew(signed_in, prover.proof(token_url(signed_in)), tokens["refresh_token"])
    third = await renew(signed_in, prover.proof(token_url(signed_in)), second.json()["refresh_token"])
    assert (await renew(signed_in, None, tokens["refresh_token"])).json()["error"] == "invalid_grant"
    last = third.json()["refresh_token"]
    assert (await renew(signed_in, prover.proof(token_url(signed_in)), last)).status_code == 200


async def test_a_client_that_has_to_prove_its_key_gets_no_bearer_token(
    signed_in: Browser, house: House, prover: Prover
) -> None:
    await add_client(house, "bound", dpop_bound_access_tokens=True)
    code = await get_code(signed_in, client_id="bound")
    refused = await exchange(signed_in, None, code, client_id="bound")
    assert refused.json()["error"] == "invalid_dpop_proof"
    proved = await exchange(signed_in, prover.proof(token_url(signed_in)), code, client_id="bound")
    assert proved.json()["token_type"] == "DPoP"


async def test_a_code_that_names_a_key_is_redeemed_with_it_alone(
    web: WebAccess, signed_in: Browser, house: House, prover: Prover
) -> None:
    async def code_for(key: str) -> str:
        code = await get_code(signed_in, prompt="consent")
        async with web.owner.transaction() as connection:
            await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
            await connection.execute(
                "update troth.authorization_code set jkt = $1 where redeemed_at is null", key
            )
        return code

    thief = Prover()
    thief.nonce = prover.nonce
    for shown in (None, thief.proof(token_url(signed_in))):
        code = await code_for(prover.thumbprint)
        assert (await exchange(signed_in, shown, code)).json()["error"] == "invalid_grant"
    good = await exchange(signed_in, prover.proof(token_url(signed_in)), await code_for(prover.thumbprint))
    assert good.status_code == 200


async def test_a_key_named_at_authorization_has_to_redeem_the_code(
    signed_in: Browser, prover: Prover
) -> None:
    url = token_url(signed_in)
    code = await get_code(signed_in, dpop_jkt=prover.thumbprint)
    assert (await exchange(signed_in, None, code)).json()["error"] == "invalid_grant"
    code = await get_code(signed_in, dpop_jkt=prover.thumbprint, prompt="consent")
    assert (await exchange(signed_in, prover.proof(url), code)).status_code == 200
    bad = await signed_in.get(address(dpop_jkt="short"))
    assert "error=invalid_request" in bad.headers["location"]


async def push(browser: Browser, proof: str, **more: str) -> httpx.Response:
    form = {**GOOD, **more}
    return await browser.send("POST", "/oauth/par", headers={"DPoP": proof}, data=form)


async def test_a_request_that_was_pushed_with_a_proof_is_bound_to_its_key(
    signed_in: Browser, prover: Prover
) -> None:
    url = f"{signed_in.origin}/oauth/par"
    unknown = await push(signed_in, Prover().proof(url))
    assert unknown.json()["error"] == "use_dpop_nonce"
    pushed = await push(signed_in, prover.proof(url))
    assert pushed.headers["dpop-nonce"]
    query = urlencode({"client_id": "ledger", "request_uri": pushed.json()["request_uri"]})
    page = await signed_in.get(f"/oauth/authorize?{query}")
    form = {"pending": hidden(page.text, "pending"), "decision": "allow"}
    code = answer((await signed_in.post("/oauth/consent", form)).headers["location"])["code"]
    assert (await exchange(signed_in, None, code)).json()["error"] == "invalid_grant"
    other = await push(signed_in, prover.proof(url), dpop_jkt=Prover().thumbprint)
    assert (other.status_code, other.json()["error"]) == (400, "invalid_request")
    same = await push(signed_in, prover.proof(url), dpop_jkt=prover.thumbprint)
    assert same.status_code == 201


async def test_used_proofs_are_swept(
    web: WebAccess, signed_in: Browser, house: House, prover: Prover
) -> None:
    async with web.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "insert into troth.spent_proof (tenant_id, proof_hash, expires_at)"
            " select $1, decode(md5(i::text), 'hex'), now() - interval '1 s' from generate_series(1, 10) i",
            house.tenant.id,
        )
    await bound(signed_in, prover)
    async with web.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        assert await connection.fetchval("select count(*) from troth.spent_proof") == 1
