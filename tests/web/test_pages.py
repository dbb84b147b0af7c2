"""The pages in a real Chromium: they work without JavaScript, and the rules of axe find nothing."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from support.access import EMAIL, PASSWORD
from support.browser import Served
from support.chromium import launch
from troth.hosting.ports import free_ports

AXE = Path(__file__).parents[1] / "npm" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]
VERIFIER = "v" * 43


@pytest.fixture
async def chromium(tmp_path: Path) -> AsyncGenerator[Browser]:
    async with async_playwright() as playwright:
        browser = await launch(playwright, tmp_path)
        yield browser
        await browser.close()


async def open_context(chromium: Browser, **options: Any) -> BrowserContext:
    context = await chromium.new_context(ignore_https_errors=True, **options)
    context.set_default_timeout(15_000)
    return context


@pytest.fixture
async def listening() -> AsyncGenerator[tuple[str, "asyncio.Queue[str]"]]:
    """A native application that waits for the browser to come back."""
    requests: asyncio.Queue[str] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()
        if line.startswith("GET /callback"):
            requests.put_nowait(line.split()[1])

    port = free_ports(1)[0]
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    yield f"http://127.0.0.1:{port}/callback", requests
    server.close()
    await server.wait_closed()


def authorization(issuer: str, redirect: str) -> str:
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
    query = {
        "client_id": "ledger",
        "redirect_uri": redirect,
        "response_type": "code",
        "scope": "openid tickets:read announcements:read",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return f"{issuer}/oauth/authorize?{urlencode(query)}"


async def sign_in(page: Page) -> None:
    await page.get_by_label("E-mail address").fill(EMAIL)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()


async def test_sign_in_consent_and_redirect_work_without_javascript(
    served: Served, chromium: Browser, listening: tuple[str, "asyncio.Queue[str]"]
) -> None:
    redirect, requests = listening
    context = await open_context(chromium, java_script_enabled=False, locale="en-GB")
    page = await context.new_page()
    await page.goto(authorization(served.house.domain.issuer, redirect))
    await sign_in(page)
    await page.get_by_role("button", name="Allow", exact=True).click()
    first = await asyncio.wait_for(requests.get(), 15)
    assert "code=" in first
    # The policy must let the sign-in form end at the client as well, when nothing is left to ask.
    await page.goto(authorization(served.house.domain.issuer, redirect) + "&prompt=consent")
    await page.get_by_role("button", name="Do not allow").click()
    assert "error=access_denied" in await asyncio.wait_for(requests.get(), 15)
    await context.close()


async def test_a_script_cannot_read_the_cookie(served: Served, chromium: Browser) -> None:
    context = await open_context(chromium, locale="en-GB")
    page = await context.new_page()
    await page.goto(f"{served.house.domain.issuer}/login?return_to=/session")
    await sign_in(page)
    await page.wait_for_url("**/session")
    names = {cookie.get("name") for cookie in await context.cookies()}
    assert names == {"__Host-troth", "__Host-device"}
    assert await page.evaluate("document.cookie") == ""
    status = await page.evaluate("fetch('/session/token').then(answer => answer.status)")
    assert status == 200
    await context.close()


async def faults(page: Page) -> list[str]:
    """What axe finds on a page; it is evaluated from outside, for the page's policy allows no script."""
    await page.evaluate(AXE.read_text())
    found = await page.evaluate(
        "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']})"
    )
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(served: Served, chromium: Browser, scheme: str) -> None:
    issuer = served.house.domain.issuer
    context = await open_context(chromium, color_scheme=scheme, locale="en-GB")
    page = await context.new_page()
    await page.goto(f"{issuer}/login?signed_out=1")
    assert await faults(page) == []
    await page.get_by_label("E-mail address").fill(EMAIL)
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("alert").wait_for()
    assert await faults(page) == []
    await page.goto(f"{issuer}/oauth/authorize?client_id=unknown")
    assert await faults(page) == []
    await page.goto(authorization(issuer, "https://ledger.example/callback"))
    await sign_in(page)
    await page.get_by_role("button", name="Allow", exact=True).wait_for()
    assert await faults(page) == []
    await page.goto(f"{issuer}/account/sessions")
    await page.get_by_role("heading", name="Your sessions").wait_for()
    assert await faults(page) == []
    await page.goto(f"{issuer}/logout")
    assert await faults(page) == []
    await context.close()
