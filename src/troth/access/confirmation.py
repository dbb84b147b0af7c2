"""Sender-constrained tokens: the key or the certificate that has to come along with a token (`cnf`).

RFC 7800 section 3, RFC 9449 section 6.1, RFC 8705 section 3.1.
"""

import msgspec

from troth.access.oauth.certificates import holds_certificate


class Confirmation(msgspec.Struct, frozen=True, omit_defaults=True):
    """`jkt` is the thumbprint of a DPoP key, `certificate` that of a TLS certificate; empty means none. Kept
    as JSON in the shape of the claim."""

    jkt: str = ""
    certificate: str = msgspec.field(default="", name="x5t#S256")

    def __bool__(self) -> bool:
        return bool(self.jkt or self.certificate)

    def fits(self, certificate: bytes) -> bool:
        """Whether the caller's TLS certificate is the one that is asked for, if one is."""
        return not self.certificate or holds_certificate(certificate, self.certificate)

    @property
    def claim(self) -> dict[str, str] | None:
        """As a token's `cnf`; None for a token that whoever holds it may use."""
        return msgspec.to_builtins(self) if self else None

    @property
    def stored(self) -> str | None:
        """As the database keeps it."""
        return msgspec.json.encode(self).decode() if self else None


ANYBODY = Confirmation()
"""A bearer token's: whoever holds it may use it (RFC 6750)."""


def read_confirmation(claim: dict[str, str] | None) -> Confirmation:
    """From a token's `cnf`. Raises ValueError when it asks for something that nobody here could check."""
    if claim is None:
        return ANYBODY
    if not claim or claim.keys() - {"jkt", "x5t#S256"}:
        raise ValueError("cnf names no key that is known here")
    return msgspec.convert(claim, Confirmation)
