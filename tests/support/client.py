"""A client application of OAuth as its developer would write it: asks, is agreed to, redeems."""

import base64
import hashlib
import re
import secrets
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from support.access import CALLBACK
from support.browser import Browser

VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")

GOOD = {
    "client_id": "ledger",
    "redirect_uri": CALLBACK,
    "response_type": "code",
    "scope": "openid profile tickets:read",
    "state": "a state & more",
    "nonce": "n-0S6",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


def address(**changes: str | None) -> str:
    query = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return f"/oauth/authorize?{urlencode(query)}"


def answer(location: str) -> dict[str, str]:
    assert location.startswith(f"{CALLBACK}?"), location
    return dict(parse_qsl(urlsplit(location).query, strict_parsing=True))


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return found[1]


async def consent(browser: Browser, decision: str = "allow", /, **changes: str | None) -> httpx.Response:
    page = await browser.get(address(**changes))
    assert page.status_code == 200, page.headers.get("location")
    return await browser.post(
        "/oauth/consent", {"pending": hidden(page.text, "pending"), "decision": decision}
    )


async def get_code(browser: Browser, **changes: str | None) -> str:
    return answer((await consent(browser, **changes)).headers["location"])["code"]


async def redeem(browser: Browser, code: str, /, **changes: str | None) -> httpx.Response:
    form = {
        "grant_type": "authorization_code",
        "client_id": "ledger",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
        **changes,
    }
    sent = {name: value for name, value in form.items() if value is not None}
    return await browser.send("POST", "/oauth/token", headers={}, data=sent)
