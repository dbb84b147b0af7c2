"""The pages in a real browser: accessible by axe's rules, in light and dark, on a desk and in a hand; without
a script of their own, and without running anybody else's."""

import os
import shutil
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, async_playwright
from starlette.types import ASGIApp

from support.portal import ANNA, MARKUS, NOW, Visitor, anna_of, markus_of
from support.portal_api import HOST, FakeDataApi

ROOT = Path(__file__).parents[2]
AXE = ROOT / "tests" / "npm" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = shutil.which("chromium", path=f"{ROOT / '.tools' / 'bin'}{os.pathsep}{os.environ['PATH']}")
LOGO = ROOT / "examples" / "residents" / "logos" / "lindenhof.svg"

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and AXE.is_file()), reason="needs chromium and axe-core: make chromium npm"
)


@pytest.fixture
async def browser() -> AsyncGenerator[Browser]:
    async with async_playwright() as playwright:
        options = ["--no-sandbox"] if os.getuid() == 0 else []
        opened = await playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield opened
        await opened.close()


def furnish(api: FakeDataApi) -> dict[str, str]:
    """Something of everything; the answer is where to look."""
    ticket: dict[str, object] = {"title": "Radiator stays cold", "category": "heating", "location": "Flat 12"}
    ticket |= {"urgency": "urgent", "answer": "On Wednesday.", "description": "Cold."}
    address = ""
    for number, status in enumerate(("done", "in_progress", "open")):
        filed = NOW - timedelta(days=3 - number)
        stored = api.put("tickets", ANNA, filed, **ticket | {"status": status})
        address = f"/tickets/{stored.id}"
    news = api.put(
        "announcements", MARKUS, NOW, title="Water is off", body="From nine.", category="maintenance"
    )
    return {"ticket": address, "news": f"/announcements/{news.id}"}


async def open_page(
    browser: Browser, who: Visitor, *, dark: bool = False, width: int = 1280
) -> tuple[Page, list[str]]:
    """A page whose every request is answered by the portal; the list fills with what the browser forbade."""
    context = await browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
    )
    page = await context.new_page()
    complaints: list[str] = []

    async def answer(route: Route) -> None:
        request = route.request
        if request.url.endswith("/troth-assets/logo"):
            await route.fulfill(body=LOGO.read_bytes(), content_type="image/svg+xml")
            return
        path = request.url.removeprefix(f"https://{HOST}")
        sent = await who.client.request(
            request.method,
            path,
            content=request.post_data_buffer,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        await route.fulfill(status=sent.status_code, headers=dict(sent.headers), body=sent.content)

    await page.route("**/*", answer)
    page.on("console", lambda message: complaints.append(message.text))
    return page, complaints


async def find_violations(page: Page) -> list[str]:
    """What axe finds. The debugger runs it: the page's own policy would allow no script."""
    await page.evaluate(AXE.read_text())
    return await page.evaluate("axe.run().then(r => r.violations.map(v => v.id + ' ' + v.nodes[0].html))")


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 320)])
async def test_every_page_is_accessible_and_fits(
    browser: Browser, portal: ASGIApp, api: FakeDataApi, dark: bool, width: int
) -> None:
    at = furnish(api)
    looks = [
        (anna_of(portal), ["/", "/tickets", "/tickets/new", at["ticket"], f"{at['ticket']}/edit"]),
        (
            anna_of(portal, language="de"),
            ["/", "/tickets?status=done", "/announcements", "/board", "/nowhere"],
        ),
        (markus_of(portal), ["/", "/board", at["ticket"], f"{at['ticket']}/delete", f"{at['news']}/edit"]),
    ]
    for who, paths in looks:
        page, _ = await open_page(browser, who, dark=dark, width=width)
        for path in paths:
            await page.goto(f"https://{HOST}{path}")
            assert await find_violations(page) == [], path
            beyond = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert beyond <= 0, path
        await page.context.close()


async def test_a_form_with_faults_takes_the_focus_and_leads_to_the_field(
    browser: Browser, portal: ASGIApp
) -> None:
    page, _ = await open_page(browser, anna_of(portal))
    await page.goto(f"https://{HOST}/tickets/new")
    await page.get_by_label("Title").fill("ab")
    await page.get_by_role("button", name="Send report").click()

    assert await find_violations(page) == []
    assert await page.evaluate("document.activeElement.getAttribute('role')") == "alert"
    await page.get_by_role("link", name="Title: please write at least three characters.").click()
    assert await page.evaluate("document.activeElement.id") == "title"
    assert await page.get_by_label("Title").input_value() == "ab"


async def test_a_ticket_is_filed_with_the_keyboard_alone(
    browser: Browser, portal: ASGIApp, api: FakeDataApi
) -> None:
    page, _ = await open_page(browser, anna_of(portal))
    await page.goto(f"https://{HOST}/tickets/new")
    keyboard = page.keyboard
    await keyboard.press("Tab")
    assert await page.get_by_role("link", name="Skip to the content").is_visible()
    await keyboard.press("Enter")
    await page.get_by_role("radio", name="Heating").focus()
    for key in ("Space", "ArrowRight", "Tab"):
        await keyboard.press(key)
    await keyboard.type("Tap drips")
    await keyboard.press("Tab")
    await keyboard.type("Flat 12")
    await keyboard.press("Enter")
    await page.get_by_role("heading", name="Tap drips", level=1).wait_for()

    assert api.documents["tickets"][0].content["category"] == "water"


async def test_what_somebody_wrote_runs_in_no_browser(
    browser: Browser, portal: ASGIApp, api: FakeDataApi
) -> None:
    hostile = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
    stored = api.put(
        "tickets", ANNA, NOW, title=hostile, description=hostile, category="water", urgency="low"
    )
    page, _ = await open_page(browser, anna_of(portal))
    await page.goto(f"https://{HOST}/tickets/{stored.id}")

    assert await page.title() == f"{hostile} · Lindenhof"
    assert await page.locator("script, img[src=x]").count() == 0


async def test_the_browser_finds_nothing_to_forbid(
    browser: Browser, portal: ASGIApp, api: FakeDataApi
) -> None:
    furnish(api)
    page, complaints = await open_page(browser, markus_of(portal))
    for path in ("/", "/tickets", "/board", "/announcements/new"):
        await page.goto(f"https://{HOST}{path}")
    assert complaints == []
