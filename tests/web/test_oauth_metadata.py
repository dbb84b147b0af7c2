"""What the authorization server tells of itself, and to which origins."""

from starlette.routing import Route

from support.access import House
from support.browser import Browser, WebAccess, application
from troth.access.oauth.clients import GRANT_TYPES


async def test_the_metadata_lists_what_exists(web: WebAccess, browser: Browser, house: House) -> None:
    documents = [
        (await browser.send("GET", f"/.well-known/{name}", headers={})).json()
        for name in ("openid-configuration", "oauth-authorization-server")
    ]
    assert documents[0] == documents[1]
    told = documents[0]
    assert told["issuer"] == house.domain.issuer
    assert told["grant_types_supported"] == list(GRANT_TYPES)
    for name, url in told.items():
        if name.endswith(("_endpoint", "_uri")):
            path = url.removeprefix(house.domain.issuer)
            assert (await browser.send("GET", path, headers={})).status_code != 404


PAGES_OF_OURS = {"/oauth/consent", "/oauth/logout/confirm", "/oauth/register/{client}"}
"""What a person or a registered client is led to; nobody looks for it."""


async def test_everything_that_exists_is_listed(web: WebAccess, browser: Browser, house: House) -> None:
    told = (await browser.send("GET", "/.well-known/openid-configuration", headers={})).json()
    listed = {str(url).removeprefix(house.domain.issuer) for url in told.values()}
    served = {
        route.path
        for route in application(web).routes
        if isinstance(route, Route) and route.path.startswith("/oauth/")
    }
    assert served - PAGES_OF_OURS <= listed


async def test_a_client_with_a_certificate_finds_each_endpoint_that_it_calls(
    browser: Browser, house: House
) -> None:
    told = (await browser.send("GET", "/.well-known/openid-configuration", headers={})).json()
    for name, url in told["mtls_endpoint_aliases"].items():
        assert url == told[name].replace(house.domain.issuer, house.domain.mutual_tls_origin)


async def test_only_public_keys_are_published(browser: Browser) -> None:
    keys = (await browser.send("GET", "/oauth/jwks", headers={})).json()["keys"]
    assert [sorted(key) for key in keys] == [["alg", "crv", "kid", "kty", "use", "x", "y"]]


async def test_a_browser_application_of_another_origin_may_ask_the_token_endpoint(browser: Browser) -> None:
    preflight = await browser.send("OPTIONS", "/oauth/token", headers={"Origin": "https://spa.example"})
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in preflight.headers
    authorize = await browser.send("OPTIONS", "/oauth/authorize", headers={"Origin": "https://spa.example"})
    assert "access-control-allow-origin" not in authorize.headers
