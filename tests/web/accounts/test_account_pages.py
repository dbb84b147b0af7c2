"""Forgotten passwords, registration, invitations and one's own account, as a browser sees them."""

import httpx
import pytest

from support.access import EMAIL, PASSWORD, House, furnish
from support.browser import Browser, WebAccess
from support.post import Post, set_policy
from support.relay import link_in, text_of
from troth.access.accounts.people import Profile
from troth.access.accounts.registrar import NewPerson, Registrar

NEW = "mauve otters juggle"
STRANGER = "new.person@lindenhof.example"
PAGES = ("forgot", "register", "reset", "invitation", "registration", "verify", "password", "email")


def chosen(link: str, password: str = NEW, repeated: str = "") -> dict[str, str]:
    return {"token": link.partition("token=")[2], "password": password, "repeated": repeated or password}


async def ask(browser: Browser, email: str, **headers: str) -> httpx.Response:
    return await browser.post("/account/forgot", {"email": email}, **headers)


async def reset_link(browser: Browser, post: Post) -> str:
    assert (await ask(browser, EMAIL)).status_code == 200
    (message,) = await post.sent()
    return link_in(message)


async def test_a_forgotten_password_from_the_sign_in_page_to_the_next_sign_in(
    browser: Browser, post: Post
) -> None:
    assert 'href="/account/forgot"' in (await browser.get("/login")).text
    link = await reset_link(browser, post)
    page = await browser.get(link)
    assert page.status_code == 200
    assert EMAIL in page.text
    assert 'autocomplete="new-password"' in page.text
    done = await browser.post("/account/reset", chosen(link))
    assert (done.status_code, done.headers["location"]) == (303, "/login?changed=1")
    assert browser.device
    assert "password is changed" in (await browser.get("/login?changed=1")).text
    entered = await browser.post("/login", {"email": EMAIL, "password": NEW, "return_to": "/"})
    assert entered.status_code == 303


async def test_following_a_link_uses_nothing_up(browser: Browser, post: Post) -> None:
    link = await reset_link(browser, post)
    for _ in range(3):
        assert (await browser.get(link)).status_code == 200
        head = await browser.send("HEAD", link, headers={})
        assert head.status_code == 200
    assert (await browser.post("/account/reset", chosen(link))).status_code == 303


async def test_an_unknown_address_gets_the_same_answer(browser: Browser, post: Post) -> None:
    known = await ask(browser, EMAIL)
    unknown = await ask(browser, "nobody@example.org")
    assert known.status_code == unknown.status_code == 200
    assert known.text.replace(EMAIL, "nobody@example.org") == unknown.text
    assert known.headers.items() == unknown.headers.items() or dict(known.headers) | {
        "content-length": ""
    } == dict(unknown.headers) | {"content-length": ""}


async def test_a_known_and_an_unknown_address_cost_the_same_queries(
    web: WebAccess, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    fetchval = web.database.fetchval

    async def counted(query: str, *args: object, idempotent: bool | None = None) -> object:
        asked.append(query)
        return await fetchval(query, *args, idempotent=idempotent)

    await ask(browser, "warm@example.org")
    monkeypatch.setattr(web.database, "fetchval", counted)
    await ask(browser, EMAIL)
    known, asked[:] = list(asked), []
    await ask(browser, "nobody@example.org")
    assert known == asked
    assert len(asked) == 1


@pytest.mark.parametrize("page", ["reset", "invitation", "registration"])
async def test_a_bad_link_says_so_whatever_is_wrong_with_it(browser: Browser, page: str) -> None:
    answers = [
        await browser.get(f"/account/{page}?token={'A' * 43}"),
        await browser.get(f"/account/{page}"),
        await browser.get(f"/account/{page}?token=x%00"),
        await browser.post(f"/account/{page}", chosen("token=" + "A" * 43)),
    ]
    assert {answer.status_code for answer in answers} == {410}
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize("page", ["reset", "verify"])
async def test_a_doubled_parameter_is_refused(browser: Browser, page: str) -> None:
    assert (await browser.get(f"/account/{page}?token=a&token=b")).status_code == 400
    own = {"Origin": browser.origin, "Sec-Fetch-Site": "same-origin"}
    form = {**own, "Content-Type": "application/x-www-form-urlencoded"}
    doubled = await browser.send("POST", f"/account/{page}", headers=form, content="token=a&token=b")
    assert doubled.status_code == 400


@pytest.mark.parametrize("page", PAGES)
async def test_another_site_can_send_none_of_these_forms(browser: Browser, page: str) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {}):
        answer = await browser.send("POST", f"/account/{page}", headers=headers, data={"email": EMAIL})
        assert answer.status_code == 403


@pytest.mark.parametrize("page", PAGES)
async def test_every_page_keeps_to_the_strict_policy(browser: Browser, page: str) -> None:
    answer = await browser.get(f"/account/{page}")
    assert "<script" not in answer.text
    assert "style=" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    if answer.status_code != 303:
        assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_a_link_is_refused_on_another_domain(web: WebAccess, browser: Browser, post: Post) -> None:
    other = await furnish(web)
    link = await reset_link(browser, post)
    theirs = Browser(web, other)
    assert (await theirs.get(link)).status_code == 410
    assert (await theirs.post("/account/reset", chosen(link))).status_code == 410
    await theirs.close()
    assert (await browser.post("/account/reset", chosen(link))).status_code == 303


@pytest.mark.parametrize(
    ("password", "repeated", "said"),
    [
        ("short", "", "8 characters or more"),
        ("Password1!", "", "tried first"),
        ("anna.weber!", "", "made of your name"),
        (NEW, "mauve otters juggled", "differ"),
        ("x" * 200, "", "128 characters at most"),
        ("", "", "8 characters or more"),
    ],
)
async def test_a_refused_password_is_explained_and_the_link_stays_good(
    browser: Browser, post: Post, password: str, repeated: str, said: str
) -> None:
    link = await reset_link(browser, post)
    refused = await browser.post("/account/reset", chosen(link, password, repeated))
    assert refused.status_code == 422
    assert said in refused.text
    assert 'role="alert"' in refused.text
    assert (await browser.post("/account/reset", chosen(link))).status_code == 303


async def test_asking_too_often_from_one_network_is_told_to_wait(browser: Browser) -> None:
    seen = [
        (await ask(browser, f"{number}@example.org", X_Forwarded_For="192.0.2.9")) for number in range(11)
    ]
    assert [answer.status_code for answer in seen] == [200] * 10 + [429]
    assert int(seen[-1].headers["retry-after"]) >= 59


@pytest.mark.parametrize(
    "email", ["", "x", "x@y", "a@b.example\r\nBcc: c@d.example", "x" * 300 + "@y.example"]
)
async def test_what_is_no_address_is_told_so(browser: Browser, email: str) -> None:
    answer = await ask(browser, email)
    assert answer.status_code == 400
    assert "Enter an e-mail address" in answer.text


async def test_without_a_relay_the_pages_say_so_and_the_sign_in_page_offers_nothing(
    web: WebAccess, house: House
) -> None:
    web.mail = False
    browser = Browser(web, house)
    assert "/account/" not in (await browser.get("/login")).text
    for page in ("forgot", "register"):
        answer = await browser.get(f"/account/{page}")
        assert answer.status_code == 404
        assert (await browser.post(f"/account/{page}", {"email": EMAIL, "name": "X"})).status_code == 404
    await browser.close()


async def test_a_stranger_registers(browser: Browser, house: House, post: Post) -> None:
    await set_policy(house, registration="open", email_domains=["lindenhof.example"])
    assert 'href="/account/register"' in (await browser.get("/login")).text
    assert "Only for addresses at lindenhof.example" in (await browser.get("/account/register")).text
    asked = await browser.post("/account/register", {"email": STRANGER, "name": "  New   Person "})
    assert asked.status_code == 200
    (message,) = await post.sent()
    assert "Hello New Person," in text_of(message)
    link = link_in(message)
    assert STRANGER in (await browser.get(link)).text
    done = await browser.post("/account/registration", chosen(link))
    assert done.headers["location"] == "/login?welcome=1"
    entered = await browser.post("/login", {"email": STRANGER, "password": NEW, "return_to": "/"})
    assert entered.status_code == 303


async def test_registering_a_known_address_looks_like_any_other(
    browser: Browser, house: House, post: Post
) -> None:
    await set_policy(house, registration="open")
    known = await browser.post("/account/register", {"email": EMAIL, "name": "X"})
    unknown = await browser.post("/account/register", {"email": STRANGER, "name": "X"})
    assert known.status_code == unknown.status_code == 200
    assert known.text.replace(EMAIL, STRANGER) == unknown.text


@pytest.mark.parametrize("policy", ["closed", "invitation"])
async def test_where_registration_is_closed_nothing_is_ordered(
    browser: Browser, house: House, post: Post, policy: str
) -> None:
    await set_policy(house, registration=policy)
    assert (await browser.get("/account/register")).status_code == 404
    assert (await browser.post("/account/register", {"email": STRANGER, "name": "X"})).status_code == 404
    assert await post.sent() == []


async def test_an_address_of_another_domain_is_not_admitted(browser: Browser, house: House) -> None:
    await set_policy(house, registration="open", email_domains=["seeblick.example"])
    answer = await browser.post("/account/register", {"email": STRANGER, "name": "X"})
    assert answer.status_code == 400
    assert "this domain" in answer.text


async def test_a_person_changes_their_password_and_goes_on_in_a_new_session(
    signed_in: Browser, post: Post
) -> None:
    before = signed_in.cookie
    form = {"current": PASSWORD, "password": NEW, "repeated": NEW}
    answer = await signed_in.post("/account/password", form)
    assert answer.status_code == 200
    assert "password is changed" in answer.text
    assert signed_in.cookie != before
    assert (await signed_in.fetch("/session")).status_code == 200
    held, signed_in.cookie = signed_in.cookie, before
    assert (await signed_in.fetch("/session")).status_code == 401
    signed_in.cookie = held
    assert [message["To"] for message in await post.sent()] == [EMAIL]


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({"current": "wrong", "password": NEW, "repeated": NEW}, 403, "not your current password"),
        ({"current": PASSWORD, "password": "password1", "repeated": "password1"}, 422, "tried first"),
        ({"current": PASSWORD, "password": NEW, "repeated": "x"}, 422, "differ"),
        ({"password": NEW, "repeated": NEW}, 403, "not your current password"),
    ],
)
async def test_a_password_that_is_not_changed_keeps_the_session(
    signed_in: Browser, form: dict[str, str], status: int, said: str
) -> None:
    answer = await signed_in.post("/account/password", form)
    assert answer.status_code == status
    assert said in answer.text
    assert (await signed_in.fetch("/session")).status_code == 200


async def test_who_is_not_signed_in_is_sent_to_sign_in(browser: Browser) -> None:
    for page in ("password", "email"):
        for answer in (
            await browser.get(f"/account/{page}"),
            await browser.post(f"/account/{page}", {"x": "y"}),
        ):
            assert answer.headers["location"] == f"/login?return_to=/account/{page}"


async def test_a_person_changes_their_address(signed_in: Browser, post: Post) -> None:
    form = {"email": STRANGER, "current": PASSWORD}
    assert "on its way" in (await signed_in.post("/account/email", form)).text
    (message,) = await post.sent()
    assert message["To"] == STRANGER
    link = link_in(message)
    assert STRANGER in (await signed_in.get(link)).text
    assert (await signed_in.fetch("/session")).json()["person"]["email"] == EMAIL
    done = await signed_in.post("/account/verify", {"token": link.partition("token=")[2]})
    assert f"{STRANGER} is confirmed" in done.text
    assert (await signed_in.fetch("/session")).json()["person"]["email"] == STRANGER
    assert [notice["To"] for notice in await post.sent()] == [EMAIL]


async def test_changing_the_address_needs_the_password(signed_in: Browser, post: Post) -> None:
    answer = await signed_in.post("/account/email", {"email": STRANGER, "current": "wrong"})
    assert answer.status_code == 403
    assert await post.sent() == []


async def test_a_person_confirms_the_address_that_they_have(signed_in: Browser, post: Post) -> None:
    assert (await signed_in.post("/account/email", {"wish": "confirm"})).status_code == 200
    (message,) = await post.sent()
    assert message["To"] == EMAIL
    token = link_in(message).partition("token=")[2]
    assert (await signed_in.post("/account/verify", {"token": token})).status_code == 200
    assert (await signed_in.post("/account/verify", {"token": token})).status_code == 410


async def test_pages_and_letters_are_german_for_german_browsers(browser: Browser, post: Post) -> None:
    page = await ask(browser, EMAIL, Accept_Language="de")
    assert "Sehen Sie in Ihr Postfach" in page.text
    (message,) = await post.sent()
    assert message["Subject"].startswith("Neues Passwort")


async def test_an_invitation_is_accepted_once_on_its_own_domain_and_nowhere_else(
    web: WebAccess, house: House, browser: Browser, post: Post
) -> None:
    registrar = Registrar(web.owner, web.sealer)
    await registrar.add(house.tenant.id, (NewPerson(profile=Profile(STRANGER, "New Person")),))
    person = await registrar.find(house.tenant.id, STRANGER)
    assert person is not None
    await registrar.order(house.domain, "invitation", person.id, "en")
    link = link_in((await post.sent())[0])
    assert STRANGER in (await browser.get(link)).text
    theirs = Browser(web, await furnish(web))
    assert (await theirs.post("/account/invitation", chosen(link))).status_code == 410
    await theirs.close()
    assert (await browser.post("/account/reset", chosen(link))).status_code == 410
    assert (await browser.post("/account/invitation", chosen(link, "short"))).status_code == 422
    done = await browser.post("/account/invitation", chosen(link))
    assert (done.status_code, done.headers["location"]) == (303, "/login?welcome=1")
    assert (await browser.post("/account/invitation", chosen(link, "another otter"))).status_code == 410
    entered = await browser.post("/login", {"email": STRANGER, "password": NEW, "return_to": "/"})
    assert entered.status_code == 303
