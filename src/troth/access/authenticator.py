"""Who calls with an access token, and whether it is this caller's to use (RFC 6750, RFC 9449, RFC 8705).

One place for all that take tokens: a token that is bound to a key or to a certificate is worth nothing
without.
"""

import msgspec

from troth.access.dpop import Proofs
from troth.access.errors import InvalidProof
from troth.access.tenants import Domain, DomainDirectory
from troth.access.tokens import AccessTokens, Principal
from troth.core.errors import NotFound, Unauthenticated
from troth.core.secret import equal

_INVALID = "The access token is not valid."


class Presented(msgspec.Struct, frozen=True, kw_only=True):
    """What a request shows: its headers `Authorization` and `DPoP`, and the certificate (DER) of its TLS
    connection as the edge saw it. `method` and `path` are what a proof is for."""

    authorization: str | None
    proof: str | None = None
    method: str = ""
    path: str = ""
    certificate: bytes = b""

    def __repr__(self) -> str:
        return f"Presented({self.method} {self.path})"  # a token is in it


class Authenticator:
    """Reads `Authorization: Bearer …` and `Authorization: DPoP …` headers, the only ways to send a token."""

    def __init__(self, directory: DomainDirectory, tokens: AccessTokens, proofs: Proofs) -> None:
        self._directory = directory
        self._tokens = tokens
        self._proofs = proofs

    async def authenticate(self, domain: str, shown: str | Presented | None) -> Principal:
        """The principal of a request to this client domain; a bare text is an Authorization header. Raises
        Unauthenticated; without a token its `error` is empty."""
        presented = shown if isinstance(shown, Presented) else Presented(authorization=shown)
        scheme, token = read_authorization(presented.authorization)
        try:
            found = await self._directory.find(domain)
        except NotFound as error:
            raise Unauthenticated(_INVALID, error="invalid_token", detail="unknown domain") from error
        return await self._check(found, scheme, token, presented)

    async def of_domain(self, domain: Domain, presented: Presented) -> Principal:
        """The same for a domain that was found already."""
        scheme, token = read_authorization(presented.authorization)
        return await self._check(domain, scheme, token, presented)

    async def _check(self, domain: Domain, scheme: str, token: str, presented: Presented) -> Principal:
        # 1. It is a good token of this domain.
        principal = await self._tokens.verify(domain, token)
        confirmation = principal.confirmation
        # 2. It comes by the scheme that it was given out for: else a stolen one would pass without its key.
        if (scheme == "dpop") != bool(confirmation.jkt):
            raise _not_this_way(scheme)
        # 3. What it is bound to came along.
        if not confirmation.fits(presented.certificate):
            raise Unauthenticated(_INVALID, error="invalid_token", detail="without its certificate")
        if confirmation.jkt:
            await self._check_proof(domain, token, confirmation.jkt, presented)
        return principal

    async def _check_proof(self, domain: Domain, token: str, jkt: str, presented: Presented) -> None:
        url = f"{domain.issuer}{presented.path}"
        try:
            if presented.proof is None:
                raise InvalidProof("Send a DPoP proof.", nonce=await self._proofs.nonce(domain))
            shown = await self._proofs.check(domain, presented.proof, presented.method, url, token=token)
        except InvalidProof as error:
            raise Unauthenticated(
                error.public, error=error.code, detail=error.detail, scheme="DPoP", nonce=error.nonce
            ) from None
        if not equal(shown.encode(), jkt.encode()):
            raise Unauthenticated(_INVALID, error="invalid_token", detail="another key", scheme="DPoP")


def read_authorization(header: str | None) -> tuple[str, str]:
    """Scheme (in lower case) and token. Raises Unauthenticated without an error code when none came."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() not in ("bearer", "dpop") or not token.strip(" "):
        raise Unauthenticated("Send an access token.")
    return scheme.lower(), token.strip(" ")


def _not_this_way(scheme: str) -> Unauthenticated:
    detail = "not bound to a key" if scheme == "dpop" else "bound to a key"
    return Unauthenticated(
        _INVALID, error="invalid_token", detail=detail, scheme="DPoP" if scheme == "dpop" else "Bearer"
    )
