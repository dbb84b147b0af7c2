"""Passkeys in Chromium with a virtual device; the sign-in without JavaScript, and by keyboard alone."""

from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from playwright.async_api import Error as PlaywrightError

from support.access import EMAIL, PASSWORD, House
from support.browser import Served
from support.chromium import launch, trust
from support.factors import add_app, code_of
from troth.access.factors.pending import FactorNeeded
from troth.core.names import PENDING_COOKIE, SESSION_COOKIE

DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
async def chromium(served: Served, tmp_path: Path) -> AsyncGenerator[Browser]:
    """It trusts our authority: no browser uses passkeys on a page whose certificate it does not."""
    trust(tmp_path, served.ca)
    async with async_playwright() as playwright:
        browser = await launch(playwright, tmp_path)
        yield browser
        await browser.close()


async def open_page(chromium: Browser, **options: Any) -> tuple[BrowserContext, Page, list[str]]:
    """A page, and what the browser complains of on it."""
    context = await chromium.new_context(locale="en-GB", **options)
    context.set_default_timeout(15_000)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    return context, page, complaints


async def plug_in(context: BrowserContext, page: Page, **other: bool) -> None:
    """A device with a screen lock, of Chromium's own making (WebAuthn section 11)."""
    debugger: Any = await context.new_cdp_session(page)
    await debugger.send("WebAuthn.enable")
    await debugger.send("WebAuthn.addVirtualAuthenticator", {"options": {**DEVICE, **other}})


async def hold(context: BrowserContext, house: House, *, name: str, value: str) -> None:
    await context.add_cookies([{"name": name, "value": value, "url": house.domain.issuer, "secure": True}])


async def password(page: Page) -> None:
    await page.locator("#email").fill(EMAIL)
    await page.locator("#password").fill(PASSWORD)
    await page.locator("#password").press("Enter")


async def test_a_passkey_from_its_making_to_its_removal_in_a_real_browser(
    served: Served, chromium: Browser
) -> None:
    house = served.house
    issuer = house.domain.issuer
    context, page, complaints = await open_page(chromium)
    await plug_in(context, page)
    await hold(context, house, name=SESSION_COOKIE, value=(await house.begin()).token)
    await page.goto(f"{issuer}/account/security")
    await page.get_by_role("button", name="Create a passkey").click()
    await page.get_by_role("heading", name="Recovery codes").wait_for()
    assert await page.locator(".codes li").count() == 10
    # In place of a password; a virtual device may take the suggestion by itself.
    await context.clear_cookies()
    await page.goto(f"{issuer}/login?return_to=/account/sessions")
    await press_unless_done(page, "**/account/sessions")
    # After the password.
    await context.clear_cookies()
    needed = await house.access.sign_in.sign_in(house.domain, EMAIL, PASSWORD)
    assert isinstance(needed, FactorNeeded)
    await hold(context, house, name=PENDING_COOKIE, value=needed.token)
    await page.goto(f"{issuer}/login/second?return_to=/account/security")
    await page.get_by_role("button", name="Use a passkey").click()
    await page.wait_for_url("**/account/security")
    # Once more before something sensitive, in a session that the password began.
    await context.clear_cookies()
    await hold(context, house, name=SESSION_COOKIE, value=(await house.begin()).token)
    await page.goto(f"{issuer}/account/security")
    await page.get_by_role("button", name="Remove").click()
    await page.get_by_role("heading", name="Please confirm that it is you").wait_for()
    await page.get_by_role("button", name="Use a passkey").click()
    await page.wait_for_url("**/account/security")
    # Given another name, and removed.
    await page.locator("summary").click()
    await page.get_by_label("Name of this passkey").fill("Kitchen")
    await page.locator("form[action$=rename] button").click()
    await page.get_by_role("heading", name="Kitchen").wait_for()
    await page.get_by_role("button", name="Remove").click()
    await page.get_by_text("You have no passkey yet.").wait_for()
    assert complaints == []
    await context.close()


async def press_unless_done(page: Page, target: str) -> None:
    """Both the suggestion and the button lead there, and either may win."""
    button = page.get_by_role("button", name="Use a passkey")
    with suppress(PlaywrightError):
        await button.click(timeout=5_000)
    await page.wait_for_url(target)


async def test_who_has_no_device_at_hand_is_told_and_may_try_again(served: Served, chromium: Browser) -> None:
    house = served.house
    context, page, complaints = await open_page(chromium)
    await plug_in(context, page, isUserVerified=False)
    await hold(context, house, name=SESSION_COOKIE, value=(await house.begin()).token)
    await page.goto(f"{house.domain.issuer}/account/security")
    await page.get_by_role("button", name="Create a passkey").click()
    await page.get_by_role("alert").get_by_text("The passkey was not used").wait_for()
    assert not (await house.access.factors.show(house.domain, house.person)).any
    assert complaints == []
    await context.close()


async def test_without_javascript_the_code_still_signs_in(served: Served, chromium: Browser) -> None:
    house = served.house
    key = await add_app(house)
    context, page, _ = await open_page(chromium, java_script_enabled=False)
    await page.goto(f"{house.domain.issuer}/login?return_to=/account/security")
    assert not await page.get_by_role("button", name="Use a passkey").is_visible()
    await password(page)
    await page.locator("#code").fill(code_of(house, key))
    await page.locator("#code").press("Enter")
    await page.wait_for_url("**/account/security")
    await context.close()


async def test_the_keyboard_reaches_everything_in_order_and_leaves_again(
    served: Served, chromium: Browser
) -> None:
    context, page, _ = await open_page(chromium)
    await page.goto(f"{served.house.domain.issuer}/login")
    await page.locator("#email").focus()
    order: list[str] = []
    for _ in range(5):
        focused = "document.activeElement.id || document.activeElement.textContent.trim()"
        order.append(await page.evaluate(focused))
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert order[-1] == "" or await page.evaluate(outline) != "none"
        await page.keyboard.press("Tab")
    assert order == ["email", "password", "Sign in", "Use a passkey", "Forgotten your password?"]
    await context.close()
