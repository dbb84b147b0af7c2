"""A key of 32 bytes as a person copies it by hand: groups that each show their own typing errors.

    4KX2M-…-9F0TQ      14 groups of five: four characters and one that checks them and their place

The alphabet is Crockford's base 32: no I, L, O or U, and what looks alike is read alike. The first 13 groups
hold the key, the last one the first 20 bits of its SHA-256.
"""

import hashlib
import re
from typing import Final

from troth.core.errors import UsageError
from troth.core.secret import Secret

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
GROUPS: Final = 14

_KEY_BYTES = 32
_DATA = 4
_CHARACTERS = GROUPS * (_DATA + 1)
_READ_ALIKE = str.maketrans("OIL", "011")
_SEPARATORS = re.compile(r"[\s–—-]+")


def write_groups(key: Secret) -> str:
    """The key in two lines of seven groups."""
    digest = hashlib.sha256(key.reveal()).digest()
    number = int.from_bytes(key.reveal(), "big") << 4  # 256 bits fill 13 groups but for four
    digits = [*_digits(number, 13 * _DATA), *_digits(int.from_bytes(digest[:3], "big") >> 4, _DATA)]
    groups = [
        "".join(ALPHABET[digit] for digit in (*group, _check(place, group)))
        for place, group in enumerate(digits[at : at + _DATA] for at in range(0, len(digits), _DATA))
    ]
    half = GROUPS // 2
    return "-".join(groups[:half]) + "\n" + "-".join(groups[half:])


def read_groups(text: str) -> Secret:
    """The key again. Raises UsageError that says which groups are wrong; the error holds none of them."""
    words = [word for word in _SEPARATORS.split(text.strip().upper().translate(_READ_ALIKE)) if word]
    if len("".join(words)) == _CHARACTERS and any(len(word) != _DATA + 1 for word in words):
        whole = "".join(words)  # spaced in a way of one's own
        words = [whole[at : at + _DATA + 1] for at in range(0, _CHARACTERS, _DATA + 1)]
    if len(words) != GROUPS:
        raise UsageError(
            f"A recovery key has {GROUPS} groups of five characters; these are {len(words)}.",
            hint="Copy all groups, both lines.",
        )
    digits: list[int] = []
    wrong: list[int] = []
    for place, word in enumerate(words):
        group = [ALPHABET.find(character) for character in word]
        if len(group) != _DATA + 1 or min(group) < 0 or group[_DATA] != _check(place, group[:_DATA]):
            wrong.append(place + 1)
        digits += group[:_DATA]
    if wrong:
        raise UsageError(_wrong(wrong), hint="Compare with your copy: there is no I, L, O or U in it.")
    number = 0
    for digit in digits[: 13 * _DATA]:
        number = number << 5 | digit
    key = (number >> 4).to_bytes(_KEY_BYTES, "big")
    if write_groups(Secret(key)).replace("\n", "-") != "-".join(words):
        raise UsageError(
            "Each group is right by itself, but together they are no recovery key.",
            hint="Look whether a group comes from another key.",
        )
    return Secret(key)


def _wrong(groups: list[int]) -> str:
    if len(groups) == 1:
        return f"Group {groups[0]} of the recovery key has a typing error."
    return f"Groups {', '.join(map(str, groups))} of the recovery key have typing errors."


def _digits(number: int, count: int) -> list[int]:
    return [number >> 5 * place & 31 for place in reversed(range(count))]


def _check(place: int, group: list[int]) -> int:
    """A sum in GF(32) with a weight of its own for each character, and for the group's place.

    The weights differ and none is zero: one wrong character, two that changed places and two groups that
    changed places are always found, anything else 31 times in 32.
    """
    total = place
    for weight, digit in enumerate(group, start=2):
        total ^= _multiply(weight, digit)
    return total


def _multiply(left: int, right: int) -> int:
    """In GF(2^5) modulo x^5 + x^2 + 1."""
    product = 0
    for bit in range(5):
        if right >> bit & 1:
            product ^= left << bit
    for bit in range(9, 4, -1):
        if product >> bit & 1:
            product ^= 0b100101 << (bit - 5)
    return product
