"""Signing keys: one for each domain, sealed at rest, made at its first use, followed by a new one each month.

A successor is published before it signs, so that whoever keeps our key set for a while knows it by then; a
retired key still verifies for as long as tokens that it signed may live.
"""

from datetime import datetime, timedelta
from typing import Literal

import asyncpg
import msgspec

from troth.access.cache import BoundedCache
from troth.access.ports import Sealer
from troth.access.tenants import Domain
from troth.core.clock import Clock
from troth.core.db import Database
from troth.core.errors import PlatformError
from troth.core.jose import (
    Claims,
    Jwk,
    JwkSet,
    Signer,
    TokenError,
    Verifier,
    generate_signing_key,
    key_set,
    thumbprint,
)

PURPOSE = "signing-key"

OVERLAP = timedelta(minutes=15)
"""How long a retired key verifies: a token's life, and the time until every instance knows the new key."""

AHEAD = timedelta(minutes=10)
"""How long a key is published before it signs: longer than anybody keeps a key set of ours."""

ROTATE_AFTER = timedelta(days=30)
"""A key that has signed for so long gets a successor from whichever instance uses it next."""

_KEEP = timedelta(minutes=1)
_LEAST_AGE = timedelta(seconds=5)


class KeyRing(msgspec.Struct, frozen=True):
    """The keys of one domain as one instance knows them."""

    signer: Signer
    verifier: Verifier
    public: JwkSet
    loaded_at: datetime


class KeyState(msgspec.Struct, frozen=True):
    """One key as the operator sees it."""

    kid: str
    state: Literal["next", "signs", "retired"]
    signs_from: datetime
    retired_at: datetime | None


class SigningKeys:
    """Key rings on demand; a bounded number of them is kept, each for a minute."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock, *, capacity: int = 1024) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._rings: BoundedCache[str, KeyRing] = BoundedCache(capacity)

    async def ring(self, domain: Domain) -> KeyRing:
        """The domain's keys; the first call for a domain makes its key."""
        return self._rings.get(domain.name, self._clock.now()) or await self._load(domain)

    async def verify(
        self, domain: Domain, token: str, typ: str, audience: str, leeway: timedelta = timedelta(0)
    ) -> Claims:
        """The claims of a token that this domain signed. Raises TokenError.

        A key that another instance just added is found by reading the ring again, at most every few seconds:
        forged key ids must not cost a query each.
        """
        now = self._clock.now()
        ring = self._rings.get(domain.name, now) or await self._load(domain)
        try:
            return ring.verifier.verify(token, typ, domain.issuer, audience, now, leeway)
        except TokenError as error:
            if error.code != "signature" or now - ring.loaded_at < _LEAST_AGE:
                raise
        ring = await self._load(domain)
        return ring.verifier.verify(token, typ, domain.issuer, audience, now, leeway)

    async def rotate(self, domain: Domain, ahead: timedelta = AHEAD) -> None:
        """Publish a new key, which signs from `ahead` on; what the old one signed stays good until it
        expires.
        Of several calls at once, one adds a key."""
        rows = await self._read(domain)
        await self._add(domain, after=rows[0]["kid"] if rows else None, ahead=ahead)
        self._rings.drop(domain.name)

    async def replace(self, domain: Domain) -> None:
        """Sign with a new key now, and drop the ones before: somebody else may have them. What they signed is
        refused as soon as the last instance has read the ring again, within a minute."""
        await self.rotate(domain, timedelta(0))
        await self._database.execute(
            "select troth.drop_signing_keys($1, $2)", domain.name, OVERLAP, idempotent=False
        )
        self._rings.drop(domain.name)

    async def states(self, domain: Domain) -> tuple[KeyState, ...]:
        """The keys that are published, the newest first. None is made for it."""
        return tuple(
            KeyState(
                row["kid"],
                "signs" if row["signs"] else "next" if row["age"] < timedelta(0) else "retired",
                row["signs_from"],
                row["retired_at"],
            )
            for row in await self._read(domain)
        )

    async def _load(self, domain: Domain) -> KeyRing:
        rows = await self._read(domain)
        if not rows or rows[0]["retired_at"] is not None:
            await self._add(domain)
            rows = await self._read(domain)
        elif rows[0]["age"] > ROTATE_AFTER:
            await self._add(domain, after=rows[0]["kid"], ahead=AHEAD)
            rows = await self._read(domain)
        if not any(row["signs"] for row in rows):
            # A call's clock is its beginning: a key that was added while it ran signs from the next.
            rows = await self._read(domain)
        current = next((row for row in rows if row["signs"]), None)
        if current is None:
            raise PlatformError("A domain has no signing key.", detail=domain.name)
        private = await self._sealer.open(
            domain.tenant_id, PURPOSE, current["private_key"], _context(domain, current["kid"])
        )
        public = [msgspec.json.decode(row["public_jwk"], type=Jwk) for row in rows]
        now = self._clock.now()
        ring = KeyRing(Signer(current["kid"], private), Verifier(public), key_set(public), now)
        # Kept no longer than until the next key signs.
        keep = min([_KEEP, *(-row["age"] for row in rows if row["age"] < timedelta(0))])
        self._rings.put(domain.name, ring, now + keep)
        return ring

    async def _read(self, domain: Domain) -> list[asyncpg.Record]:
        return await self._database.fetch("select * from troth.signing_keys($1, $2)", domain.name, OVERLAP)

    async def _add(
        self, domain: Domain, *, after: str | None = None, ahead: timedelta = timedelta(0)
    ) -> None:
        key = generate_signing_key()
        kid = thumbprint(key)
        sealed = await self._sealer.seal(domain.tenant_id, PURPOSE, key, _context(domain, kid))
        await self._database.execute(
            "select troth.add_signing_key($1, $2, $3, $4, $5, $6)",
            domain.name,
            kid,
            sealed,
            msgspec.json.encode(Signer(kid, key).public_jwk()).decode(),
            after,
            ahead,
            idempotent=True,
        )


def _context(domain: Domain, kid: str) -> bytes:
    """A sealed key copied into another domain's row does not open there."""
    return f"{domain.name} {kid}".encode()
