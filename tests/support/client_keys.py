"""Keys of clients and what clients sign with them, by `cryptography` alone: the forger's tool as well."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def _number(value: int, length: int = 0) -> str:
    return encode(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


def public_jwk(key: PrivateKey, **members: Any) -> dict[str, Any]:
    """The public JWK of a key, with more members beside."""
    match key:
        case ec.EllipticCurvePrivateKey():
            point, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
            curve = {256: "P-256", 384: "P-384"}[key.key_size]
            own = {"kty": "EC", "crv": curve, "x": _number(point.x, size), "y": _number(point.y, size)}
        case ed25519.Ed25519PrivateKey():
            own = {"kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().public_bytes_raw())}
        case _:
            numbers = key.public_key().public_numbers()
            own = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    return {**own, **members}


def sign(key: PrivateKey, header: Mapping[str, object] | bytes, claims: Mapping[str, object] | bytes) -> str:
    """A compact JWS by this key; the header may name any algorithm."""
    first, second = (
        part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)
    )
    text = f"{encode(first)}.{encode(second)}"
    pinned = b"PS256" in first
    return f"{text}.{encode(_signature(key, text.encode(), pss=pinned))}"


def _signature(key: PrivateKey, text: bytes, *, pss: bool) -> bytes:
    match key:
        case ec.EllipticCurvePrivateKey():
            r, s = decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        case ed25519.Ed25519PrivateKey():
            return key.sign(text)
        case _:
            scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if pss else padding.PKCS1v15()
            return key.sign(text, scheme, hashes.SHA256())


EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()
