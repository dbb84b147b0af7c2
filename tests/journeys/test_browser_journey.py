"""A person's whole way in a real browser: sign in, write, look for the cookie, sign out."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Error, Page, Playwright, Response

from support.chromium import context, file_ticket, launch, sign_in
from support.person import COOKIE, signed_in
from support.platform import ANNA, LEA, MARKUS, OWNERS, RESIDENTS, Troth
from troth.core.names import DEVICE_COOKIE

AXE = Path(__file__).parents[1] / "npm" / "node_modules" / "axe-core" / "axe.min.js"

CONSENT = (
    "/oauth/authorize?client_id=ledger&response_type=code&scope=openid+profile+tickets%3Aread%3Aown"
    "&redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fcallback&state=axe"
    "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
)

FETCH_TOKEN = "fetch('/session/token').then(answer => answer.json())"


async def test_a_browser_without_our_authority_turns_away(
    playwright: Playwright, platform: Troth, tmp_path: Path
) -> None:
    stranger = await launch(playwright, tmp_path)
    try:
        page = await stranger.new_page()
        with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
            await page.goto(platform.origin(RESIDENTS))
    finally:
        await stranger.close()


async def test_a_ticket_is_seen_by_its_own_house_alone(chromium: Browser, platform: Troth) -> None:
    title = "The radiator in the hall stays cold"
    async with context(chromium) as anna, context(chromium) as lea, context(chromium) as markus:
        residents, owners, office = await anna.new_page(), await lea.new_page(), await markus.new_page()
        await sign_in(residents, platform, ANNA)
        await sign_in(owners, platform, LEA)
        await sign_in(office, platform, MARKUS)

        address = await file_ticket(residents, platform.origin(RESIDENTS), title, "Since Monday.")

        # The manager of the house sees it and answers.
        await office.goto(f"{platform.origin(RESIDENTS)}/tickets")
        assert await office.get_by_role("link", name=title).count() == 1
        await office.goto(address)
        assert await office.get_by_text("Since Monday.").is_visible()

        # A resident of another house sees neither the list's entry nor the page, on the own domain or there.
        await owners.goto(f"{platform.origin(OWNERS)}/tickets")
        assert await owners.get_by_text(title).count() == 0
        there = await owners.goto(address.replace(platform.origin(RESIDENTS), platform.origin(OWNERS)))
        assert _status(there) == 404
        await owners.goto(address)
        assert owners.url.startswith(f"{platform.origin(RESIDENTS)}/login")


async def test_each_domain_shows_its_own_name_and_colour(chromium: Browser, platform: Troth) -> None:
    async with context(chromium) as browser:
        page = await browser.new_page()
        seen: set[tuple[str, str]] = set()
        for domain in (RESIDENTS, OWNERS):
            await page.goto(f"{platform.origin(domain)}/login")
            colour = await page.get_by_role("button", name="Sign in").evaluate(
                "button => getComputedStyle(button).backgroundColor"
            )
            seen.add((await page.locator(".brand-name").inner_text(), colour))
    assert {name for name, _ in seen} == {"Lindenhof", "Seeblick"}
    assert len({colour for _, colour in seen}) == 2


async def test_a_script_looks_for_the_cookie_and_finds_none(chromium: Browser, platform: Troth) -> None:
    async with context(chromium, bypass_csp=True) as browser:
        page = await browser.new_page()
        await sign_in(page, platform, ANNA)
        cookies = {str(one.get("name")): one for one in await browser.cookies()}
        assert set(cookies) == {COOKIE, DEVICE_COOKIE}
        assert all(one.get("httpOnly") and one.get("secure") for one in cookies.values())

        seen = await page.evaluate(
            "async () => [document.cookie, JSON.stringify(await cookieStore.getAll()),"
            " JSON.stringify({...localStorage, ...sessionStorage}), document.documentElement.outerHTML,"
            " await fetch('/').then(answer => [...answer.headers].join())].join()"
        )
        for name, one in cookies.items():
            assert str(one.get("value")) not in seen
            assert name not in seen


async def test_the_pages_own_policy_lets_no_script_fetch_anything(chromium: Browser, platform: Troth) -> None:
    async with context(chromium) as browser:
        page = await browser.new_page()
        await sign_in(page, platform, ANNA)
        outcome = await page.evaluate(f"{FETCH_TOKEN}.then(() => 'fetched', error => error.name)")
        assert outcome == "TypeError"  # connect-src 'none'


async def test_the_token_of_a_page_opens_the_api_and_is_dead_after_sign_out(
    chromium: Browser, platform: Troth
) -> None:
    async with signed_in(platform, MARKUS) as other, context(chromium, bypass_csp=True) as browser:
        page = await browser.new_page()
        await sign_in(page, platform, ANNA)
        token = (await page.evaluate(FETCH_TOKEN))["access_token"]
        assert await _call(page, token) == 200
        # The session's cookie opens the API for nobody.
        assert await page.evaluate("fetch('/api/v1/tickets').then(answer => answer.status)") == 401

        await page.goto(f"{platform.origin(RESIDENTS)}/logout")
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url("**/login?signed_out=1")

        assert await _call(page, token) == 401
        assert await page.evaluate("fetch('/session').then(answer => answer.status)") == 401
        assert await page.evaluate("fetch('/session/token').then(answer => answer.status)") == 401
        # What is left says that somebody signed in here before; it opens nothing.
        assert [one.get("name") for one in await browser.cookies()] == [DEVICE_COOKIE]
        # Somebody else's session is none the worse for it.
        assert (await other.call("GET", "tickets")).status_code == 200
        assert (await other.call("GET", "tickets", token=token)).status_code == 401


async def test_a_cookie_copied_to_the_other_domain_opens_nothing(chromium: Browser, platform: Troth) -> None:
    async with context(chromium) as own, context(chromium, bypass_csp=True) as foreign:
        page = await own.new_page()
        await sign_in(page, platform, ANNA)
        (cookie,) = [one for one in await own.cookies() if one.get("name") == COOKIE]
        there = platform.origin(OWNERS)
        await foreign.add_cookies(
            [
                {
                    "name": COOKIE,
                    "value": str(cookie.get("value")),
                    "url": f"{there}/",
                    "secure": True,
                    "httpOnly": True,
                }
            ]
        )
        thief = await foreign.new_page()
        await thief.goto(f"{there}/")
        assert thief.url.startswith(f"{there}/login")
        assert await thief.evaluate("fetch('/session').then(answer => answer.status)") == 401
        assert await thief.evaluate("fetch('/session/token').then(answer => answer.status)") == 401


@pytest.mark.parametrize("path", ["/logout", "/tickets", "/login"])
async def test_a_form_of_another_site_is_refused(chromium: Browser, platform: Troth, path: str) -> None:
    """Cross-site request forgery, from a page of the other domain in the same browser."""
    async with context(chromium, bypass_csp=True) as browser:
        victim, attacker = await browser.new_page(), await browser.new_page()
        await sign_in(victim, platform, ANNA)
        await attacker.goto(f"{platform.origin(OWNERS)}/login")
        target = f"{platform.origin(RESIDENTS)}{path}"
        async with attacker.expect_response(lambda answer: answer.url == target) as coming:
            await attacker.evaluate(
                SEND_FORM, [target, {"title": "Forged", "category": "water", "urgency": "low"}]
            )
        assert (await coming.value).status in (302, 303, 401, 403)
        await attacker.wait_for_load_state()

        await victim.goto(f"{platform.origin(RESIDENTS)}/tickets")
        assert victim.url == f"{platform.origin(RESIDENTS)}/tickets"  # still signed in
        assert await victim.get_by_text("Forged").count() == 0


async def test_a_cookie_sent_from_another_site_changes_nothing_either(platform: Troth) -> None:
    """What SameSite keeps from happening in a browser is refused by the server too."""
    async with signed_in(platform, ANNA) as anna:
        forged = {"title": "Forged", "category": "water", "urgency": "low"}
        for path in ("/logout", "/tickets"):
            assert (await anna.post(path, forged, site="cross-site")).status_code == 403
            assert (await anna.post(path, forged, site="same-site")).status_code == 403
            evil = await anna.post(path, forged, origin=platform.origin(OWNERS))
            assert evil.status_code == 403
        assert (await anna.get("/session")).status_code == 200
        assert "Forged" not in (await anna.get("/tickets")).text


async def test_somebody_without_a_mouse_signs_in(chromium: Browser, platform: Troth) -> None:
    async with context(chromium) as browser:
        page = await browser.new_page()
        await page.goto(f"{platform.origin(RESIDENTS)}/tickets")
        await page.keyboard.type(ANNA)
        await page.keyboard.press("Tab")
        await page.keyboard.type(platform.password(ANNA))
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.type") == "submit"
        outline = await page.evaluate(
            "(style => style.outlineStyle + style.boxShadow)(getComputedStyle(document.activeElement))"
        )
        assert outline != "nonenone"  # the focus is seen
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{platform.origin(RESIDENTS)}/tickets")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.hash") == "#main"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_rules_see_a_barrier(chromium: Browser, scheme: str) -> None:
    async with context(chromium, color_scheme=scheme) as browser:
        page = await browser.new_page()
        await page.set_content("<p style='color: #777; background: #888'>Who can read this?</p><img src=x>")
        barriers = await find_barriers(page, scheme)
        assert any("color-contrast" in one for one in barriers)
        assert any("image-alt" in one for one in barriers) == (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_page_has_a_barrier(chromium: Browser, platform: Troth, scheme: str) -> None:
    """The rules of axe-core, which cover about half of WCAG 2.2 AA."""
    origin = platform.origin(RESIDENTS)
    barriers: dict[str, list[str]] = {}
    async with context(chromium, color_scheme=scheme) as browser:
        page = await browser.new_page()
        for name, path in (("login", "/login"), ("signed out", "/login?signed_out=1")):
            await page.goto(f"{origin}{path}")
            barriers[name] = await find_barriers(page, scheme)
        await page.get_by_label("E-mail").fill(ANNA)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("alert").wait_for()
        barriers["login refused"] = await find_barriers(page, scheme)
        await sign_in(page, platform, ANNA)
        barriers["home"] = await find_barriers(page, scheme)
        address = await file_ticket(page, origin, "A lamp flickers", "In the cellar.")
        barriers["ticket filed"] = await find_barriers(page, scheme)
        rest = {
            "ticket": address,
            "tickets": f"{origin}/tickets",
            "new ticket": f"{origin}/tickets/new",
            "announcements": f"{origin}/announcements",
            "logout": f"{origin}/logout",
            "consent": f"{origin}{CONSENT}",
            "missing": f"{origin}/nowhere",
            "refused authorization": f"{origin}/oauth/authorize?client_id=nobody",
        }
        for name, url in rest.items():
            await page.goto(url)
            barriers[name] = await find_barriers(page, scheme)
    assert {name: found for name, found in barriers.items() if found} == {}


SEND_FORM = """([target, fields]) => {
  const form = document.body.appendChild(document.createElement("form"));
  form.method = "post";
  form.action = target;
  for (const [name, value] of Object.entries(fields)) {
    const input = form.appendChild(document.createElement("input"));
    input.name = name;
    input.value = value;
  }
  form.submit();
}"""

RUN_AXE = """rules => axe.run(document, {resultTypes: ["violations"], ...rules}).then(
  ({violations}) => violations.map(({id, nodes}) => `${id}: ${nodes.map(node => node.target).join("; ")}`))"""

RULES: dict[str, dict[str, object]] = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
"""All rules once; in the dark only what depends on colours."""


async def find_barriers(page: Page, scheme: str = "light") -> list[str]:
    """What axe-core objects to on this page. Injected past the page's policy, which allows no script."""
    await page.evaluate(AXE.read_text())
    return await page.evaluate(RUN_AXE, RULES[scheme])


async def _call(page: Page, token: str) -> int:
    return await page.evaluate(
        "token => fetch('/api/v1/tickets', {headers: {Authorization: `Bearer ${token}`}})"
        ".then(answer => answer.status)",
        token,
    )


def _status(response: Any) -> int:
    assert isinstance(response, Response)
    return response.status
