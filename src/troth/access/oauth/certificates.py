"""Tokens bound to a TLS certificate: `cnf` with the member `x5t#S256` (RFC 8705 section 3)."""

import base64
import hashlib

from troth.core.secret import equal


def certificate_thumbprint(certificate: bytes) -> str:
    """The `x5t#S256` of a certificate in DER (RFC 8705 section 3.1)."""
    return base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).decode().rstrip("=")


def holds_certificate(certificate: bytes, thumbprint: str) -> bool:
    """Whether this certificate (empty when none was shown) is the one that a token is bound to."""
    return bool(certificate) and equal(certificate_thumbprint(certificate).encode(), thumbprint.encode())
