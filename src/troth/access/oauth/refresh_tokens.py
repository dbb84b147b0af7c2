"""Refresh tokens: grant, generation, the grant's secret, and a code over them that only we can make.

    version (1 byte) | grant (16) | generation (4) | secret (16) | HMAC-SHA-256 (32)      as base64url

The next token of a grant follows from the one before, so asking twice gives the same one: there is nothing to
store of it, and no second one to lose. What is no token of ours is told without a query. The database holds
the secret's hash alone: neither who reads it, nor who holds the platform's keys, can make a token from one of
the two.
"""

import base64
import binascii
import hashlib
import re
import secrets
from uuid import UUID

import msgspec

from troth.access.ports import Sealer
from troth.access.tenants import Domain
from troth.core.secret import equal

_VERSION = 1
_PURPOSE = "refresh-token"
_SECRET_BYTES = 16
_FORM = re.compile(r"[A-Za-z0-9_-]{92}", re.ASCII)


class RefreshToken(msgspec.Struct, frozen=True):
    """A token that we made; whether it is still good is for the database to say."""

    grant: UUID
    generation: int
    secret: bytes

    def __repr__(self) -> str:
        return f"RefreshToken({self.grant}, {self.generation}, …)"

    @property
    def secret_hash(self) -> bytes:
        """128 random bits cannot be searched: one SHA-256 is enough."""
        return hashlib.sha256(self.secret).digest()

    def of_generation(self, generation: int) -> "RefreshToken":
        """Another token of the same grant."""
        return RefreshToken(self.grant, generation, self.secret)


class RefreshTokens:
    """Writes and reads refresh tokens of a domain."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def write(self, domain: Domain, token: RefreshToken) -> str:
        """The token as its client gets it."""
        said = _said(token)
        return base64.urlsafe_b64encode(said + await self._code(domain, said)).decode()

    async def read(self, domain: Domain, text: str) -> RefreshToken | None:
        """The token, or None when it is none that we made for this domain."""
        if not _FORM.fullmatch(text):
            return None
        try:
            whole = base64.urlsafe_b64decode(text)
        except binascii.Error:
            return None
        said, code = whole[:-32], whole[-32:]
        if said[0] != _VERSION or not equal(code, await self._code(domain, said)):
            return None
        return RefreshToken(UUID(bytes=said[1:17]), int.from_bytes(said[17:21], "big"), said[21:])

    async def _code(self, domain: Domain, said: bytes) -> bytes:
        return await self._sealer.blind_index(domain.tenant_id, _PURPOSE, said + domain.name.encode())


def first_token(grant: UUID) -> RefreshToken:
    """The first of a new grant."""
    return RefreshToken(grant, 0, secrets.token_bytes(_SECRET_BYTES))


def _said(token: RefreshToken) -> bytes:
    generation = token.generation.to_bytes(4, "big")
    return bytes([_VERSION]) + token.grant.bytes + generation + token.secret
