"""How other systems turned a password into bytes: PBKDF2, bare salted SHA-256, bcrypt, scrypt, argon2.

A recipe whose parameters ask for endless work or memory is refused, when it is imported and when it is used.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping

import bcrypt
import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.argon2 import Argon2d, Argon2i, Argon2id
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAX_ROUNDS = 5_000_000
MAX_MEMORY = 128 * 1024 * 1024
MAX_ARGON_WORK = 2 * 1024 * 1024
"""KiB times iterations: about three seconds."""
BCRYPT_COSTS = range(4, 15)
BCRYPT_BYTES = 72
"""bcrypt never looked further; implementations of then cut the password, so that is what made the hash."""


class Recipe(msgspec.Struct, frozen=True):
    """How another system turned a password into bytes: `name` and its parameters, without the result.

    Its text holds no `$`, for it becomes one part of a stored hash.
    """

    name: str
    numbers: tuple[int, ...] = ()
    salt: bytes = b""

    def __str__(self) -> str:
        numbers = ",".join(map(str, self.numbers))
        return f"{self.name}:{numbers}:{encode(self.salt)}"

    def derive(self, password: str) -> bytes:
        """The bytes. What was read by `read_recipe` is within the limits of this module."""
        return _DERIVE[self.name](self, password.encode("utf-8", "surrogatepass"))


def read_recipe(text: str) -> Recipe:
    """The recipe of a stored hash. Raises ValueError."""
    name, _, rest = text.partition(":")
    numbers, _, salt = rest.partition(":")
    if name not in _DERIVE or not re.fullmatch(r"(?:\d{1,9}(?:,\d{1,9}){0,4})?", numbers, re.ASCII):
        raise ValueError("not a recipe")
    return checked(Recipe(name, tuple(int(one) for one in numbers.split(",") if one), decode(salt)))


# Limits, asked both when a hash is imported and when a stored one is used -----------------------------------


def checked(recipe: Recipe) -> Recipe:
    """The recipe itself. Raises ValueError when it asks for too much, or for nothing."""
    kind = recipe.name.partition("-")[0] if recipe.name not in ARGON2 else "argon2"
    known = recipe.name in _DERIVE and len(recipe.numbers) == _COUNT[kind]
    if not known or not 1 <= len(recipe.salt) <= 128:
        raise ValueError("no known kind of hash, or its salt is out of range")
    _LIMITS[kind](recipe)
    return recipe


def _limit_pbkdf2(recipe: Recipe) -> None:
    rounds, size = recipe.numbers
    if not 1 <= rounds <= MAX_ROUNDS or not 16 <= size <= 64:
        raise ValueError("PBKDF2 with rounds or a length out of range")


def _limit_bcrypt(recipe: Recipe) -> None:
    if recipe.numbers[0] not in BCRYPT_COSTS or not re.fullmatch(rb"[./A-Za-z0-9]{22}", recipe.salt):
        raise ValueError("bcrypt with a cost or salt out of range")


def _limit_scrypt(recipe: Recipe) -> None:
    cost, block, lanes, size = recipe.numbers
    if cost < 2 or cost & (cost - 1) or not 1 <= block <= 64 or not 1 <= lanes <= 16 or not 16 <= size <= 64:
        raise ValueError("scrypt with parameters out of range")
    if 128 * cost * block > MAX_MEMORY or cost * block * lanes > MAX_MEMORY // 32:
        raise ValueError("scrypt that asks for too much memory or work")


def _limit_argon2(recipe: Recipe) -> None:
    memory, iterations, lanes, size = recipe.numbers
    sound = 1 <= lanes <= 16 and 8 * lanes <= memory and iterations >= 1 and 16 <= size <= 64
    if not sound or len(recipe.salt) < 8:
        raise ValueError("argon2 with parameters out of range")
    if memory * 1024 > MAX_MEMORY or memory * iterations > MAX_ARGON_WORK:
        raise ValueError("argon2 that asks for too much memory or work")


def _no_limit(_: Recipe) -> None:
    """One SHA-256."""


_COUNT = {"sha256": 0, "pbkdf2": 2, "bcrypt": 1, "scrypt": 4, "argon2": 4}
_LIMITS: Mapping[str, Callable[[Recipe], None]] = {
    "sha256": _no_limit,
    "pbkdf2": _limit_pbkdf2,
    "bcrypt": _limit_bcrypt,
    "scrypt": _limit_scrypt,
    "argon2": _limit_argon2,
}


# Computing --------------------------------------------------------------------------------------------------


_FUNCTIONS: Mapping[str, Callable[[], hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha512": hashes.SHA512,
}


def _derive_pbkdf2(recipe: Recipe, password: bytes) -> bytes:
    rounds, size = recipe.numbers
    function = _FUNCTIONS[recipe.name.partition("-")[2]]()
    return PBKDF2HMAC(function, size, recipe.salt, rounds).derive(password)


def _derive_bcrypt(recipe: Recipe, password: bytes) -> bytes:
    if recipe.name == "bcrypt-sha256":
        password = hashlib.sha256(password).hexdigest().encode()
    setting = b"$2b$%02d$%s" % (recipe.numbers[0], recipe.salt)
    return bcrypt.hashpw(password[:BCRYPT_BYTES], setting)[-31:]


def _derive_scrypt(recipe: Recipe, password: bytes) -> bytes:
    cost, block, lanes, size = recipe.numbers
    return Scrypt(recipe.salt, size, cost, block, lanes).derive(password)


def _derive_argon2(recipe: Recipe, password: bytes) -> bytes:
    memory, iterations, lanes, size = recipe.numbers
    kind = ARGON2[recipe.name]
    return kind(salt=recipe.salt, length=size, iterations=iterations, lanes=lanes, memory_cost=memory).derive(
        password
    )


ARGON2 = {"argon2i": Argon2i, "argon2d": Argon2d, "argon2id": Argon2id}
_DERIVE: Mapping[str, Callable[[Recipe, bytes], bytes]] = {
    "sha256-salt-first": lambda recipe, password: hashlib.sha256(recipe.salt + password).digest(),
    "sha256-salt-last": lambda recipe, password: hashlib.sha256(password + recipe.salt).digest(),
    "pbkdf2-sha1": _derive_pbkdf2,
    "pbkdf2-sha256": _derive_pbkdf2,
    "pbkdf2-sha512": _derive_pbkdf2,
    "bcrypt": _derive_bcrypt,
    "bcrypt-sha256": _derive_bcrypt,
    "scrypt": _derive_scrypt,
    "argon2i": _derive_argon2,
    "argon2d": _derive_argon2,
    "argon2id": _derive_argon2,
}


# Texts ----------------------------------------------------------------------------------------------------


def encode(value: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def decode(text: str) -> bytes:
    """Raises ValueError on anything that `encode` does not write."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
