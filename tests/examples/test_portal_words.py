"""German and English say the same, and the forms ask for what the collections take."""

import json
import re
import string
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from portal import documents
from portal.forms import LONGEST
from portal.words import LANGUAGES, Words, choose_language, load_words
from starlette.types import ASGIApp

from support.portal import NOW, anna_of
from support.portal_api import SCHEMAS

PORTAL = Path(__file__).parents[2] / "examples" / "residents" / "portal"


def read_catalogue(language: str) -> dict[str, str]:
    return json.loads((PORTAL / "words" / f"{language}.json").read_text())


def blanks(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def read_properties(name: str) -> dict[str, Any]:
    return json.loads((SCHEMAS / f"{name}.json").read_text())["properties"]


@pytest.fixture
def english() -> Words:
    return load_words(PORTAL / "words")["en"]


def test_both_languages_say_the_same_things() -> None:
    english, german = (read_catalogue(language) for language in LANGUAGES)
    assert english.keys() == german.keys()
    for key, sentence in english.items():
        assert blanks(sentence) == blanks(german[key]), key


def test_every_sentence_that_a_template_asks_for_exists() -> None:
    catalogue = read_catalogue("en")
    for template in PORTAL.glob("templates/*.html"):
        asked = re.findall(r'words(?:\.count)?\("([a-z.0-9-]+)"[,)]', template.read_text())
        missing = [key for key in asked if key not in catalogue and f"{key}.one" not in catalogue]
        assert not missing, (template.name, missing)


def test_every_choice_has_its_word() -> None:
    catalogue = read_catalogue("de")
    for prefix, options in (
        ("category", documents.CATEGORIES),
        ("urgency", documents.URGENCIES),
        ("status", documents.STATUSES),
        ("step", documents.STATUSES),
        ("kind", documents.KINDS),
        ("board.empty", documents.STATUSES),
    ):
        assert all(f"{prefix}.{option}" in catalogue for option in options)


def test_the_forms_offer_what_the_collections_take() -> None:
    ticket, announcement = read_properties("ticket"), read_properties("announcement")
    assert tuple(ticket["category"]["enum"]) == documents.CATEGORIES
    assert tuple(ticket["urgency"]["enum"]) == documents.URGENCIES
    assert tuple(ticket["status"]["enum"]) == documents.STATUSES
    assert tuple(announcement["category"]["enum"]) == documents.KINDS
    for name, longest in LONGEST.items():
        assert (ticket | announcement)[name]["maxLength"] == longest


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-CH, en;q=0.8", "de"),
        ("fr, de;q=0.3, en;q=0.7", "en"),
        ("en;q=0.2, de;q=0.9", "de"),
        ("fr", "en"),
        ("de;q=0", "en"),
        ("*;q=0.1, DE;q=x", "en"),
        (";;,,q=;de", "en"),
    ],
)
def test_the_language_is_the_one_best_liked(accepted: str, language: str) -> None:
    assert choose_language(accepted) == language


async def test_a_page_is_german_for_who_reads_german(portal: ASGIApp) -> None:
    page = await anna_of(portal, language="de-DE,de;q=0.9,en;q=0.5").get("/tickets")

    assert page.heading == "Meine Meldungen"
    assert '<html lang="de">' in page.source
    assert page.response.headers["content-language"] == "de"
    assert page.response.headers["vary"] == "Accept-Language"


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (datetime(2026, 11, 23, 8, 5, tzinfo=UTC), "today, 9:05"),
        (datetime(2026, 11, 22, 23, 30, tzinfo=UTC), "today, 0:30"),
        (datetime(2026, 11, 22, 12, 0, tzinfo=UTC), "yesterday, 13:00"),
        (datetime(2026, 7, 1, 12, 0, tzinfo=UTC), "1 July, 14:00"),
        (datetime(2025, 12, 31, 22, 59, tzinfo=UTC), "31 December 2025, 23:59"),
    ],
)
def test_moments_are_told_as_people_tell_them(english: Words, moment: datetime, shown: str) -> None:
    assert english.moment(moment, NOW) == shown


async def test_names_arrive_in_any_script(portal: ASGIApp) -> None:
    page = await anna_of(portal, person="Zoë Öztürk 李", brand="Hof & Söhne").get("/")
    assert "Good afternoon, Zoë" in page.text
    assert "Hof & Söhne" in page.text
