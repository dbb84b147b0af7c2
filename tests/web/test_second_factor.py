"""The second factor, step-up and the security page, as a browser sees them."""

import html
import re

import pytest

from support.access import EMAIL, PASSWORD, House, furnish
from support.authenticator import Authenticator
from support.browser import Browser, WebAccess
from support.factors import add_app, code_of, key_in, require_factor
from troth.access.factors.passkeys import SIGN_IN
from troth.access.sessions import TWO_FACTORS


async def password(browser: Browser, return_to: str = "/tickets") -> str:
    form = {"email": EMAIL, "password": PASSWORD, "return_to": return_to}
    response = await browser.post("/login", form)
    assert response.status_code == 303
    return response.headers["location"]


async def second(browser: Browser, way: str, **form: str) -> int:
    return (await browser.post("/login/second", {"way": way, "return_to": "/", **form})).status_code


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found
    return html.unescape(found[1])


def options(page: str, kind: str) -> str:
    found = re.search(rf'data-passkey="{kind}" data-options="([^"]*)"', page)
    assert found
    return html.unescape(found[1])


def device_of(house: House) -> Authenticator:
    return Authenticator(house.domain.issuer, house.domain.name)


async def test_after_the_password_the_code_is_asked_for_and_then_the_browser_is_signed_in(
    browser: Browser, house: House
) -> None:
    key = await add_app(house)
    assert await password(browser) == "/login/second?return_to=/tickets"
    assert browser.cookie == ""
    assert browser.device == ""
    assert (await browser.fetch("/session")).status_code == 401
    page = await browser.get("/login/second?return_to=/tickets")
    assert page.status_code == 200
    response = await browser.post(
        "/login/second", {"way": "app", "code": code_of(house, key), "return_to": "/tickets"}
    )
    assert (response.status_code, response.headers["location"]) == (303, "/tickets")
    assert browser.pending == ""
    assert browser.device
    opened = await house.access.sessions.open(house.domain, browser.cookie)
    assert opened.acr == TWO_FACTORS


async def test_who_has_a_factor_looks_like_anybody_until_the_password_fits(
    browser: Browser, house: House
) -> None:
    form = {"email": EMAIL, "password": "wrong", "return_to": "/"}
    before = await browser.post("/login", form)
    await add_app(house)
    after = await browser.post("/login", form)
    strip = re.compile(r'data-options="[^"]*"')
    assert strip.sub("", before.text) == strip.sub("", after.text)
    assert before.status_code == after.status_code


async def test_a_wrong_code_is_told_and_opens_nothing(browser: Browser, house: House) -> None:
    await add_app(house)
    await password(browser)
    for way, form in (("app", {"code": "12"}), ("recovery", {"code": "x"}), ("passkey", {"answer": "{}"})):
        assert await second(browser, way, **form) == 401
    assert await second(browser, "no such way") == 401
    assert browser.cookie == ""


async def test_without_a_pending_sign_in_the_password_is_asked_for(browser: Browser, house: House) -> None:
    response = await browser.get("/login/second?return_to=/tickets")
    assert response.status_code == 303
    assert response.headers["location"] == "/login?return_to=/tickets&again=1&over=1"
    assert "Please sign in again" in (await browser.get(response.headers["location"])).text
    assert await second(browser, "app", code="123456") == 303
    assert browser.cookie == ""


async def test_another_site_cannot_finish_a_sign_in(browser: Browser, house: House) -> None:
    key = await add_app(house)
    await password(browser)
    for path in ("/login/second", "/login/passkey", "/login/step-up", "/account/security/app"):
        response = await browser.post(
            path, {"way": "app", "code": code_of(house, key)}, Sec_Fetch_Site="cross-site"
        )
        assert response.status_code == 403, path
    assert browser.cookie == ""


async def test_a_passkey_signs_in_without_a_password(browser: Browser, house: House) -> None:
    device = device_of(house)
    browser.cookie = (await house.begin()).token
    page = await browser.get("/account/security")
    made = await browser.post(
        "/account/security/passkeys", {"answer": device.create(options(page.text, "create")), "name": "Key"}
    )
    assert made.text.count("<li><code>") == 10
    browser.cookie = ""
    login = await browser.get("/login?return_to=/tickets")
    answer = device.get(options(login.text, "suggest"))
    response = await browser.post("/login/passkey", {"answer": answer, "return_to": "/tickets"})
    assert response.headers["location"] == "/tickets"
    assert (await house.access.sessions.open(house.domain, browser.cookie)).acr == TWO_FACTORS
    browser.cookie = ""
    again = await browser.post("/login/passkey", {"answer": answer, "return_to": "/tickets"})
    assert again.headers["location"].endswith("&passkey=refused")
    assert browser.cookie == ""


async def test_a_passkey_of_a_disabled_person_opens_nothing(browser: Browser, house: House) -> None:
    device = device_of(house)
    access = house.access
    browser.cookie = (await house.begin()).token
    page = await browser.get("/account/security")
    answer = device.create(options(page.text, "create"))
    await browser.post("/account/security/passkeys", {"answer": answer})
    await access.owner.execute("select troth.set_disabled($1, $2, true)", house.tenant.id, house.person)
    browser.cookie = ""
    asked = await access.passkeys.ask(house.domain, SIGN_IN)
    await browser.post("/login/passkey", {"answer": device.get(asked)})
    assert browser.cookie == ""


async def test_where_a_factor_is_required_it_is_set_up_before_anything_opens(
    browser: Browser, house: House
) -> None:
    await require_factor(house)
    assert await password(browser) == "/login/second?return_to=/tickets"
    page = await browser.get("/login/second")
    assert "<svg" in page.text
    sealed = field(page.text, "setup")
    wrong = await browser.post("/login/second", {"way": "new_app", "setup": sealed, "code": "1"})
    assert wrong.status_code == 401
    assert browser.cookie == ""
    shown = re.search(r"<code>([A-Z2-7 ]+)</code>", wrong.text)
    assert shown
    code = code_of(house, key_in(shown[1]))
    done = await browser.post(
        "/login/second", {"way": "new_app", "setup": field(wrong.text, "setup"), "code": code}
    )
    assert done.text.count("<li><code>") == 10
    assert browser.cookie


async def test_the_key_shown_first_is_the_key_shown_again(browser: Browser, house: House) -> None:
    browser.cookie = (await house.begin()).token
    page = await browser.get("/account/security/app")
    again = await browser.post("/account/security/app", {"setup": field(page.text, "setup"), "code": "000"})
    shown = re.compile(r"<code>([A-Z2-7 ]+)</code>")
    assert shown.findall(page.text) == shown.findall(again.text)


async def test_an_old_sign_in_is_asked_again_before_a_factor_changes(browser: Browser, house: House) -> None:
    browser.cookie = (await house.begin()).token
    house.access.clock.advance(hours=1)
    for path in (
        "/app",
        "/app/remove",
        "/passkeys",
        "/passkeys/rename",
        "/passkeys/remove",
        "/recovery-codes",
    ):
        response = await browser.post(f"/account/security{path}", {"id": str(house.person)})
        assert response.status_code == 303, path
        assert response.headers["location"].startswith("/login/step-up?return_to=/account/security"), path


async def test_the_password_alone_changes_no_factor_of_who_has_one(browser: Browser, house: House) -> None:
    browser.cookie = (await house.begin()).token
    await add_app(house)
    response = await browser.post("/account/security/app/remove", {})
    assert response.headers["location"].startswith("/login/step-up")
    assert (await house.access.factors.show(house.domain, house.person)).any


async def test_step_up_by_password_gives_the_session_another_cookie(browser: Browser, house: House) -> None:
    browser.cookie = before = (await house.begin()).token
    page = await browser.get("/login/step-up?return_to=/account/security")
    assert page.status_code == 200
    wrong = await browser.post("/login/step-up", {"way": "password", "password": "wrong"})
    assert wrong.status_code == 401
    form = {"way": "password", "password": PASSWORD, "return_to": "/account/security"}
    right = await browser.post("/login/step-up", form)
    assert right.headers["location"] == "/account/security"
    assert browser.cookie != before


async def test_step_up_of_who_has_a_factor_takes_that_factor(browser: Browser, house: House) -> None:
    key = await add_app(house)
    browser.cookie = (await house.begin()).token
    refused = await browser.post("/login/step-up", {"way": "password", "password": PASSWORD})
    assert refused.status_code == 401
    raised = await browser.post("/login/step-up", {"way": "app", "code": code_of(house, key)})
    assert raised.status_code == 303
    assert (await house.access.sessions.open(house.domain, browser.cookie)).acr == TWO_FACTORS


async def test_the_last_factor_stays_where_one_is_required(browser: Browser, house: House) -> None:
    key = await add_app(house)
    await require_factor(house)
    await password(browser)
    await second(browser, "app", code=code_of(house, key))
    response = await browser.post("/account/security/app/remove", {})
    assert response.status_code == 409
    assert (await house.access.factors.show(house.domain, house.person)).any


async def test_a_factor_is_removed_and_its_codes_with_it(browser: Browser, house: House) -> None:
    key = await add_app(house)
    await house.access.recovery_codes.renew(house.domain, house.person)
    await password(browser)
    await second(browser, "app", code=code_of(house, key))
    response = await browser.post("/account/security/app/remove", {})
    assert response.headers["location"] == "/account/security?done=removed"
    shown = await house.access.factors.show(house.domain, house.person)
    assert not shown.any
    assert shown.codes == 0


async def test_nobody_renames_or_removes_a_passkey_of_somebody_else(
    web: WebAccess, browser: Browser, house: House
) -> None:
    other = await furnish(web)
    device = device_of(other)
    theirs = Browser(web, other)
    theirs.cookie = (await other.begin()).token
    page = await theirs.get("/account/security")
    answer = device.create(options(page.text, "create"))
    await theirs.post("/account/security/passkeys", {"answer": answer, "name": "Theirs"})
    await theirs.close()
    [passkey] = (await web.factors.show(other.domain, other.person)).passkeys
    browser.cookie = (await house.begin()).token
    for action in ("rename", "remove"):
        form = {"id": str(passkey.id), "name": "Mine"}
        assert (await browser.post(f"/account/security/passkeys/{action}", form)).status_code == 409
    [kept] = (await web.factors.show(other.domain, other.person)).passkeys
    assert kept.name == "Theirs"


@pytest.mark.parametrize("path", ["/login", "/login/step-up", "/account/security"])
async def test_a_page_runs_one_script_of_ours_by_its_whole_address(
    browser: Browser, house: House, path: str
) -> None:
    if path != "/login":
        browser.cookie = (await house.begin()).token
    response = await browser.get(path)
    policy = response.headers["content-security-policy"]
    assert f"script-src {house.domain.issuer}/troth-assets/passkeys.js; " in policy
    assert "unsafe" not in policy
    assert re.findall(r"<script[^>]*>", response.text) == re.findall(
        r'<script src="/troth-assets/passkeys\.js\?v=[0-9a-f]+" defer>', response.text
    )
    assert "style=" not in response.text
    assert (
        (await browser.get("/troth-assets/passkeys.js")).headers["content-type"].startswith("text/javascript")
    )
