"""`client.*`: clients are added, shown, given new secrets, disabled and removed at run time."""

from typing import Any

import pytest

from support.access import CALLBACK, House, furnish
from support.client_keys import EC_KEY, public_jwk
from support.office import Operator
from troth.access.errors import InvalidClient, NoSession
from troth.access.oauth.client_authentication import ClientRequest
from troth.core.errors import UsageError

POST: dict[str, Any] = {"token_endpoint_auth_method": "client_secret_post"}
GOOD: dict[str, Any] = {
    "client": "books",
    "name": "Books",
    "redirect_uris": [CALLBACK],
    "scopes": ["openid", "tickets:read"],
    "metadata": POST,
}


async def add(operator: Operator, house: House, **changes: Any) -> dict[str, Any]:
    return await operator("client.add", tenant=house.tenant.slug, **{**GOOD, **changes})


async def known(house: House, secret: str, client: str = "books") -> bool:
    request = ClientRequest(form={"client_id": client, "client_secret": secret})
    try:
        await house.access.client_authentication.authenticate(house.domain, request)
    except InvalidClient:
        return False
    return True


async def listed(operator: Operator, house: House, client: str = "books") -> dict[str, Any]:
    answer = await operator("client.list", tenant=house.tenant.slug, client=client)
    (one,) = answer["clients"]
    return one


async def test_a_client_is_added_with_a_secret_that_is_told_once(operator: Operator, house: House) -> None:
    secret = (await add(operator, house))["secret"]
    assert await known(house, secret)
    shown = await listed(operator, house)
    assert (shown["origin"], shown["method"], shown["secrets"]) == (
        "operator",
        "client_secret_post",
        ["no end"],
    )
    assert secret not in str(shown)
    everything = await operator("client.list", tenant=house.tenant.slug)
    assert {one["client"] for one in everything["clients"]} == {"books", "ledger", "other"}


async def test_a_client_without_need_of_a_secret_gets_none(operator: Operator, house: House) -> None:
    metadata = {
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "jwks": {"keys": [public_jwk(EC_KEY)]},
        "backchannel_logout_uri": "https://books.example/out",
    }
    assert "secret" not in await add(operator, house, metadata=metadata)
    client = await house.access.clients.find(house.domain, "books")
    assert client is not None
    assert client.jwks == (public_jwk(EC_KEY),)


async def test_a_secret_is_changed_while_both_are_good(operator: Operator, house: House) -> None:
    first = (await add(operator, house))["secret"]
    ask = {"tenant": house.tenant.slug, "client": "books"}
    second = (await operator("client.rotate", **ask))["secret"]
    assert await known(house, first)
    assert await known(house, second)
    third = (await operator("client.rotate", **ask))["secret"]
    assert [await known(house, one) for one in (first, second, third)] == [False, True, True]
    assert len((await listed(operator, house))["secrets"]) == 2
    last = (await operator("client.rotate", **ask, overlap=0))["secret"]
    assert [await known(house, one) for one in (second, third, last)] == [False, False, True]


async def test_a_disabled_client_is_unknown_and_what_it_was_granted_stays_over(
    operator: Operator, house: House
) -> None:
    secret = (await add(operator, house))["secret"]
    grant = await granted(house, "books")
    ask = {"tenant": house.tenant.slug, "client": "books"}
    assert (await listed(operator, house))["grants"] == 1
    assert (await operator("client.disable", **ask))["grants_ended"] == 1
    assert not await known(house, secret)
    await operator("client.enable", **ask)
    assert await known(house, secret)
    with pytest.raises(NoSession):
        await house.access.sessions.open_by_id(house.domain, grant)


async def test_a_removed_client_is_gone_with_its_grants(operator: Operator, house: House) -> None:
    await add(operator, house)
    grant = await granted(house, "books")
    ask = {"tenant": house.tenant.slug, "client": "books"}
    assert (await operator("client.remove", **ask))["grants_ended"] == 1
    with pytest.raises(NoSession):
        await house.access.sessions.open_by_id(house.domain, grant)
    with pytest.raises(UsageError, match="has no client"):
        await operator("client.remove", **ask)


async def test_a_client_of_the_file_is_not_removed_behind_its_back(operator: Operator, house: House) -> None:
    with pytest.raises(UsageError, match=r"troth\.toml"):
        await operator("client.remove", tenant=house.tenant.slug, client="ledger")


async def granted(house: House, client: str) -> Any:
    """A grant of Anna's to this client."""
    begun = await house.begin()
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        return await connection.fetchval(
            "insert into troth.session (id, tenant_id, domain, person_id, parent_id, client_id, scopes, idle,"
            " expires_at) select gen_random_uuid(), tenant_id, domain, person_id, id, $2, '{openid}', idle,"
            " expires_at from troth.session where id = $1 returning id",
            begun.session.id,
            client,
        )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"client": "ledger"}, "already"),
        ({"client": "session"}, "session"),
        ({"client": "a b"}, "client"),
        ({"client": ""}, "client"),
        ({"name": " "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"redirect_uris": []}, "redirect"),
        ({"redirect_uris": ["http://x.example/"]}, "redirect"),
        ({"scopes": ["nothing:read"]}, "no collection"),
        ({"scopes": ["x"]}, "x"),
        ({"metadata": {"jwks_uri": "https://x.example"}}, "jwks_uri"),
        ({"metadata": {"token_endpoint_auth_method": "magic"}}, "read"),
        ({"metadata": {"token_endpoint_auth_method": "private_key_jwt"}}, "algorithm"),
        ({"metadata": {"token_endpoint_auth_method": "tls_client_auth"}}, "name"),
        ({"metadata": {"require_pkce": False}}, "PKCE"),
        ({"metadata": {"jwks": {"keys": [{"kty": "oct", "k": "AA"}]}}}, "public part"),
        ({"metadata": {"grant_types": ["password"]}}, "grant type"),
        ({"authorities": "no pem"}, "PEM"),
        ({"colour": "red"}, "colour"),
    ],
    ids=str,
)
async def test_what_cannot_be_is_refused_and_nothing_is_added(
    operator: Operator, house: House, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        await add(operator, house, **changes)
    everything = await operator("client.list", tenant=house.tenant.slug)
    assert {one["client"] for one in everything["clients"]} == {"ledger", "other"}


async def test_a_client_of_another_tenant_is_out_of_reach(operator: Operator, house: House) -> None:
    other = await furnish(house.access)
    await add(operator, house)
    for verb in ("rotate", "disable", "enable", "remove"):
        with pytest.raises(UsageError, match="has no client"):
            await operator(f"client.{verb}", tenant=other.tenant.slug, client="books")
    with pytest.raises(UsageError, match="has no secret"):
        await operator("client.rotate", tenant=house.tenant.slug, client="ledger")


async def test_an_invitation_registers_as_many_clients_as_it_says(operator: Operator, house: House) -> None:
    slug = house.tenant.slug
    token = (await operator("client.invite", tenant=slug, scopes=["openid", "tickets:read"], uses=1))["token"]
    wish: dict[str, object] = {"redirect_uris": [CALLBACK]}
    told = await house.access.registrations.register(house.domain, token, wish)
    assert (await listed(operator, house, str(told["client_id"])))["origin"] == "dynamic"
    refused: tuple[dict[str, Any], ...] = (
        {"scopes": []},
        {"scopes": ["x"]},
        {"scopes": ["openid"], "uses": 0},
    )
    for wrong in refused:
        with pytest.raises(UsageError):
            await operator("client.invite", tenant=slug, **wrong)
