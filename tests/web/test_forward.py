"""What the edge is told about a request for an application."""

from urllib.parse import unquote

import httpx
import pytest

from support.access import NAME, House, furnish
from support.browser import NAVIGATE, Browser, WebAccess

CORS = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}


async def ask(
    browser: Browser, uri: str = "/tickets", method: str = "GET", headers: dict[str, str] | None = None
) -> httpx.Response:
    told = {"X-Forwarded-Method": method, "X-Forwarded-Uri": uri}
    return await browser.send("GET", "/internal/forward", headers={**(headers or NAVIGATE), **told})


async def test_the_application_gets_a_token_and_a_name_and_never_the_cookie(
    web: WebAccess, browser: Browser, house: House
) -> None:
    browser.cookie = (await house.begin()).token
    response = await ask(browser)
    assert response.status_code == 200
    token = response.headers["x-troth-access-token"]
    principal = await web.authenticator.authenticate(house.domain.name, f"Bearer {token}")
    assert principal.person == house.person
    assert unquote(response.headers["x-troth-person"]) == NAME
    assert response.headers["x-troth-tenant"] == house.tenant.slug
    assert unquote(response.headers["x-troth-domain-name"]) == house.tenant.slug.upper()
    assert response.headers["x-troth-colour"] == "#1f4e79"
    assert all(browser.cookie not in value for value in response.headers.values())


async def test_a_person_without_a_session_is_led_to_the_sign_in(browser: Browser) -> None:
    response = await ask(browser, "/tickets?open=1&x=%2F")
    assert response.status_code == 302
    assert response.headers["location"] == "/login?return_to=/tickets%3Fopen%3D1%26x%3D%252F"


async def test_a_script_without_a_session_gets_a_problem(browser: Browser) -> None:
    response = await ask(browser, headers={**CORS, "Accept": "text/html"})
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("accept", "status"), [("text/html,*/*", 302), ("application/json", 401), ("*/*", 401)]
)
async def test_an_old_browser_is_told_by_what_it_accepts(browser: Browser, accept: str, status: int) -> None:
    assert (await ask(browser, headers={"Accept": accept})).status_code == status


async def test_a_form_after_the_session_ended_leads_to_the_sign_in(browser: Browser) -> None:
    response = await ask(browser, "/tickets", "POST")
    assert response.headers["location"] == "/login?return_to=/"


@pytest.mark.parametrize("uri", ["//evil.example/", "/\\evil.example", "https://evil.example/"])
async def test_a_strange_address_is_not_returned_to(browser: Browser, uri: str) -> None:
    assert (await ask(browser, uri)).headers["location"] == "/login?return_to=/"


async def test_logout_counts_at_once_though_the_token_is_kept(browser: Browser, house: House) -> None:
    begun = await house.begin()
    browser.cookie = begun.token
    assert (await ask(browser)).status_code == 200
    await house.access.sessions.end(house.domain, begun.token)
    assert (await ask(browser)).status_code == 302
    assert "Max-Age=0" in browser.set_cookie


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post", "BREW"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
     {"Origin": "https://evil.example"}, {"Origin": "null"}],
)  # fmt: skip
async def test_another_site_writes_nothing(
    browser: Browser, house: House, method: str, headers: dict[str, str]
) -> None:
    browser.cookie = (await house.begin()).token
    response = await ask(browser, method=method, headers={**headers, "Accept": "*/*"})
    assert response.status_code == 403
    assert response.json()["code"] == "cross_site"
    assert "x-troth-access-token" not in response.headers


async def test_the_domains_own_pages_write(browser: Browser, house: House) -> None:
    browser.cookie = (await house.begin()).token
    assert (await ask(browser, method="POST", headers=CORS)).status_code == 200
    assert (await ask(browser, method="POST", headers={**CORS, "Origin": browser.origin})).status_code == 200
    assert (await ask(browser, method="DELETE", headers={"Origin": browser.origin})).status_code == 200
    assert (await ask(browser, method="POST", headers={**CORS, "Origin": "null"})).status_code == 200


async def test_a_public_path_needs_no_session(browser: Browser) -> None:
    response = await ask(browser, "/assets/style.css?v=1", headers=CORS)
    assert response.status_code == 200
    assert "x-troth-access-token" not in response.headers
    assert response.headers["x-troth-colour"] == "#1f4e79"


@pytest.mark.parametrize(
    "uri",
    [
        "/assets",
        "/assetsx/",
        "/assets/../tickets",
        "/assets/%2e%2e/tickets",
        "/assets/..%2ftickets",
        "/assets//tickets",
        "/assets/%5c..%5ctickets",
        "/Assets/x",
        "/tickets?/assets/",
    ],
)
async def test_nothing_else_passes_for_public(browser: Browser, uri: str) -> None:
    assert (await ask(browser, uri, headers=CORS)).status_code == 401


async def test_a_signed_in_person_is_known_on_public_paths(browser: Browser, house: House) -> None:
    browser.cookie = (await house.begin()).token
    assert "x-troth-access-token" in (await ask(browser, "/assets/x")).headers


async def test_the_cookie_of_another_domain_is_nobodys(
    web: WebAccess, browser: Browser, house: House
) -> None:
    other = await furnish(web)
    browser.cookie = (await other.begin()).token
    assert (await ask(browser)).status_code == 302
    assert "session.cookie_elsewhere" in await web.events(house.domain.name)
