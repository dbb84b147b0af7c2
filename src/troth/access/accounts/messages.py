"""What messages say: text and HTML of one letter, in the domain's branding, without anything that tracks.

No picture is fetched and no link is counted. A letter has one link, or none.
"""

from html import escape

import msgspec

from troth.access.accounts.message_texts import COMMON, LETTERS
from troth.access.tenants import Domain
from troth.core.branding import DEFAULT_COLOUR, darken_until_readable, is_colour

LANGUAGES = ("en", "de")

_FONT = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"


class Written(msgspec.Struct, frozen=True):
    """A letter that is ready: everything but its envelope."""

    subject: str
    text: str
    html: str
    language: str


def write_letter(kind: str, language: str, domain: Domain, *, name: str, link: str = "") -> Written:
    """The letter of this kind. `link` is where its button leads, on the domain itself."""
    column = LANGUAGES.index(language)
    letter, common = LETTERS[kind], {key: texts[column] for key, texts in COMMON.items()}
    brand = _plain(domain.branding.name)
    # A name is what somebody typed, perhaps about somebody else: never so long that it is the message (spam).
    values = {"brand": brand, "domain": domain.name, "name": _plain(name)[:60]}
    subject = letter.subject[column].format(**values)
    paragraphs = [common["greeting"].format(**values), *_filled(letter.body[column], values)]
    closing = [*_filled(letter.closing[column], values), common["automatic"].format(**values)]
    button = letter.button[column] if link else ""
    return Written(
        subject,
        _text(paragraphs, button, link, closing),
        _html(domain, subject, paragraphs, button, link, closing, language),
        language,
    )


def _filled(text: str, values: dict[str, str]) -> list[str]:
    return [part.format(**values) for part in text.split("\n") if part]


def _plain(text: str) -> str:
    """Links are made of what looks like one by mail programs: a name must not bring one along (phishing)."""
    return " ".join(text.split()).replace("://", " ").replace("www.", "www ")


def _text(paragraphs: list[str], button: str, link: str, closing: list[str]) -> str:
    action = [f"{button}:\n{link}"] if link else []
    return "\n\n".join([*paragraphs, *action, *closing]) + "\n"


def _html(
    domain: Domain,
    subject: str,
    paragraphs: list[str],
    button: str,
    link: str,
    closing: list[str],
    language: str,
) -> str:
    colour = domain.branding.colour if is_colour(domain.branding.colour) else DEFAULT_COLOUR
    fill = darken_until_readable(colour)
    body = "".join(f'<p style="margin:0 0 16px">{escape(one)}</p>' for one in paragraphs)
    small = "".join(f'<p style="margin:0 0 8px">{escape(one)}</p>' for one in closing)
    action = (
        f'<p style="margin:24px 0"><a href="{escape(link)}" style="display:inline-block;padding:12px 20px;'
        f'border-radius:8px;background:{fill};color:#ffffff;text-decoration:none;font-weight:600">'
        f"{escape(button)}</a></p>"
        f'<p style="margin:0 0 16px;font-size:13px;word-break:break-all">{escape(link)}</p>'
        if link
        else ""
    )
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(subject)}</title></head>'
        f'<body style="margin:0;padding:24px;{_FONT};font-size:16px;line-height:1.5">'
        f'<div style="max-width:480px;margin:0 auto">'
        f'<p style="margin:0 0 24px;padding-bottom:12px;border-bottom:3px solid {fill};font-size:18px;'
        f'font-weight:600">{escape(_plain(domain.branding.name))}</p>'
        f'{body}{action}<div style="font-size:13px">{small}</div></div></body></html>'
    )
