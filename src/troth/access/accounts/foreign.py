"""Password hashes as other systems export them, read strictly.

What is read here is never stored as it came: `passwords.py` wraps it in PBKDF2, and the next sign-in replaces
it.
"""

import binascii
import re
from collections.abc import Callable, Mapping

import msgspec

from troth.access.accounts.recipes import ARGON2, Recipe, checked, decode

MAX_TEXT = 1024


class Foreign(msgspec.Struct, frozen=True):
    """A recipe and what it made of the person's password."""

    recipe: Recipe
    digest: bytes


def read_foreign(text: str, scheme: str = "", salt: str = "", salt_encoding: str = "text") -> Foreign:
    """A hash as it is exported by other systems. Raises ValueError with the reason.

    `scheme` is needed only for a bare SHA-256, whose text does not say in what order it took salt and
    password: `sha256-salt-first` or `sha256-salt-last`.
    """
    if not text or len(text) > MAX_TEXT or not text.isascii():
        raise ValueError("the hash is missing, too long or not ASCII")
    if scheme in ("sha256-salt-first", "sha256-salt-last"):
        return _bare_sha256(text, scheme, salt, salt_encoding)
    if scheme:
        raise ValueError("scheme is sha256-salt-first or sha256-salt-last, or is left out")
    for begins, read in _READERS.items():
        if text.startswith(begins):
            foreign = read(text)
            return Foreign(checked(foreign.recipe), foreign.digest)
    return _aspnet(text)


def _bare_sha256(text: str, scheme: str, salt: str, encoding: str) -> Foreign:
    raw = {"text": lambda: salt.encode(), "hex": lambda: _unhex(salt), "base64": lambda: _base64(salt)}
    if encoding not in raw:
        raise ValueError("salt_encoding is text, hex or base64")
    digest = _unhex(text) if len(text) == 64 else _base64(text)
    recipe = Recipe(scheme, (), raw[encoding]())
    if not recipe.salt:
        raise ValueError("the salt is missing")
    return Foreign(checked(recipe), _sized(digest, 32))


def _ssha256(text: str) -> Foreign:
    """LDAP's `{SSHA256}`: digest and salt in one."""
    raw = _base64(text.partition("}")[2])
    if len(raw) <= 32:
        raise ValueError("the salt is missing")
    return Foreign(Recipe("sha256-salt-last", (), raw[32:]), raw[:32])


def _django_pbkdf2(text: str) -> Foreign:
    name, rounds, salt, digest = _parts(text, "$", 4)
    made = _base64(digest)
    return Foreign(_pbkdf2(name.removeprefix("pbkdf2_"), rounds, salt.encode(), made), made)


def _passlib_pbkdf2(text: str) -> Foreign:
    _, name, rounds, salt, digest = _parts(text, "$", 5)
    made = _base64(digest.replace(".", "+"))
    function = name.removeprefix("pbkdf2").removeprefix("-") or "sha1"
    return Foreign(_pbkdf2(function, rounds, _base64(salt.replace(".", "+")), made), made)


def _werkzeug_pbkdf2(text: str) -> Foreign:
    method, salt, digest = _parts(text, "$", 3)
    _, function, rounds = _parts(method, ":", 3)
    return Foreign(_pbkdf2(function, rounds, salt.encode(), made := _unhex(digest)), made)


def _werkzeug_scrypt(text: str) -> Foreign:
    method, salt, digest = _parts(text, "$", 3)
    _, cost, block, lanes = _parts(method, ":", 4)
    return _scrypt(_number(cost), block, lanes, salt.encode(), _unhex(digest))


def _django_scrypt(text: str) -> Foreign:
    _, cost, salt, block, lanes, digest = _parts(text, "$", 6)
    return _scrypt(_number(cost), block, lanes, salt.encode(), _base64(digest))


def _passlib_scrypt(text: str) -> Foreign:
    _, _, parameters, salt, digest = _parts(text, "$", 5)
    found = re.fullmatch(r"ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})", parameters, re.ASCII)
    if found is None:
        raise ValueError("these are no parameters of scrypt")
    return _scrypt(1 << int(found[1]), found[2], found[3], _base64(salt), _base64(digest))


def _argon2(text: str) -> Foreign:
    name, version, parameters, salt, digest = _parts(text.removeprefix("argon2").lstrip("$"), "$", 5)
    found = re.fullmatch(r"m=(\d{1,9}),t=(\d{1,6}),p=(\d{1,3})", parameters, re.ASCII)
    if name not in ARGON2 or found is None:
        raise ValueError("these are no parameters of argon2")
    if version != "v=19":
        raise ValueError("argon2 is read in version 19 (1.3) alone")
    made = _base64(digest)
    numbers = (int(found[1]), int(found[2]), int(found[3]), len(made))
    return Foreign(Recipe(name, numbers, _base64(salt)), made)


def _bcrypt(text: str) -> Foreign:
    return _read_bcrypt(text.removeprefix("bcrypt$"), "bcrypt")


def _bcrypt_sha256(text: str) -> Foreign:
    """Django's: bcrypt over the hexadecimal SHA-256 of the password, which cuts nothing off."""
    return _read_bcrypt(text.removeprefix("bcrypt_sha256$"), "bcrypt-sha256")


def _read_bcrypt(text: str, name: str) -> Foreign:
    found = re.fullmatch(r"\$2[aby]\$(\d\d)\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})", text, re.ASCII)
    if found is None:
        raise ValueError("this is no bcrypt hash (2a, 2b or 2y)")
    return Foreign(Recipe(name, (int(found[1]),), found[2].encode()), found[3].encode())


def _aspnet(text: str) -> Foreign:
    """ASP.NET Identity, version 3: a format byte, then big-endian function, rounds, length of the salt."""
    raw = _base64(text)
    functions = {0: "sha1", 1: "sha256", 2: "sha512"}
    size = int.from_bytes(raw[9:13], "big")
    if len(raw) < 13 or raw[0] != 1 or not 8 <= size <= 64 or len(raw) < 13 + size + 16:
        raise ValueError("no known kind of hash")
    function = functions.get(int.from_bytes(raw[1:5], "big"), "")
    made = raw[13 + size :]
    rounds = str(int.from_bytes(raw[5:9], "big"))
    return Foreign(checked(_pbkdf2(function, rounds, raw[13 : 13 + size], made)), made)


def _pbkdf2(function: str, rounds: str, salt: bytes, digest: bytes) -> Recipe:
    return Recipe(f"pbkdf2-{function}", (_number(rounds), len(digest)), salt)


def _scrypt(cost: int, block: str, lanes: str, salt: bytes, digest: bytes) -> Foreign:
    return Foreign(Recipe("scrypt", (cost, _number(block), _number(lanes), len(digest)), salt), digest)


_READERS: Mapping[str, Callable[[str], Foreign]] = {
    "{SSHA256}": _ssha256,
    "pbkdf2_sha": _django_pbkdf2,
    "$pbkdf2": _passlib_pbkdf2,
    "pbkdf2:": _werkzeug_pbkdf2,
    "scrypt:": _werkzeug_scrypt,
    "scrypt$": _django_scrypt,
    "$scrypt$": _passlib_scrypt,
    "argon2$": _argon2,
    "$argon2": _argon2,
    "bcrypt_sha256$": _bcrypt_sha256,
    "bcrypt$": _bcrypt,
    "$2": _bcrypt,
}


def _base64(text: str) -> bytes:
    """Either alphabet, with padding or without."""
    return decode(text.rstrip("=").replace("+", "-").replace("/", "_"))


def _unhex(text: str) -> bytes:
    try:
        return binascii.unhexlify(text)
    except (binascii.Error, ValueError):
        raise ValueError("not hexadecimal") from None


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ValueError("a parameter is no number, or a huge one")
    return int(text)


def _parts(text: str, separator: str, count: int) -> list[str]:
    parts = text.split(separator)
    if len(parts) != count:
        raise ValueError("the parts of the hash are not as many as they should be")
    return parts


def _sized(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise ValueError(f"the hash does not have {size} bytes")
    return value
