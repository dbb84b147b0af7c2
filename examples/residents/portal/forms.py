"""What people type: read within bounds, tidied, checked, and kept when it has to be shown again."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl
from uuid import uuid4

from starlette.requests import Request

from .documents import (
    ANSWER_LENGTH,
    BODY_LENGTH,
    CATEGORIES,
    DESCRIPTION_LENGTH,
    KINDS,
    LOCATION_LENGTH,
    STATUSES,
    TITLE_LENGTH,
    URGENCIES,
    parse_day,
)

FORM_BYTES = 128 * 1024
FORM_FIELDS = 32
_KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

Values = dict[str, str]
Check = Callable[[str], str]
"""Looks at one tidied value; the answer is the key of a sentence, empty when all is well."""


class FormRefused(Exception):
    """The body is no form, or larger than any form of ours. `status` is 400, 413 or 415."""

    def __init__(self, status: int) -> None:
        super().__init__(f"The form was refused with {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Form:
    """A form as it is drawn: what was typed, what is wrong with it, and what to say above it.

    `version` is that of the document it changes. `key` goes to the API as the Idempotency-Key. It is made
    when the form is first drawn and kept while the same form is drawn again, so a double click, a reload or
    another try files one document.
    """

    values: Values
    faults: dict[str, str] = field(default_factory=dict[str, str])
    warning: str = ""
    version: int = 0
    key: str = field(default_factory=lambda: str(uuid4()))

    @property
    def troubled(self) -> bool:
        return bool(self.faults or self.warning)


async def read_form(request: Request) -> Values:
    """The fields of an urlencoded body, the last of each name. Raises FormRefused."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/x-www-form-urlencoded":
        raise FormRefused(415)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > FORM_BYTES:
            raise FormRefused(413)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS)
    except ValueError as error:
        raise FormRefused(400) from error
    return {name: _tidy(value) for name, value in pairs}


def pick(values: Mapping[str, str], names: tuple[str, ...]) -> Values:
    """Just the fields a form has, so that nobody adds one of their own (mass assignment)."""
    return {name: values.get(name, "") for name in names}


def accept_key(values: Mapping[str, str]) -> str:
    """The form's own idempotency key; a new one when it was lost or tampered with."""
    key = values.get("key", "")
    return key if _KEY.fullmatch(key) else str(uuid4())


def accept_version(values: Mapping[str, str]) -> int:
    """The version a change was made from; 0 matches nothing, so the API answers that it is stale."""
    version = values.get("version", "")
    return int(version) if version.isascii() and version.isdigit() and len(version) < 16 else 0


def find_faults(values: Values, checks: Mapping[str, Check]) -> dict[str, str]:
    """Sentence keys by field, for those that have a fault, in the order of the form."""
    faults = {name: check(values.get(name, "")) for name, check in checks.items()}
    return {name: fault for name, fault in faults.items() if fault}


def _needed(longest: int, *, shortest: int = 1) -> Check:
    def check(value: str) -> str:
        if not value:
            return "missing"
        if len(value) < shortest:
            return "short"
        return "long" if len(value) > longest else ""

    return check


def _optional(longest: int) -> Check:
    return lambda value: "long" if len(value) > longest else ""


def _choice(known: tuple[str, ...]) -> Check:
    return lambda value: "" if value in known else "missing"


def _day(value: str) -> str:
    return "" if not value or parse_day(value) else "day"


TICKET_CHECKS: Mapping[str, Check] = {
    "category": _choice(CATEGORIES),
    "title": _needed(TITLE_LENGTH, shortest=3),
    "location": _needed(LOCATION_LENGTH),
    "description": _optional(DESCRIPTION_LENGTH),
    "urgency": _choice(URGENCIES),
}
ANNOUNCEMENT_CHECKS: Mapping[str, Check] = {
    "category": _choice(KINDS),
    "title": _needed(TITLE_LENGTH, shortest=3),
    "body": _needed(BODY_LENGTH),
    "valid_until": _day,
}
PROGRESS_CHECKS: Mapping[str, Check] = {"status": _choice(STATUSES), "answer": _optional(ANSWER_LENGTH)}

LONGEST = {
    "title": TITLE_LENGTH,
    "location": LOCATION_LENGTH,
    "description": DESCRIPTION_LENGTH,
    "body": BODY_LENGTH,
    "answer": ANSWER_LENGTH,
}


def _tidy(value: str) -> str:
    """Line ends as one character, no control characters, no blanks around it."""
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    return _UNPRINTABLE.sub("", value).strip()
