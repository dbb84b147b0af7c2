"""What people are told by mail without having asked for it."""

import html
import re

import pytest

from support.access import EMAIL, PASSWORD, House, furnish
from support.browser import Browser, WebAccess
from support.client import hidden
from support.factors import add_app, code_of, half_signed_in, key_in
from support.post import Post
from support.relay import text_of
from troth.access.accounts.notices import Notices
from troth.access.sessions import TWO_FACTORS


async def subjects(post: Post) -> list[str]:
    return [message["subject"] for message in await post.sent()]


async def sign_in(browser: Browser, **headers: str) -> None:
    form = {"email": EMAIL, "password": PASSWORD, "return_to": "/"}
    assert (await browser.post("/login", form, **headers)).status_code == 303


async def test_a_sign_in_from_a_new_browser_is_told_and_from_a_known_one_is_not(
    browser: Browser, post: Post
) -> None:
    await sign_in(browser, Accept_Language="de")
    (message,) = await post.sent()
    assert message["subject"].startswith("Eine neue Anmeldung bei ")
    assert message["to"] == EMAIL
    assert "/account/sessions" in text_of(message)
    browser.cookie = ""
    await sign_in(browser)
    assert await subjects(post) == []


async def test_a_wrong_password_tells_nobody(browser: Browser, post: Post) -> None:
    await browser.post("/login", {"email": EMAIL, "password": "wrong", "return_to": "/"})
    assert await subjects(post) == []


async def test_a_factor_that_is_added_and_removed_is_told(browser: Browser, house: House, post: Post) -> None:
    browser.cookie = (await house.begin()).token
    page = (await browser.get("/account/security/app")).text
    shown = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
    assert shown
    form = {"setup": html.unescape(hidden(page, "setup")), "code": code_of(house, key_in(shown[1]))}
    assert (await browser.post("/account/security/app", {**form, "code": "1"})).status_code == 401
    assert await subjects(post) == []
    assert (await browser.post("/account/security/app", form)).status_code == 200
    (added,) = await subjects(post)
    assert added.startswith("A new way to prove that it is you")
    begun = await house.access.sessions.begin(house.domain, house.person, amr=("pwd", "otp"))
    browser.cookie = begun.token
    await browser.post("/account/security/app/remove", {})
    (removed,) = await subjects(post)
    assert "is protected by less" in removed


async def test_a_recovery_code_that_is_used_is_told(browser: Browser, house: House, post: Post) -> None:
    await add_app(house)
    (code, *_) = await house.access.recovery_codes.renew(house.domain, house.person)
    browser.pending = await half_signed_in(house)
    form = {"way": "recovery", "return_to": "/"}
    await browser.post("/login/second", {**form, "code": "x"})
    assert await subjects(post) == []
    await browser.post("/login/second", {**form, "code": code})
    told = sorted(await subjects(post))
    assert [one.split(" at ")[0] for one in told] == ["A new sign-in", "A recovery code was used"]


async def test_a_factor_set_up_on_the_way_to_a_client_is_told(
    browser: Browser, house: House, post: Post
) -> None:
    browser.cookie = (await house.begin()).token
    page = (await browser.get(f"/login/step-up?return_to=/&acr={TWO_FACTORS}")).text
    shown = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
    assert shown
    form = {"setup": html.unescape(hidden(page, "setup")), "code": code_of(house, key_in(shown[1]))}
    await browser.post("/login/step-up", {**form, "way": "new_app", "return_to": "/", "acr": TWO_FACTORS})
    (told,) = await subjects(post)
    assert told.startswith("A new way to prove that it is you")


async def test_where_no_messages_are_sent_none_is_ordered(house: House, post: Post) -> None:
    notices = Notices(house.access.database, mail=False)
    await notices.tell(house.domain, house.person, "new_device", language="en")
    assert await subjects(post) == []


async def test_nobody_of_another_tenant_is_told(web: WebAccess, house: House, post: Post) -> None:
    other = await furnish(web)
    await web.notices.tell(house.domain, other.person, "new_device", language="en")
    assert await subjects(post) == []


async def test_an_instance_orders_no_other_notice(web: WebAccess, house: House) -> None:
    with pytest.raises(Exception, match="row-level security"):
        await web.database.execute(
            "select troth.tell_person($1, $2, 'invitation', 'en', gen_random_uuid())",
            house.domain.name,
            house.person,
        )
