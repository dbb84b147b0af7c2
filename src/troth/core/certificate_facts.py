"""What a server's certificate says about its key: enough to grade it."""

from datetime import datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from troth.core.errors import PlatformError

_CURVE_STRENGTH = {256: 3072, 384: 7680, 521: 15360}
"""Bits of RSA that are as hard (NIST SP 800-57 part 1, table 2)."""


class CertificateFacts(msgspec.Struct, frozen=True):
    """`strength` is in bits of RSA; `digest` is the hash under its signature, empty where the scheme has one
    of its own; `lifetime` from its first to its last moment."""

    key: str
    strength: int
    digest: str
    lifetime: timedelta
    expires_at: datetime


def read_certificate(der: bytes) -> CertificateFacts:
    """Raises PlatformError for bytes that are no certificate, or have a key of an unknown kind."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        key, strength = _strength(certificate.public_key())
        algorithm = certificate.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PlatformError("The certificate cannot be read.", detail=str(error)) from error
    return CertificateFacts(
        key,
        strength,
        algorithm.name if algorithm else "",
        certificate.not_valid_after_utc - certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _strength(key: object) -> tuple[str, int]:
    match key:
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size}", key.key_size
        case ec.EllipticCurvePublicKey():
            return f"ECDSA {key.curve.name}", _CURVE_STRENGTH.get(key.key_size, 0)
        case ed25519.Ed25519PublicKey():
            return "Ed25519", 3072
        case ed448.Ed448PublicKey():
            return "Ed448", 7680
        case _:
            raise ValueError(f"a key of an unknown kind: {type(key).__name__}")
