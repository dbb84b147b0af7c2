"""private_key_jwt: an assertion of the client's own, for us, lately, and once on all instances together."""

import asyncio
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from support.access import House, furnish
from support.client_keys import EC_KEY, ED_KEY, RSA_KEY, PrivateKey, public_jwk, sign
from support.clients import add_client
from troth.access.errors import InvalidClient, InvalidRequest
from troth.access.oauth.assertions import ASSERTION_TYPE, LEEWAY
from troth.access.oauth.client_authentication import ClientAuthentication, ClientRequest
from troth.access.oauth.clients import Client
from troth.core.secret import new_token


async def add_signer(house: House, name: str = "signer", key: PrivateKey = EC_KEY, **more: Any) -> None:
    registration: dict[str, Any] = {
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "jwks": (public_jwk(key, kid="k"),),
        **more,
    }
    await add_client(house, name, **registration)


def claims_for(house: House, **changes: object) -> dict[str, object]:
    now = int(house.access.clock.now().timestamp())
    claims: dict[str, object] = {
        "iss": "signer",
        "sub": "signer",
        "aud": house.domain.issuer,
        "exp": now + 60,
        "iat": now,
        "jti": new_token(),
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def assertion(house: House, key: PrivateKey = EC_KEY, alg: str = "ES256", **changes: object) -> str:
    return sign(key, {"alg": alg, "kid": "k"}, claims_for(house, **changes))


async def authenticate(house: House, token: str, path: str = "/oauth/token", **form: str) -> Client:
    fields = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": token, **form}
    request = ClientRequest(form=fields, url=f"{house.domain.issuer}{path}")
    return await house.access.client_authentication.authenticate(house.domain, request)


async def refused(house: House, token: str, path: str = "/oauth/token", **form: str) -> str:
    with pytest.raises(InvalidClient) as error:
        await authenticate(house, token, path, **form)
    return error.value.detail


@pytest.mark.parametrize(
    ("alg", "key"),
    [("ES256", EC_KEY), ("RS256", RSA_KEY), ("PS256", RSA_KEY), ("EdDSA", ED_KEY), ("Ed25519", ED_KEY)],
)
async def test_a_client_is_known_by_what_it_signs(house: House, alg: str, key: PrivateKey) -> None:
    await add_signer(house, key=key, token_endpoint_auth_signing_alg=alg)
    assert (await authenticate(house, assertion(house, key, alg))).id == "signer"
    assert (await authenticate(house, assertion(house, key, alg), client_id="signer")).id == "signer"
    assert (await authenticate(house, assertion(house, key, alg, aud=[house.domain.issuer]))).id == "signer"
    assert (await authenticate(house, assertion(house, key, alg, iat=None))).id == "signer"


async def test_of_many_instances_that_see_one_assertion_at_once_one_takes_it(house: House) -> None:
    await add_signer(house)
    token = assertion(house)
    access = house.access
    others = [ClientAuthentication(access.database, access.clients, access.clock) for _ in range(12)]
    fields = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": token}
    tries = [one.authenticate(house.domain, ClientRequest(form=fields)) for one in others]
    found = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, Client) for one in found) == 1
    assert sum(isinstance(one, InvalidClient) for one in found) == 11
    assert await refused(house, token) == "assertion replayed"
    events = await access.events(house.domain.name)
    assert events.count("client.refused") == 12


async def test_what_was_refused_uses_no_number_up(house: House) -> None:
    await add_signer(house)
    other = ec.generate_private_key(ec.SECP256R1())
    assert "signature" in await refused(house, assertion(house, other, jti="mine"))
    assert (await authenticate(house, assertion(house, jti="mine"))).id == "signer"


async def test_a_number_is_a_clients_own(house: House) -> None:
    await add_signer(house)
    await add_signer(house, "second")
    await authenticate(house, assertion(house, jti="one"))
    second = assertion(house, jti="one", iss="second", sub="second")
    assert (await authenticate(house, second)).id == "second"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "ledger"}, "issuer"),
        ({"iss": None}, "malformed"),
        ({"aud": None}, "malformed"),
        ({"aud": "https://evil.example"}, "audience"),
        ({"aud": []}, "audience"),
        ({"exp": None}, "malformed"),
        ({"exp": "soon"}, "malformed"),
        ({"exp": 1e300}, "malformed"),
        ({"exp": True}, "malformed"),
        ({"exp": 4_102_444_800}, "expired"),
        ({"exp": 1}, "expired"),
        ({"iat": 4_102_444_800}, "expired"),
        ({"nbf": 4_102_444_800}, "expired"),
        ({"jti": None}, "malformed"),
        ({"jti": ""}, "malformed"),
        ({"jti": 7}, "malformed"),
        ({"jti": "x" * 257}, "malformed"),
        ({"x": "y" * 9000}, "malformed"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_an_assertion_that_says_something_else_is_refused(
    house: House, changes: dict[str, Any], reason: str
) -> None:
    await add_signer(house)
    assert f"assertion {reason}" in await refused(house, assertion(house, **changes))


async def test_an_assertion_for_somebody_besides_us_is_refused(house: House) -> None:
    await add_signer(house)
    issuer = house.domain.issuer
    for aud in ([issuer, "https://evil.example"], [issuer, issuer], f"{issuer}/", f"{issuer}/oauth/token"):
        assert "audience" in await refused(house, assertion(house, aud=aud))


async def test_the_token_endpoints_address_is_an_audience_where_it_was_allowed_and_there_alone(
    house: House,
) -> None:
    await add_signer(house, allow_token_endpoint_audience=True)
    aud = f"{house.domain.issuer}/oauth/token"
    assert (await authenticate(house, assertion(house, aud=aud))).id == "signer"
    assert "audience" in await refused(house, assertion(house, aud=aud), "/oauth/par")
    assert "audience" in await refused(house, assertion(house, aud=[aud, house.domain.issuer]))


async def test_an_assertion_ends_at_its_second(house: House) -> None:
    await add_signer(house)
    token = assertion(house)
    house.access.clock.advance(seconds=60 + LEEWAY.total_seconds())
    assert "expired" in await refused(house, token)


async def test_an_assertion_of_another_tenants_client_is_refused(house: House) -> None:
    elsewhere = await furnish(house.access)
    await add_signer(house)
    await add_signer(elsewhere, key=ec.generate_private_key(ec.SECP256R1()))
    assert "signature" in await refused(elsewhere, assertion(elsewhere))
    assert "audience" in await refused(house, assertion(elsewhere))


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "x" * 20_000, "é"])
async def test_text_that_is_no_assertion_is_refused(house: House, token: str) -> None:
    await add_signer(house)
    assert "assertion" in await refused(house, token) or not token


async def test_an_assertion_comes_with_its_type_and_without_another_credential(house: House) -> None:
    await add_signer(house)
    assert await refused(house, assertion(house), client_assertion_type="urn:x") != ""
    with pytest.raises(InvalidRequest):
        await authenticate(house, assertion(house), client_secret="x")
    with pytest.raises(InvalidRequest):
        await authenticate(house, assertion(house), client_id="ledger")
    request = ClientRequest(form={"client_id": "signer", "client_assertion_type": ASSERTION_TYPE})
    with pytest.raises(InvalidClient):
        await house.access.client_authentication.authenticate(house.domain, request)


async def test_keys_alone_make_no_method(house: House) -> None:
    await add_client(house, "public", jwks=(public_jwk(EC_KEY, kid="k"),))
    assert "registered for none" in await refused(house, assertion(house, iss="public", sub="public"))


async def test_what_is_spent_stays_spent_for_an_instance_that_was_taken_over(house: House) -> None:
    await add_signer(house)
    token = assertion(house)
    await authenticate(house, token)
    async with house.access.database.transaction() as connection:
        await connection.execute("select troth.enter_domain($1)", house.domain.name)
        assert await connection.execute("delete from troth.spent_assertion") == "DELETE 0"
    assert await refused(house, token) == "assertion replayed"
