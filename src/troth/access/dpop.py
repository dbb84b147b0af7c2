"""Demonstrating proof of possession (RFC 9449): a proof fits one request, and is good once.

A proof names our nonce, so it cannot have been made long before; its number is noted in the database, so that
of all instances one takes it. Nonces are not stored: each is the code (HMAC) of a short span of time under a
key of the domain's tenant, which every instance can make and check.
"""

import base64
import hashlib
from datetime import timedelta
from urllib.parse import urlsplit

from troth.access.cache import BoundedCache
from troth.access.errors import InvalidProof, UseNonce
from troth.access.ports import Sealer
from troth.access.tenants import Domain
from troth.core.clock import Clock
from troth.core.db import Database
from troth.core.jose_parts import TokenError
from troth.core.jose_proofs import Proof, read_proof
from troth.core.secret import equal

NONCE_SPAN = timedelta(minutes=2)
"""A nonce is good in its own span and in the next."""

WINDOW = timedelta(seconds=60)
"""How far a proof's own time may be from ours. Older nonces and used numbers are refused in any case."""

_PURPOSE = "dpop-nonce"


class Proofs:
    """Checks proofs and makes nonces."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock, *, capacity: int = 1024) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._nonces: BoundedCache[tuple[str, int], str] = BoundedCache(capacity)

    async def nonce(self, domain: Domain) -> str:
        """The nonce for the next proof on this domain."""
        return await self._nonce_of(domain, self._span())

    async def check(self, domain: Domain, proof: str, method: str, url: str, *, token: str = "") -> str:
        """The thumbprint of the key that this request was proved with. Raises InvalidProof. With `token` the
        proof has to be for that access token (`ath`)."""
        try:
            said = read_proof(proof)
        except TokenError as error:
            raise await self._refusal(domain, f"{error.code}: {error.detail}") from None
        # 1. It is for this request: this method, this address, this token.
        if said.htm != method or not _is_for(domain, said.htu, url):
            raise await self._refusal(domain, f"for {said.htm[:20]} {said.htu[:200]}")
        if token and said.ath != token_thumbprint(token):
            raise await self._refusal(domain, "for another token")
        # 2. It was made just now, as our nonce and its own time tell.
        await self._check_nonce(domain, said)
        off = self._clock.now().timestamp() - said.iat
        if abs(off) > WINDOW.total_seconds():
            raise await self._refusal(domain, f"iat is off by {off:.0f} s")
        # 3. Nobody used it before, on any instance. Last, so that only a sound proof costs a row.
        if not await self._spend(domain, said, url):
            raise await self._refusal(domain, "replayed")
        return said.jkt

    async def _check_nonce(self, domain: Domain, said: Proof) -> None:
        span = self._span()
        good = [await self._nonce_of(domain, each) for each in (span, span - 1)]
        if not any(equal(said.nonce.encode(), each.encode()) for each in good):
            raise UseNonce("use the nonce of this answer in the proof", nonce=good[0])

    async def _nonce_of(self, domain: Domain, span: int) -> str:
        known = self._nonces.get((domain.name, span), self._clock.now())
        if known is not None:
            return known
        code = await self._sealer.blind_index(domain.tenant_id, _PURPOSE, f"{domain.issuer} {span}".encode())
        nonce = base64.urlsafe_b64encode(code).decode().rstrip("=")
        self._nonces.put((domain.name, span), nonce, self._clock.now() + 3 * NONCE_SPAN)
        return nonce

    async def _spend(self, domain: Domain, said: Proof, url: str) -> bool:
        number = hashlib.sha256(f"{said.jkt} {url} {said.jti}".encode()).digest()
        return await self._database.fetchval(
            "select troth.spend_proof($1, $2, $3)", domain.name, number, 3 * WINDOW, idempotent=False
        )

    async def _refusal(self, domain: Domain, detail: str) -> InvalidProof:
        return InvalidProof(
            "the DPoP proof is not valid for this request", nonce=await self.nonce(domain), detail=detail
        )

    def _span(self) -> int:
        return int(self._clock.now().timestamp() // NONCE_SPAN.total_seconds())


def token_thumbprint(token: str) -> str:
    """The `ath` of an access token (RFC 9449 section 4.2)."""
    digest = hashlib.sha256(token.encode("ascii", "replace")).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _is_for(domain: Domain, said: str, url: str) -> bool:
    """At the domain or at its alias for mutual TLS, without query and fragment, and with what can be written
    in several ways written in one (RFC 3986 section 6.2)."""
    alias = domain.mutual_tls_origin + url.removeprefix(domain.issuer)
    try:
        return _plain(said) in (_plain(url), _plain(alias))
    except ValueError:
        return False


def _plain(url: str) -> tuple[str, str | None, int | None, str]:
    parts = urlsplit(url)
    port = None if (parts.scheme, parts.port) == ("https", 443) else parts.port
    return parts.scheme, parts.hostname, port, parts.path or "/"
