"""Browsers that were signed in before: a cookie that says so for one account on one domain.

It opens nothing. It gives its holder a budget of tries of their own, so that whoever guesses at the account
from elsewhere cannot make its owner wait. Nothing is stored: the tenant's key signs it.
"""

import hashlib
import secrets
from datetime import timedelta

from troth.access.accounts.people import normal_email
from troth.access.accounts.recipes import decode, encode
from troth.access.ports import Sealer
from troth.access.tenants import Domain
from troth.core.clock import Clock
from troth.core.secret import equal

DEVICE = "device"
"""Purpose of the signature."""

LIFETIME = timedelta(days=365)

_LENGTH = 16 + 4 + 32


class Devices:
    """Signs and reads the cookie: 16 random bytes, the day of issue, and a MAC that binds it to its place."""

    def __init__(self, sealer: Sealer, clock: Clock) -> None:
        self._sealer = sealer
        self._clock = clock

    async def issue(self, domain: Domain, email: str) -> str:
        """A cookie for a browser in which this account has just been proved."""
        head = secrets.token_bytes(16) + self._today().to_bytes(4, "big")
        return encode(head + await self._sign(domain, email, head))

    async def read(self, domain: Domain, email: str, cookie: str) -> bytes | None:
        """Under what the device is counted; None when it is not this account's on this domain."""
        try:
            raw = decode(cookie[:200])
        except ValueError:
            return None
        if len(raw) != _LENGTH:
            return None
        head, signature = raw[:20], raw[20:]
        if not equal(signature, await self._sign(domain, email, head)):
            return None
        age = self._today() - int.from_bytes(head[16:], "big")
        return hashlib.sha256(head).digest() if 0 <= age <= LIFETIME.days else None

    async def _sign(self, domain: Domain, email: str, head: bytes) -> bytes:
        account = normal_email(email).encode("utf-8", "surrogatepass")
        bound = head + hashlib.sha256(domain.name.encode()).digest() + account
        return await self._sealer.blind_index(domain.tenant_id, DEVICE, bound)

    def _today(self) -> int:
        return int(self._clock.now().timestamp()) // 86_400
