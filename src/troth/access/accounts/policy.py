"""Which passwords are accepted: 8 to 128 characters of any kind, none that an attacker tries first.

There are no rules of composition (NIST SP 800-63B section 3.1.1.2): they make passwords worse. Refused are
the common ones, what is made of the person's or the company's own names, and those of known breaches when the
operator supplies their hashes. Nobody elsewhere is asked.
"""

import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from zxcvbn.frequency_lists import FREQUENCY_LISTS

from troth.access.errors import PasswordNotAccepted

LEAST = 8
MOST = 128
"""Characters, counted after NFKC; a longer one is refused before any work."""

_OWN_WORD = 4
"""Shorter parts of names occur in anything."""

_AROUND = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_WORD = re.compile(r"[^\W\d_]+")
_VARIETY = 4
"""Different characters; fewer are a key held down."""

_LEET = str.maketrans("013457@$!", "oieastasi")
_WORDS = 5000
_LINE = 128
_HASH = 40


class PasswordPolicy:
    """Judges passwords as they are chosen; one that was accepted once stays good."""

    def __init__(self, breached: "BreachedPasswords | None" = None) -> None:
        self._breached = breached

    def check(self, password: str, about: Iterable[str] = ()) -> None:
        """Raises PasswordNotAccepted with the reason: too_short, too_long, common, personal or breached.

        `about` are the names of person, company and domain, and the e-mail address.
        """
        plain = unicodedata.normalize("NFKC", password)
        if len(plain) < LEAST:
            raise PasswordNotAccepted("too_short")
        if len(plain) > MOST:
            raise PasswordNotAccepted("too_long")
        folded = plain.casefold()
        if _is_common(folded):
            raise PasswordNotAccepted("common")
        if _is_about(folded, about):
            raise PasswordNotAccepted("personal")
        if self._breached is not None and self._breached.holds(password):
            raise PasswordNotAccepted("breached")


class BreachedPasswords:
    """A file of SHA-1 hashes, sorted, one a line, as Have I Been Pwned offers it: `HASH` or `HASH:count`.

    It has tens of gigabytes: it is searched where it lies, about 35 short reads each time.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def holds(self, password: str) -> bool:
        """Whether the password is in it."""
        # The list's own function, not ours: nothing is protected by it.
        wanted = hashlib.sha1(password.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
        wanted = wanted.upper()
        with self._file.open("rb") as lines:
            low, high = 0, lines.seek(0, 2)
            while low < high:
                middle = (low + high) // 2
                found = _line_from(lines, middle)
                if found and found < wanted:
                    low = middle + 1
                else:
                    high = middle
            return _line_from(lines, low) == wanted


def _line_from(lines: BinaryIO, offset: int) -> str:
    """The hash of the first line that begins at `offset` or later; empty at the end of the file."""
    lines.seek(max(0, offset - 1))
    if offset:
        lines.readline(_LINE)
    return lines.readline(_LINE)[:_HASH].decode("ascii", "replace").upper()


@functools.cache
def _common() -> frozenset[str]:
    """The 30,000 most used passwords of zxcvbn's lists (MIT licence), and its most used words and names."""
    words = (
        word for names in FREQUENCY_LISTS.values() for word in list(names)[:_WORDS] if len(word) > _OWN_WORD
    )
    return frozenset(FREQUENCY_LISTS["passwords"]) | frozenset(words)


def _is_common(folded: str) -> bool:
    """Whether it is a common one, one with digits and signs around it, one repeated, or a key held down."""
    core = _AROUND.sub("", folded)
    unit = _shortest_unit(folded)
    return len(set(folded)) < _VARIETY or bool({folded, core, core.translate(_LEET), unit} & _common())


def _shortest_unit(text: str) -> str:
    """`abc` of `abcabcabc`."""
    return text[: (text + text).index(text, 1)]


def _is_about(folded: str, about: Iterable[str]) -> bool:
    """Whether little is left of it without the words that anybody knows who knows the person."""
    rest = folded
    words = {word for text in about for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold())}
    for word in sorted(words, key=len, reverse=True):
        if len(word) >= _OWN_WORD:
            rest = rest.replace(word, "")
    return rest != folded and len(_AROUND.sub("", rest)) < _OWN_WORD
