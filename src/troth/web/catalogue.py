"""What pages say, in English and German, and which of the two a browser prefers."""

from collections.abc import Mapping

from troth.access.scopes import ScopeSet
from troth.core.scope import ADMIN, Scope
from troth.web.texts import TEXTS

LANGUAGES = ("en", "de")


class Words:
    """The texts of one language. Callable, so that a template says `t('sign_in')`."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._column = LANGUAGES.index(language)

    def __call__(self, key: str, **values: str) -> str:
        """The text with its values put in. Raises KeyError on a text that does not exist."""
        return TEXTS[key][self._column].format(**values)


_WORDS = {language: Words(language) for language in LANGUAGES}


def words_in(language: str) -> Words:
    """The texts of one of `LANGUAGES`."""
    return _WORDS[language]


def words_for(accept_language: str) -> Words:
    """The best of our languages for an Accept-Language header (RFC 9110 section 12.5.4), else English."""
    best, weight = LANGUAGES[0], 0.0
    for item in accept_language[:500].split(","):
        tag, _, quality = item.strip().partition(";q=")
        language, value = tag.partition("-")[0].lower(), _weight(quality)
        if language in LANGUAGES and value > weight:
            best, weight = language, value
    return _WORDS[best]


def _weight(quality: str) -> float:
    try:
        return float(quality) if quality else 1.0
    except ValueError:
        return 0.0


def sentences(scopes: ScopeSet, titles: Mapping[str, str], t: Words) -> list[str]:
    """What a consent page says: one sentence for each scope."""
    about_you = [t(f"scope_{name}") for name in scopes.identity]
    return about_you + [
        _sentence(scope, titles.get(scope.collection) or scope.collection, t) for scope in scopes.data
    ]


def _sentence(scope: Scope, title: str, t: Words) -> str:
    if scope.administrative:
        area = t(f"scope_area_{scope.collection.removeprefix(ADMIN)}")
        return t(f"scope_admin_{scope.action}", area=area)
    text = t(f"scope_{scope.action}{'_own' if scope.own else ''}", title=title)
    return f"{text} ({t('only_fields', fields=', '.join(scope.fields))})" if scope.fields else text
