"""ES256 (RFC 7518 section 3.4) as an algorithm of the JOSE library: the same signatures in half the time.

The library's own looks the purpose of a key up at each call and writes the two numbers of a signature through
their hexadecimal text. The keys here are imported once, for this one purpose, by `core/jose.py`.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.jwk import ECKey

_HALF = 32
_ECDSA = ec.ECDSA(SHA256())


class Es256(jws.JWSAlgModel):  # pyright: ignore[reportPrivateImportUsage] - its base for further algorithms
    """ECDSA on P-256 with SHA-256. A signature is the two numbers one after the other, 32 bytes each."""

    name = "ES256"
    description = "ECDSA using P-256 and SHA-256"
    key_type = "EC"
    recommended = True

    def sign(self, msg: bytes, key: ECKey) -> bytes:
        """Raises ValueError for a public key."""
        private = key.private_key
        if private is None:
            raise ValueError("signing needs a private key")
        r, s = decode_dss_signature(private.sign(msg, _ECDSA))
        return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")

    def verify(self, msg: bytes, sig: bytes, key: ECKey) -> bool:
        """Whether `sig` is of `msg` and `key`, and of exactly this form."""
        if len(sig) != 2 * _HALF:
            return False
        r, s = int.from_bytes(sig[:_HALF], "big"), int.from_bytes(sig[_HALF:], "big")
        try:
            key.public_key.verify(encode_dss_signature(r, s), msg, _ECDSA)
        except InvalidSignature:
            return False
        return True
