"""Two languages, complete in both."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.access.scopes import scope_set
from troth.core.scope import admin_scopes
from troth.web.catalogue import LANGUAGES, sentences, words_for
from troth.web.pages import HERE
from troth.web.texts import TEXTS


def test_both_languages_ask_for_the_same_values() -> None:
    for key, texts in TEXTS.items():
        assert len(texts) == len(LANGUAGES)
        names = [{field for _, field, _, _ in string.Formatter().parse(text) if field} for text in texts]
        assert names[0] == names[1], key


def test_every_text_of_a_template_exists_and_none_is_left_over() -> None:
    programs = [path for path in HERE.rglob("*.py") if path.parent.name != "texts"]
    code = "".join(path.read_text() for path in (*HERE.glob("templates/*.html"), *programs))
    used = set(re.findall(r"\bt\([\"']([a-z_]+)[\"'](?! ~)", code))
    assert used <= set(TEXTS)
    named = used | {name for name in TEXTS if f'"{name}"' in code.replace(f'"{name}": (', "")}
    # Some are chosen by what happened: done_ended, password_common.
    named |= {name for name in TEXTS if name.startswith(("done_", "kept_", "device_denied", "password_"))}
    assert {name for name in set(TEXTS) - named if not name.startswith("scope_")} == set()


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-CH,de;q=0.9,en;q=0.8", "de"),
        ("en;q=0.3,de;q=0.7", "de"),
        ("fr-FR,fr;q=0.9", "en"),
        ("de;q=0", "en"),
        ("de;q=x", "en"),
        ("DE", "de"),
    ],
)
def test_the_browsers_wish_counts(header: str, language: str) -> None:
    assert words_for(header).language == language


@given(st.text())
def test_any_header_leads_to_a_language(header: str) -> None:
    assert words_for(header).language in LANGUAGES


def test_a_scope_is_a_sentence() -> None:
    scopes = scope_set(["openid", "tickets:read:own", "tickets:update:own:text,title", "news:delete"])
    assert sentences(scopes, {"tickets": "Tickets"}, words_for("en")) == [
        "recognise you when you come back",
        "delete any entry in “news”",
        "see your own entries in “Tickets”",
        "change your own entries in “Tickets” (only: text, title)",
    ]
    assert sentences(scopes, {"tickets": "Meldungen"}, words_for("de"))[2] == (
        "Ihre eigenen Einträge in „Meldungen“ sehen"
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_scope_of_administration_has_a_sentence_of_its_own(language: str) -> None:
    said = [sentences(scope_set([scope]), {}, words_for(language))[0] for scope in admin_scopes()]
    assert len(set(said)) == len(said)
    assert all("admin." not in sentence for sentence in said)
