"""Passwords as PBKDF2-HMAC-SHA-256 with a salt of their own: `pbkdf2-sha256$600000$salt$hash`.

Hashing takes about a tenth of a second of a processor by intention. It runs in a small pool of threads with
a bounded queue, so that a flood of sign-ins waits for itself and for nobody else.
"""

import asyncio
import base64
import binascii
import os
import secrets
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from troth.access.errors import WrongPassword
from troth.core.errors import TooMany
from troth.core.secret import equal

SCHEME = "pbkdf2-sha256"
ROUNDS = 600_000
"""OWASP's recommendation for PBKDF2-HMAC-SHA-256."""

SALT_BYTES = 16
HASH_BYTES = 32
MAX_ROUNDS = 10_000_000
"""A stored row that asks for more is damaged; obeying it would stop the pool for minutes."""

_NICENESS = 10

T = TypeVar("T")


class PasswordHash(msgspec.Struct, frozen=True):
    """One stored hash, taken apart."""

    rounds: int
    salt: bytes
    hash: bytes

    def __str__(self) -> str:
        return "$".join((SCHEME, str(self.rounds), _encode(self.salt), _encode(self.hash)))


def parse_password_hash(stored: str) -> PasswordHash:
    """Read a stored hash. Raises ValueError when it is not one of ours."""
    scheme, rounds, salt, digest = (*stored.split("$"), "", "", "", "")[:4]
    if stored.count("$") != 3 or scheme != SCHEME or not rounds.isdecimal():
        raise ValueError("not a pbkdf2-sha256 hash")
    parsed = PasswordHash(int(rounds), _decode(salt), _decode(digest))
    if not 1 <= parsed.rounds <= MAX_ROUNDS or len(parsed.hash) != HASH_BYTES or not parsed.salt:
        raise ValueError("rounds, salt or hash are out of range")
    return parsed


def needs_upgrade(stored: str) -> bool:
    """Whether a hash that was just verified should be made anew with today's parameters."""
    parsed = parse_password_hash(stored)
    return parsed.rounds < ROUNDS or len(parsed.salt) < SALT_BYTES


def new_password() -> str:
    """A random password of 120 bits in groups that can be read aloud and typed."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(6)) for _ in range(4))


class Passwords:
    """Hashes and verifies. `threads` work at once, `waiting` more may queue, the next is told to come back.

    Threads run at a lower priority than the event loop, so that answering requests goes first.
    """

    def __init__(self, *, threads: int = 2, waiting: int = 32, rounds: int = ROUNDS) -> None:
        self._rounds = rounds
        self._room = threading.BoundedSemaphore(threads + waiting)
        self._pool = ThreadPoolExecutor(threads, "troth-passwords", initializer=_step_back)
        # Nobody knows a password for this; an unknown user costs exactly what a known one does.
        self._nobody = PasswordHash(rounds, os.urandom(SALT_BYTES), os.urandom(HASH_BYTES))

    async def hash(self, password: str) -> str:
        """A new hash with a salt of its own. Raises TooMany when the queue is full."""
        salt = os.urandom(SALT_BYTES)
        digest = await self._run(lambda: _derive(password, salt, self._rounds))
        return str(PasswordHash(self._rounds, salt, digest))

    async def verify(self, password: str, stored: str | None) -> None:
        """Raises WrongPassword unless `password` made `stored`, and TooMany when the queue is full.

        `stored` is None for an unknown user; the work done is the same.
        """
        record = _record_or(stored, self._nobody)
        digest = await self._run(lambda: _derive(password, record.salt, record.rounds))
        if not equal(digest, record.hash) or record is self._nobody:
            raise WrongPassword

    def require_room(self) -> None:
        """Raises TooMany when the queue is full: asked before any other work is done for a sign-in, so that
        a flood costs nothing but this."""
        if not self._room.acquire(blocking=False):
            raise _too_many()
        self._room.release()

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        if not self._room.acquire(blocking=False):
            raise _too_many()
        future: Future[T] = self._pool.submit(work)
        # Released by the work itself: a caller who hangs up must not make room for another too early.
        future.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(future)


def _derive(password: str, salt: bytes, rounds: int) -> bytes:
    """`cryptography` releases the interpreter lock during this."""
    kdf = PBKDF2HMAC(hashes.SHA256(), HASH_BYTES, salt, rounds)
    return kdf.derive(unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass"))


def _record_or(stored: str | None, nobody: PasswordHash) -> PasswordHash:
    if stored is None:
        return nobody
    try:
        return parse_password_hash(stored)
    except ValueError:
        # A damaged row opens for nobody, and looks from outside like any wrong password.
        return nobody


def _too_many() -> TooMany:
    return TooMany("Many people are signing in right now. Try again in a moment.", retry_after=2)


def _step_back() -> None:
    """Lower the priority of the calling thread (on Linux, niceness belongs to a thread)."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
