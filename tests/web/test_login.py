"""Signing in and out, as a browser sees it."""

import re

import pytest

from support.access import EMAIL, PASSWORD, House, furnish
from support.browser import Browser, WebAccess
from troth.hosting.edge_routes import DEFAULTS

_CHALLENGE = re.compile(r'data-options="[^"]*"')
"""What a passkey is asked, different for each page."""


async def sign_in(browser: Browser, **form: str) -> str:
    response = await browser.post("/login", {"email": EMAIL, "password": PASSWORD, "return_to": "/", **form})
    assert response.status_code == 303
    return response.headers["location"]


async def test_the_page_has_nothing_inline_and_a_policy_that_allows_nothing_inline(browser: Browser) -> None:
    response = await browser.get("/login?return_to=/tickets%3Fopen")
    assert response.status_code == 200
    assert "<script>" not in response.text
    assert "style=" not in response.text
    assert 'value="/tickets?open"' in response.text
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/login", "/troth-assets/brand.css", "/troth-assets/passkeys.js"])
async def test_what_has_a_policy_says_all_that_the_edge_says_for_others(browser: Browser, path: str) -> None:
    said = (await browser.get(path)).headers
    assert "content-security-policy" in said
    assert [name for name in DEFAULTS if name.lower() not in said] == []


async def test_a_password_is_masked_and_may_be_pasted(browser: Browser) -> None:
    page = (await browser.get("/login")).text
    (field,) = re.findall(r"<input[^>]*name=\"password\"[^>]*>", page)
    assert 'type="password"' in field
    assert 'autocomplete="current-password"' in field
    assert "paste" not in page


async def test_a_person_signs_in_and_returns_to_where_they_were_going(browser: Browser) -> None:
    assert await sign_in(browser, return_to="/tickets?open=1") == "/tickets?open=1"
    assert (await browser.fetch("/session")).json()["person"]["email"] == EMAIL


async def test_the_cookie_has_every_attribute_that_protects_it(browser: Browser) -> None:
    await sign_in(browser)
    assert browser.set_cookie.startswith(f"__Host-troth={browser.cookie};")
    attributes = {part.strip().lower() for part in browser.set_cookie.split(";")[1:]}
    assert attributes == {"httponly", "path=/", "samesite=lax", "secure"}
    assert len(browser.cookie) == 43


async def test_the_address_may_be_written_in_another_case(browser: Browser) -> None:
    await sign_in(browser, email=f"  {EMAIL.upper()} ")


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example/",
        "https://evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "evil",
        "/" + "a" * 9000,
    ],
)
async def test_nobody_is_sent_to_another_origin(browser: Browser, target: str) -> None:
    assert await sign_in(browser, return_to=target) == "/"


async def test_every_failure_looks_the_same(web: WebAccess, house: House, browser: Browser) -> None:
    wrong = await browser.post("/login", {"email": EMAIL, "password": "not it", "return_to": "/"})
    unknown = await browser.post("/login", {"email": "x" + EMAIL[1:], "password": "not it", "return_to": "/"})
    async with web.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute("update troth.person set disabled = true where id = $1", house.person)
    disabled = await browser.post("/login", {"email": EMAIL, "password": PASSWORD, "return_to": "/"})
    assert wrong.status_code == unknown.status_code == disabled.status_code == 401
    pages = [_CHALLENGE.sub("", one.text) for one in (wrong, unknown, disabled)]
    assert pages[0] == pages[2] == pages[1].replace("x" + EMAIL[1:], EMAIL)
    assert 'role="alert"' in wrong.text
    assert not browser.cookie
    assert await web.events(house.domain.name) == ["sign_in.failed"] * 3


async def test_what_was_typed_is_never_markup(browser: Browser) -> None:
    response = await browser.post("/login", {"email": '"><b>x', "password": "y", "return_to": '/"><b>'})
    assert "<b>" not in response.text


async def test_missing_fields_are_named(browser: Browser) -> None:
    response = await browser.post("/login", {"email": "", "password": ""})
    assert response.status_code == 400
    assert 'href="#email"' in response.text
    assert 'href="#password"' in response.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {},
    ],
)
async def test_another_site_cannot_sign_anybody_in(browser: Browser, headers: dict[str, str]) -> None:
    form = {"email": EMAIL, "password": PASSWORD, "return_to": "/"}
    response = await browser.send("POST", "/login", headers=headers, data=form)
    assert response.status_code == 403
    assert not browser.cookie


async def test_signing_in_again_ends_the_earlier_session(browser: Browser) -> None:
    await sign_in(browser)
    first = browser.cookie
    await sign_in(browser)
    assert browser.cookie != first
    browser.cookie = first
    assert (await browser.fetch("/session")).status_code == 401


async def test_a_browser_that_is_signed_in_goes_on(browser: Browser) -> None:
    await sign_in(browser)
    response = await browser.get("/login?return_to=/tickets")
    assert (response.status_code, response.headers["location"]) == (303, "/tickets")


async def test_a_link_signs_nobody_out(browser: Browser) -> None:
    await sign_in(browser)
    page = await browser.get("/logout")
    assert page.status_code == 200
    assert "Anna" in page.text
    assert (await browser.fetch("/session")).status_code == 200


async def test_another_site_signs_nobody_out(browser: Browser) -> None:
    await sign_in(browser)
    kept = browser.cookie
    response = await browser.post("/logout", {}, Sec_Fetch_Site="cross-site", Origin="https://evil.example")
    assert response.status_code == 403
    assert browser.cookie == kept


async def test_signing_out_ends_the_session_and_takes_the_cookie(browser: Browser) -> None:
    await sign_in(browser)
    held = browser.cookie
    response = await browser.post("/logout", {})
    assert response.status_code == 303
    assert not browser.cookie
    browser.cookie = held
    assert (await browser.fetch("/session")).status_code == 401


async def test_signing_out_without_a_session_is_no_error(browser: Browser) -> None:
    assert (await browser.post("/logout", {})).status_code == 303
    browser.cookie = "A" * 43
    assert (await browser.post("/logout", {})).status_code == 303


async def test_pages_speak_the_browsers_language(browser: Browser) -> None:
    german = await browser.get("/login", Accept_Language="de-AT,de;q=0.9,en;q=0.5")
    english = await browser.get("/login", Accept_Language="fr,en;q=0.2")
    assert '<html lang="de">' in german.text
    assert "Anmelden" in german.text
    assert '<html lang="en">' in english.text


async def test_each_domain_has_its_own_colours(web: WebAccess, house: House, browser: Browser) -> None:
    other = await furnish(web)
    await web.owner.execute(
        "update troth.domain set branding = $2 where name = $1",
        other.domain.name,
        '{"name": "Seeblick", "colour": "#7a1fa2"}',
    )
    web.clock.advance(seconds=11)
    theirs = Browser(web, other)
    assert "#7a1fa2" in (await theirs.get("/troth-assets/brand.css")).text
    assert "#1f4e79" in (await browser.get("/troth-assets/brand.css")).text
    assert "Seeblick" in (await theirs.get("/login")).text
    await theirs.close()


async def test_more_sign_ins_than_fit_are_told_to_wait(web: WebAccess, browser: Browser) -> None:
    web.passwords.close()
    response = await browser.post("/login", {"email": EMAIL, "password": PASSWORD})
    assert response.status_code == 429
    assert response.headers["retry-after"] == "2"
    assert 'role="alert"' in response.text


async def test_doubled_fields_and_foreign_content_are_refused(browser: Browser) -> None:
    own = {"Origin": browser.origin, "Sec-Fetch-Site": "same-origin"}
    form = {**own, "Content-Type": "application/x-www-form-urlencoded"}
    doubled = await browser.send("POST", "/login", headers=form, content="email=a&email=b&password=c")
    assert doubled.status_code == 400
    as_json = await browser.send("POST", "/login", headers=own, json={"email": EMAIL, "password": PASSWORD})
    assert as_json.status_code == 415
    large = await browser.send("POST", "/login", headers=form, content="a=" + "b" * 70_000)
    assert large.status_code == 413


async def test_an_unknown_host_is_nobodys(browser: Browser) -> None:
    response = await browser.send("GET", "/login", headers={"Host": "unknown.example"})
    assert response.status_code == 404


async def test_a_browser_that_was_signed_in_signs_in_while_somebody_guesses(browser: Browser) -> None:
    await sign_in(browser)
    form = {"email": EMAIL, "password": "not it", "return_to": "/"}
    device, browser.device = browser.device, ""
    guesses = [await browser.post("/login", form, X_Forwarded_For=f"203.0.113.{n}") for n in range(12)]
    guess, browser.device = guesses[-1], device
    assert guess.status_code == 429
    assert int(guess.headers["retry-after"]) >= 1
    assert "too many tries" in guess.text
    await sign_in(browser)


async def test_too_many_tries_look_the_same_for_an_unknown_address(browser: Browser) -> None:
    seen: list[list[int]] = []
    for email in (EMAIL, "nobody@lindenhof.example"):
        form = {"email": email, "password": "not it", "return_to": "/"}
        answers = [await browser.post("/login", form, X_Forwarded_For=f"2001:db8:{n}::1") for n in range(12)]
        seen.append([answer.status_code for answer in answers])
    assert seen[0] == seen[1] == [401] * 10 + [429] * 2


async def test_failing_sets_no_cookie_of_a_device(browser: Browser) -> None:
    await browser.post("/login", {"email": EMAIL, "password": "not it", "return_to": "/"})
    assert not browser.device
    await sign_in(browser)
    assert browser.device
