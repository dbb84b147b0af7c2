"""Challenges for passkeys: signed instead of stored, so that looking at a page writes nothing.

A challenge says for which domain, purpose and subject it was made and until when. What was answered is kept
until then, so that it is answered once (WebAuthn section 13.4.3).
"""

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

from troth.access.errors import FactorRefused
from troth.access.ports import Sealer
from troth.access.tenants import Domain
from troth.core.clock import Clock
from troth.core.secret import equal

CHALLENGE = "passkey-challenge"
"""Purpose of the signature."""

LIFETIME = timedelta(minutes=10)

_HEAD = 24
_LENGTH = _HEAD + 32


class Challenges:
    """128 random bits, the end of its life, and a MAC that binds both to what it is for."""

    def __init__(self, sealer: Sealer, clock: Clock) -> None:
        self._sealer = sealer
        self._clock = clock

    async def issue(self, domain: Domain, purpose: str, subject: bytes) -> bytes:
        """A challenge for this purpose; `subject` is the session or the pending sign-in it is for."""
        until = int((self._clock.now() + LIFETIME).timestamp())
        head = secrets.token_bytes(16) + until.to_bytes(8, "big")
        return head + await self._sign(domain, purpose, subject, head)

    async def check(self, domain: Domain, purpose: str, subject: bytes, challenge: bytes) -> datetime:
        """Until when it could be answered. Raises FactorRefused when it is not ours, for something else or
        too old; whether it was answered before is the database's to say."""
        head = challenge[:_HEAD]
        signature = await self._sign(domain, purpose, subject, head)
        if len(challenge) != _LENGTH or not equal(challenge[_HEAD:], signature):
            raise FactorRefused("The passkey does not fit.", detail="foreign challenge")
        until = datetime.fromtimestamp(int.from_bytes(head[16:], "big"), UTC)
        if until <= self._clock.now():
            raise FactorRefused("This took too long. Try again.", detail="old challenge")
        return until

    async def _sign(self, domain: Domain, purpose: str, subject: bytes, head: bytes) -> bytes:
        place = hashlib.sha256(f"{domain.name}\n{purpose}".encode()).digest()
        return await self._sealer.blind_index(
            domain.tenant_id, CHALLENGE, place + hashlib.sha256(subject).digest() + head
        )
