"""Clients and their redirect URIs: what matches, and for whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.access import CALLBACK, House, furnish
from troth.access.oauth.clients import Client
from troth.access.scopes import ScopeSet


def client(*uris: str) -> Client:
    return Client("c", "C", uris, ScopeSet())


@given(st.text())
def test_only_the_very_text_matches(uri: str) -> None:
    one = client("https://app.example/cb")
    assert one.accepts_redirect(uri) == (uri == "https://app.example/cb")


@given(st.integers(min_value=-5, max_value=100_000))
def test_a_loopback_address_matches_on_every_port(port: int) -> None:
    one = client("http://127.0.0.1/cb")
    assert one.accepts_redirect(f"http://127.0.0.1:{port}/cb") == (0 <= port <= 65_535)


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:80/cb2",
        "http://127.0.0.1:80/cb?x",
        "http://127.0.0.1:80@evil.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://[::1]:80/cb",
        "https://127.0.0.1:80/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:８0/cb",
    ],
)
def test_nothing_but_the_port_of_a_loopback_address_may_differ(uri: str) -> None:
    assert not client("http://127.0.0.1/cb").accepts_redirect(uri)


@pytest.mark.parametrize("registered", ["http://127.0.0.2/cb", "http://127.0.0.1/cb#x"])
def test_an_odd_registration_matches_nothing_else(registered: str) -> None:
    assert not client(registered).accepts_redirect("https://evil.example/")


async def test_a_client_is_known_to_its_own_tenant_alone(house: House) -> None:
    other = await furnish(house.access)
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute("update troth.client set id = 'mine' where id = 'ledger'")
    found = await house.access.clients.find(house.domain, "mine")
    assert found is not None
    assert CALLBACK in found.redirect_uris
    assert await house.access.clients.find(other.domain, "mine") is None


async def test_a_disabled_client_is_unknown(house: House) -> None:
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute("update troth.client set disabled = true where id = 'ledger'")
    assert await house.access.clients.find(house.domain, "ledger") is None
