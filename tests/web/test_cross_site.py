"""No page of another site changes anything: every route that takes an unsafe method is tried."""

import pytest
from starlette.routing import BaseRoute, Route

from support.access import House
from support.browser import Browser, WebAccess, application
from troth.web.origin import SAFE_METHODS

WITHOUT_COOKIE = ("/oauth/token", "/oauth/par", "/oauth/revoke", "/oauth/introspect", "/oauth/device",
                  "/oauth/register", "/oauth/userinfo", "/troth-assets/reports")  # fmt: skip
"""What reads no cookie: whoever calls it proves who they are in another way, or nothing comes of it."""

BECOMES_A_GET = ("/oauth/authorize", "/oauth/logout")

FOREIGN: tuple[dict[str, str], ...] = (
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "https://sibling.localhost", "Sec-Fetch-Site": "same-site"},
    {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {},
)


def unsafe(routes: list[BaseRoute]) -> list[tuple[str, str]]:
    return [
        (method, route.path)
        for route in routes
        if isinstance(route, Route) and not route.path.startswith(WITHOUT_COOKIE)
        for method in sorted((route.methods or set()) - SAFE_METHODS)
    ]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_request_from_elsewhere_is_refused_on_every_route_that_a_cookie_authenticates(
    web: WebAccess, house: House, browser: Browser, headers: dict[str, str]
) -> None:
    begun = await house.begin()
    tried: list[tuple[str, str, int, str]] = []
    for method, path in unsafe(application(web).routes):
        browser.cookie = begun.token
        form = {"id": str(begun.session.id)}
        answer = await browser.send(method, path, headers=headers, data=form)
        tried.append((method, path, answer.status_code, answer.headers.get("location", "")))
    known = {path for _, path, _, _ in tried}
    assert {"/login", "/logout", "/oauth/consent", "/account/sessions/end"} <= known
    # A POST to these changes nothing: it becomes the same question by GET (OpenID Connect Core 3.1.2.1).
    accepted = [one for one in tried if one[2] != 403 and one[1] not in BECOMES_A_GET]
    assert accepted == []
    await house.access.sessions.open(house.domain, begun.token)
