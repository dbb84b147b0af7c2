"""Passwords as PBKDF2-HMAC-SHA-256 with a salt of their own: `pbkdf2-sha256$600000$salt$hash`.

Hashing takes about a tenth of a second of a processor by intention, in a pool of its own (`pool.py`).

A hash that another system made is wrapped: PBKDF2 is computed over its result, and how to get that result
from the password stands as one more part, `pbkdf2-sha256$600000$salt$recipe$hash`. So nothing weaker than
PBKDF2 is ever stored, and the first sign-in, which brings the password, takes the wrapping off.
"""

import os
import secrets
import unicodedata

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from troth.access.accounts.foreign import Foreign
from troth.access.accounts.pool import HashingPool, Turn
from troth.access.accounts.recipes import Recipe, decode, encode, read_recipe
from troth.access.errors import WrongPassword
from troth.core.secret import equal

SCHEME = "pbkdf2-sha256"
ROUNDS = 600_000
"""OWASP's recommendation for PBKDF2-HMAC-SHA-256."""

SALT_BYTES = 16
HASH_BYTES = 32
MAX_ROUNDS = 10_000_000
"""A stored row that asks for more is damaged; obeying it would stop the pool for minutes."""


class PasswordHash(msgspec.Struct, frozen=True):
    """One stored hash, taken apart. `wraps` is how another system's hash is made, which lies inside."""

    rounds: int
    salt: bytes
    hash: bytes
    wraps: Recipe | None = None

    def __str__(self) -> str:
        inner = (str(self.wraps),) if self.wraps else ()
        return "$".join((SCHEME, str(self.rounds), encode(self.salt), *inner, encode(self.hash)))

    def fits(self, password: str) -> bool:
        """Whether this password made it; takes its time by intention."""
        inner = self.wraps.derive(password) if self.wraps else _normal(password)
        return equal(_derive(inner, self.salt, self.rounds), self.hash)


def parse_password_hash(stored: str) -> PasswordHash:
    """Read a stored hash. Raises ValueError when it is not one of ours."""
    scheme, rounds, salt, *wraps, digest = (*stored.split("$"), "", "", "")[: max(4, stored.count("$") + 1)]
    if stored.count("$") not in (3, 4) or scheme != SCHEME or not (rounds.isascii() and rounds.isdecimal()):
        raise ValueError("not a pbkdf2-sha256 hash")
    recipe = read_recipe(wraps[0]) if wraps else None
    parsed = PasswordHash(int(rounds[:9]), decode(salt), decode(digest), recipe)
    if not 1 <= parsed.rounds <= MAX_ROUNDS or len(parsed.hash) != HASH_BYTES or not parsed.salt:
        raise ValueError("rounds, salt or hash are out of range")
    return parsed


def needs_upgrade(stored: str) -> bool:
    """Whether a hash that was just verified should be made anew with today's parameters."""
    parsed = parse_password_hash(stored)
    return parsed.wraps is not None or parsed.rounds < ROUNDS or len(parsed.salt) < SALT_BYTES


def new_password() -> str:
    """A random password of 120 bits in groups that can be read aloud and typed."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(6)) for _ in range(4))


class Passwords:
    """Hashes and verifies. `threads` work at once, `waiting` more may queue, the next has to come back."""

    def __init__(self, *, threads: int = 2, waiting: int = 32, rounds: int = ROUNDS) -> None:
        self._rounds = rounds
        self._pool = HashingPool(threads=threads, waiting=waiting)
        # Nobody knows a password for this: it is what an unknown account is checked against.
        self._nobody = PasswordHash(rounds, os.urandom(SALT_BYTES), os.urandom(HASH_BYTES))

    async def hash(self, password: str, turn: Turn = Turn.KNOWN) -> str:
        """A new hash with a salt of its own. Raises TooMany when the queue is full."""
        return await self._make(_normal(password), None, turn)

    async def wrap(self, foreign: Foreign) -> str:
        """A hash over what another system stored, behind everybody who is waiting to sign in."""
        return await self._make(foreign.digest, foreign.recipe, Turn.BACKGROUND)

    async def verify(
        self, password: str, stored: str | None, *, nobody: bool = False, turn: Turn = Turn.STRANGER
    ) -> None:
        """Raises WrongPassword unless `password` made `stored`, and TooMany when the queue is full.

        With `nobody` it is somebody else's hash, that an unknown account is checked against so that the work
        is the same; then no password fits.
        """
        record = _record_or(stored, self._nobody)
        fits = await self._pool.run(lambda: record.fits(password), turn)
        if not fits or nobody or record is self._nobody:
            raise WrongPassword

    def require_room(self, turn: Turn = Turn.STRANGER) -> None:
        """Raises TooMany when the queue is full: asked before any other work is done for a sign-in, so that
        a flood costs nothing but this."""
        self._pool.require_room(turn)

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        self._pool.close()

    async def _make(self, secret: bytes, wraps: Recipe | None, turn: Turn) -> str:
        salt = os.urandom(SALT_BYTES)
        digest = await self._pool.run(lambda: _derive(secret, salt, self._rounds), turn)
        return str(PasswordHash(self._rounds, salt, digest, wraps))


def _normal(password: str) -> bytes:
    """One spelling for one password, however a keyboard composes its characters (NFKC)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _derive(secret: bytes, salt: bytes, rounds: int) -> bytes:
    """`cryptography` releases the interpreter lock during this."""
    return PBKDF2HMAC(hashes.SHA256(), HASH_BYTES, salt, rounds).derive(secret)


def _record_or(stored: str | None, nobody: PasswordHash) -> PasswordHash:
    if stored is None:
        return nobody
    try:
        return parse_password_hash(stored)
    except ValueError:
        # A damaged row opens for nobody, and looks from outside like any wrong password.
        return nobody
