"""Every page in Chromium, in each state: axe, the width of a phone, light and dark, English and German."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Response, async_playwright

from support.browser import Served
from support.chromium import launch, trust
from support.gallery import Visitor, faults
from support.rounds import in_many_rounds

DESKTOP, PHONE = (1280, 900), (320, 640)
LOOKS = ("color-contrast", "target-size", "link-in-text-block", "meta-viewport")
"""The rules whose outcome another look may change."""
WORDS = (*LOOKS, "html-has-lang", "html-lang-valid", "valid-lang", "label", "button-name", "link-name")
"""The rules whose outcome other words may change: the pages of both languages are of one making."""
EXPECTED = "the server responded with a status of 4"
"""What Chromium says of a page whose status tells of a refusal."""


@pytest.fixture
async def chromium(served: Served, tmp_path: Path) -> AsyncGenerator[Browser]:
    trust(tmp_path, served.ca)
    async with async_playwright() as playwright:
        browser = await launch(playwright, tmp_path)
        yield browser
        await browser.close()


SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def is_missing(answer: Response) -> bool:
    """A part of a page, not the page itself, which may say 401."""
    return answer.status >= 400 and answer.request.resource_type != "document"


Look = tuple[Literal["light", "dark"], tuple[int, int]]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("parts", [("strangers", "letters", "clients"), ("devices", "account", "factors")])
@pytest.mark.parametrize(
    ("locale", "looks"),
    [
        ("en-GB", (("light", DESKTOP), ("dark", PHONE))),
        pytest.param(
            "de-DE", (("light", PHONE), ("dark", DESKTOP)), marks=[pytest.mark.chaos, in_many_rounds]
        ),
    ],
)
async def test_nothing_is_wrong_on_any_page(
    served: Served, chromium: Browser, locale: str, looks: tuple[Look, Look], parts: tuple[str, ...]
) -> None:
    context = await chromium.new_context(locale=locale)
    context.set_default_timeout(15_000)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    missing: list[str] = []
    page.on("response", lambda answer: missing.append(answer.url) if is_missing(answer) else None)
    found: dict[str, list[str]] = {}
    async for name in Visitor(served.house, page).walk(*parts):
        for turn, (scheme, (width, height)) in enumerate(looks):
            await page.emulate_media(color_scheme=scheme)
            await page.set_viewport_size({"width": width, "height": height})
            wrong = await faults(page, *(LOOKS if turn else WORDS if locale != "en-GB" else ()))
            if wrong:
                found[f"{name} {scheme} {width}"] = wrong
    assert found == {}
    # No page asks for what its own policy forbids, and none asks for what is not there.
    assert [one for one in complaints if EXPECTED not in one] == []
    assert missing == []
    await context.close()


@pytest.mark.parametrize("colour", ["#fff94f", "#ffffff", "#05060a"])
async def test_every_colour_of_a_domain_stays_readable(
    served: Served, chromium: Browser, colour: str
) -> None:
    house = served.house
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "update troth.domain set branding = branding || jsonb_build_object('colour', $2::text)"
            " where name = $1",
            house.domain.name,
            colour,
        )
    house.access.clock.advance(seconds=11)  # directories keep what they know for ten
    context = await chromium.new_context(locale="de-DE")
    page = await context.new_page()
    visitor = Visitor(house, page)
    await page.goto(f"{house.domain.issuer}/login?signed_out=1")
    for signed_in in (False, True):
        if signed_in:
            await visitor.sign_in()
            await page.goto(f"{house.domain.issuer}{visitor.authorize()}")
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme)
            assert await faults(page, "color-contrast") == []
    await context.close()
