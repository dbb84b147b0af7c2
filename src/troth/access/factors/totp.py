"""One-time codes of an authenticator app: TOTP (RFC 6238) as every app speaks it, six digits, 30 s, SHA-1.

HMAC-SHA-1 rests on no collision of SHA-1 (RFC 6238 section 1.2); apps that were told another hash ignore it.
"""

import base64
import secrets
from datetime import datetime
from urllib.parse import quote

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

from troth.core.secret import equal

STEP = 30
DIGITS = 6

DRIFT = 1
"""Steps by which a clock may be off, and by which a person may be slow (RFC 6238 section 5.2)."""

_KEY_BYTES = 20
"""As long as the hash's output (RFC 4226 section 4, R6 recommends 160 bits)."""


def new_key() -> bytes:
    return secrets.token_bytes(_KEY_BYTES)


def step_at(moment: datetime) -> int:
    """Which 30 seconds since 1970 a moment lies in."""
    return int(moment.timestamp()) // STEP


def code_at(key: bytes, step: int) -> str:
    """The code of a step (RFC 4226 section 5.3)."""
    return HOTP(key, DIGITS, SHA1()).generate(step).decode()  # noqa: S303


def matching_step(key: bytes, code: str, *, now: datetime, after: int) -> int | None:
    """The step that this is the code of, if it is one of those around `now` and none was accepted since."""
    guess = normal_code(code).encode("ascii", "replace")
    here, found = step_at(now), None
    for step in range(here - DRIFT, here + DRIFT + 1):
        # Every step is computed, whichever fits.
        if equal(code_at(key, step).encode(), guess) and step > after and found is None:
            found = step
    return found


def normal_code(text: str) -> str:
    """Digits as apps show them, "123 456", without what stands between."""
    return "".join(text.split())


def key_text(key: bytes) -> str:
    """The key as a person types it: base32 in groups of four."""
    plain = base64.b32encode(key).decode().rstrip("=")
    return " ".join(plain[at : at + 4] for at in range(0, len(plain), 4))


def key_uri(key: bytes, *, issuer: str, account: str) -> str:
    """What the QR code says (the otpauth key URI format)."""
    label = quote(f"{issuer}:{account}", safe="")
    secret = base64.b32encode(key).decode().rstrip("=")
    rest = f"issuer={quote(issuer, safe='')}&digits={DIGITS}&period={STEP}"
    return f"otpauth://totp/{label}?secret={secret}&{rest}"
