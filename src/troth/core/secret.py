"""Secrets that do not show themselves, and comparisons that do not leak where they differ."""

import hmac
import os
import secrets
from pathlib import Path

from troth.core.errors import PlatformError
from troth.core.files import read_up_to

_MOST_BYTES = 1024 * 1024


class Secret:
    """Bytes that never appear in `repr`, `str`, a log line or a pickled object."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The bytes themselves; call it where they are used and keep no copy."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and equal(self._value, other._value)

    def __hash__(self) -> int:
        raise TypeError("a secret is not a dictionary key")

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is not pickled")


def equal(left: bytes, right: bytes) -> bool:
    """Compare in time that does not depend on where the two differ (timing attack on tokens)."""
    return hmac.compare_digest(left, right)


def new_token() -> str:
    """256 random bits, base64url without padding (43 characters)."""
    return secrets.token_urlsafe(32)


def write_secret(path: Path, value: bytes) -> None:
    """Write a file readable by its owner alone, under a temporary name, synced, then renamed."""
    _replace(path, value, mode=0o600)


def write_public(path: Path, value: bytes) -> None:
    """Write a file that everybody may read (a certificate), as whole or not at all as `write_secret` does."""
    _replace(path, value, mode=0o644)


def _replace(path: Path, value: bytes, *, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        # A full disk must not be left fuller by half a secret.
        temporary.unlink(missing_ok=True)
        raise


def read_secret(path: Path, *, hint: str = "Put it back from where you keep a copy.") -> Secret:
    """Raises PlatformError when the file is missing, with this `hint`, and when others may read it."""
    try:
        mode = path.stat().st_mode
        value = read_up_to(path, _MOST_BYTES)
    except FileNotFoundError:
        raise PlatformError(f"The secret file {path} is missing.", hint=hint) from None
    if mode & 0o077:
        raise PlatformError(
            f"The secret file {path} can be read by other users.", hint=f"Run: chmod 600 {path}"
        )
    if len(value) > _MOST_BYTES:
        raise PlatformError(f"{path} is too large for a secret.", hint="Is this the right file?")
    return Secret(value)
