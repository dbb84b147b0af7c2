"""An application asks for the language of the pages on the way to it (`ui_locales`)."""

import pytest

from support.access import EMAIL, House
from support.browser import Browser
from support.client import address, hidden


@pytest.mark.parametrize(
    ("wished", "header", "language"),
    [
        ("de", "en", "de"),
        ("de-CH-1996 en", "en", "de"),
        ("fr-CA de", "en", "de"),
        ("en", "de", "en"),
        ("fr", "de", "de"),
        ("../de <de>", "en", "en"),
        ("de" * 2000, "en", "en"),
        (None, "de", "de"),
    ],
)
async def test_a_language_that_is_spoken_here_wins_over_the_browsers(
    browser: Browser, wished: str | None, header: str, language: str
) -> None:
    first = await browser.get(address(ui_locales=wished))
    login = await browser.get(first.headers["location"], accept_language=header)
    assert login.headers["content-language"] == language
    assert f'<html lang="{language}"' in login.text


async def test_the_wish_holds_on_a_page_that_is_shown_again(browser: Browser) -> None:
    login = await browser.get((await browser.get(address(ui_locales="de"))).headers["location"])
    back = hidden(login.text, "return_to").replace("&amp;", "&")
    wrong = {"email": EMAIL, "password": "not this one at all", "return_to": back}
    again = await browser.post("/login", wrong, accept_language="en")
    assert again.headers["content-language"] == "de"


async def test_who_is_signed_in_is_asked_for_consent_in_it(signed_in: Browser) -> None:
    page = await signed_in.get(address(ui_locales="de"), accept_language="en")
    assert (page.status_code, page.headers["content-language"]) == (200, "de")


async def test_another_application_without_a_wish_has_the_browsers_language(browser: Browser) -> None:
    await browser.get(address(ui_locales="de"))
    assert browser.language == "de"
    first = await browser.get(address())
    login = await browser.get(first.headers["location"], accept_language="en")
    assert (browser.language, login.headers["content-language"]) == ("", "en")


async def test_the_issuer_says_which_languages_it_speaks(browser: Browser, house: House) -> None:
    told = (await browser.get("/.well-known/openid-configuration")).json()
    assert told["ui_locales_supported"] == ["en", "de"]
