"""What pages say, in English and German, and which of the two a browser prefers."""

from collections.abc import Mapping

from troth.access.scopes import ScopeSet
from troth.core.scope import Scope

LANGUAGES = ("en", "de")

TEXTS: dict[str, tuple[str, str]] = {
    "sign_in": ("Sign in", "Anmelden"),
    "sign_in_to": ("to continue to {name}", "um zu {name} zu gelangen"),
    "sign_in_for": ("to connect {client} with {name}", "um {client} mit {name} zu verbinden"),
    "email": ("E-mail address", "E-Mail-Adresse"),
    "password": ("Password", "Passwort"),
    "there_is_a_problem": ("That did not work", "Das hat nicht geklappt"),
    "wrong": (
        "The e-mail address and password do not match. Check both and try again.",
        "E-Mail-Adresse und Passwort passen nicht zusammen. Bitte prüfen Sie beides und versuchen es erneut.",
    ),
    "missing_email": ("Enter your e-mail address.", "Geben Sie Ihre E-Mail-Adresse ein."),
    "missing_password": ("Enter your password.", "Geben Sie Ihr Passwort ein."),
    "busy": (
        "Many people are signing in right now. Wait a moment and try again.",
        "Gerade melden sich viele Menschen an. Bitte warten Sie einen Moment und versuchen es erneut.",
    ),
    "signed_out": ("You are signed out.", "Sie sind abgemeldet."),
    "signed_out_more": (
        "Every access that this session had given is closed.",
        "Alle Zugriffe, die diese Sitzung erlaubt hat, sind geschlossen.",
    ),
    "sign_out": ("Sign out", "Abmelden"),
    "sign_out_question": ("Sign out of {name}?", "Von {name} abmelden?"),
    "sign_out_more": (
        "This ends your session in this browser, and with it the access of every application that you "
        "connected in it.",
        "Damit endet Ihre Sitzung in diesem Browser und mit ihr der Zugriff jeder Anwendung, die Sie darin "
        "verbunden haben.",
    ),
    "stay": ("Stay signed in", "Angemeldet bleiben"),
    "back": ("Back to {name}", "Zurück zu {name}"),
    "allow": ("Allow", "Erlauben"),
    "deny": ("Do not allow", "Nicht erlauben"),
    "connect": ("Connect {client}?", "{client} verbinden?"),
    "signed_in_as": ("You are signed in as {name}.", "Sie sind als {name} angemeldet."),
    "wants": ("{client} would like to:", "{client} möchte:"),
    "leads_to": ("Afterwards you go to {host}.", "Danach geht es weiter zu {host}."),
    "consent_ends": (
        "Access ends when you sign out.",
        "Der Zugriff endet, wenn Sie sich abmelden.",
    ),
    "error": ("Something is not right", "Hier stimmt etwas nicht"),
    "reference": ("Reference: {id}", "Referenz: {id}"),
    "cross_site": (
        "This page was opened in an unusual way. Go back, reload it and try again.",
        "Diese Seite wurde auf ungewöhnlichem Weg geöffnet. Gehen Sie zurück, laden Sie sie neu und "
        "versuchen Sie es erneut.",
    ),
    "bad_request": (
        "The application that sent you here asked for something that cannot be granted. You can go back; "
        "nothing has happened.",
        "Die Anwendung, von der Sie kommen, hat um etwas gebeten, das nicht gewährt werden kann. Sie können "
        "zurückgehen; es ist nichts passiert.",
    ),
    "malformed": (
        "Your browser sent something that cannot be read here. Go back and try again.",
        "Ihr Browser hat etwas gesendet, das sich hier nicht lesen lässt. Gehen Sie zurück und versuchen Sie "
        "es erneut.",
    ),
    "unavailable": (
        "The service cannot answer right now. Please try again in a moment.",
        "Der Dienst kann gerade nicht antworten. Bitte versuchen Sie es gleich noch einmal.",
    ),
    "scope_openid": ("recognise you when you come back", "Sie wiedererkennen, wenn Sie zurückkommen"),
    "scope_profile": ("see your name", "Ihren Namen sehen"),
    "scope_email": ("see your e-mail address", "Ihre E-Mail-Adresse sehen"),
    "scope_create": ("add entries to “{title}”", "Einträge in „{title}“ anlegen"),
    "scope_read": ("see all entries in “{title}”", "alle Einträge in „{title}“ sehen"),
    "scope_update": ("change all entries in “{title}”", "alle Einträge in „{title}“ ändern"),
    "scope_delete": ("delete any entry in “{title}”", "jeden Eintrag in „{title}“ löschen"),
    "scope_create_own": ("add entries of yours to “{title}”", "eigene Einträge in „{title}“ anlegen"),
    "scope_read_own": ("see your own entries in “{title}”", "Ihre eigenen Einträge in „{title}“ sehen"),
    "scope_update_own": ("change your own entries in “{title}”", "Ihre eigenen Einträge in „{title}“ ändern"),
    "scope_delete_own": (
        "delete your own entries in “{title}”",
        "Ihre eigenen Einträge in „{title}“ löschen",
    ),
    "only_fields": ("only: {fields}", "nur: {fields}"),
}
"""Each text in the order of LANGUAGES."""


class Words:
    """The texts of one language. Callable, so that a template says `t('sign_in')`."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._column = LANGUAGES.index(language)

    def __call__(self, key: str, **values: str) -> str:
        """The text with its values put in. Raises KeyError on a text that does not exist."""
        return TEXTS[key][self._column].format(**values)


_WORDS = {language: Words(language) for language in LANGUAGES}


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
    text = t(f"scope_{scope.action}{'_own' if scope.own else ''}", title=title)
    return f"{text} ({t('only_fields', fields=', '.join(scope.fields))})" if scope.fields else text
