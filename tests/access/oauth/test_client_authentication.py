"""How a client proves who it is: its own way, once, and nothing weaker."""

import base64
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.access import House, furnish
from support.clients import add_client
from troth.access.errors import InvalidClient, InvalidRequest, OAuthError
from troth.access.oauth.client_authentication import ClientRequest, secret_hash
from troth.access.oauth.clients import Client
from troth.core.secret import new_token


def basic(client: str, secret: str) -> str:
    """As RFC 6749 section 2.3.1 has it: each part form-encoded, then joined."""
    return "Basic " + base64.b64encode(f"{quote_plus(client)}:{quote_plus(secret)}".encode()).decode()


async def authenticate(house: House, authorization: str | None = None, /, **form: str) -> Client:
    request = ClientRequest(form=form, authorization=authorization, trace="")
    return await house.access.client_authentication.authenticate(house.domain, request)


async def refused(house: House, authorization: str | None = None, /, **form: str) -> str:
    with pytest.raises(OAuthError) as error:
        await authenticate(house, authorization, **form)
    assert not any(value in str(error.value) for value in form.values() if value)
    return error.value.code


async def test_each_method_is_good_for_the_client_that_was_registered_with_it(house: House) -> None:
    secret = await add_client(house, "basic", token_endpoint_auth_method="client_secret_basic")
    other = await add_client(house, "post", token_endpoint_auth_method="client_secret_post")
    assert (await authenticate(house, basic("basic", secret))).id == "basic"
    assert (await authenticate(house, client_id="post", client_secret=other)).id == "post"
    assert (await authenticate(house, client_id="ledger")).is_public


async def test_no_method_stands_in_for_another(house: House) -> None:
    secret = await add_client(house, "basic", token_endpoint_auth_method="client_secret_basic")
    other = await add_client(house, "post", token_endpoint_auth_method="client_secret_post")
    assert await refused(house, client_id="basic", client_secret=secret) == "invalid_client"
    assert await refused(house, basic("post", other)) == "invalid_client"
    assert await refused(house, client_id="basic") == "invalid_client"
    assert await refused(house, basic("ledger", "")) == "invalid_client"
    assert await refused(house, client_id="ledger", client_secret=secret) == "invalid_client"
    events = await house.access.events(house.domain.name)
    assert events.count("client.refused") == 5


async def test_two_credentials_in_one_request_are_refused(house: House) -> None:
    secret = await add_client(house, "basic", token_endpoint_auth_method="client_secret_basic")
    with pytest.raises(InvalidRequest):
        await authenticate(house, basic("basic", secret), client_id="basic", client_secret=secret)
    with pytest.raises(InvalidRequest):
        await authenticate(house, basic("basic", secret), client_id="ledger")


@pytest.mark.parametrize("secret", ["", "x", "x" * 43, "x" * 100_000, "\udc80", "é"])
async def test_a_wrong_secret_is_refused(house: House, secret: str) -> None:
    await add_client(house, "post", token_endpoint_auth_method="client_secret_post")
    assert await refused(house, client_id="post", client_secret=secret) == "invalid_client"


async def test_a_secret_of_another_client_or_tenant_opens_nothing(house: House) -> None:
    secret = await add_client(house, "one", token_endpoint_auth_method="client_secret_basic")
    await add_client(house, "two", token_endpoint_auth_method="client_secret_basic")
    elsewhere = await furnish(house.access)
    await add_client(elsewhere, "one", token_endpoint_auth_method="client_secret_basic")
    assert await refused(house, basic("two", secret)) == "invalid_client"
    assert await refused(elsewhere, basic("one", secret)) == "invalid_client"


async def test_two_secrets_are_good_while_one_is_changed_and_an_expired_one_is_not(house: House) -> None:
    old = await add_client(house, "post", token_endpoint_auth_method="client_secret_post")
    new = new_token()
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "insert into troth.client_secret (tenant_id, client_id, secret_hash) values ($1, 'post', $2)",
            house.tenant.id,
            secret_hash(new),
        )
    for secret in (old, new):
        assert (await authenticate(house, client_id="post", client_secret=secret)).id == "post"
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "update troth.client_secret set expires_at = now() where secret_hash = $1", secret_hash(old)
        )
    assert await refused(house, client_id="post", client_secret=old) == "invalid_client"
    assert (await authenticate(house, client_id="post", client_secret=new)).id == "post"


async def test_a_client_id_with_a_colon_survives_the_header(house: House) -> None:
    name = "a:b c%+é"[:-1]
    secret = await add_client(house, name, token_endpoint_auth_method="client_secret_basic")
    assert (await authenticate(house, basic(name, secret))).id == name


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !",
        "Bearer eHg6eQ==",
        "Basic eA==",
        "Basic JTo=",
        "Basic " + "A" * 9000,
        "Basic w6k6eA==",
        "Basic eA",
        "basic JXo6eA==",
    ],
)
async def test_an_unreadable_header_is_refused(house: House, header: str) -> None:
    assert await refused(house, header) == "invalid_client"


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1), st.text())
def test_what_a_request_shows_is_not_shown_further(client: str, secret: str) -> None:
    request = ClientRequest(form={"client_id": client, "client_secret": f"secret {secret}"})
    assert "secret " not in repr(request)
    assert issubclass(InvalidClient, OAuthError)
