"""A client's DPoP key, and proofs made with it as an application would (RFC 9449 section 4)."""

import hashlib
import json
import secrets
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from support.client_keys import PrivateKey, encode, public_jwk, sign


class Prover:
    """One key. `nonce` is what the server told last."""

    def __init__(self, algorithm: str = "ES256") -> None:
        self.algorithm = algorithm
        self.key = _new_key(algorithm)
        self.nonce = ""

    @property
    def thumbprint(self) -> str:
        """RFC 7638, by its own code."""
        members = json.dumps(public_jwk(self.key), sort_keys=True, separators=(",", ":"))
        return encode(hashlib.sha256(members.encode()).digest())

    def proof(
        self, url: str, method: str = "POST", /, *, token: str = "", header: Any = None, **claims: Any
    ) -> str:
        """A proof for one request; members that are None are left out."""
        said = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url,
            "iat": int(time.time()),
            "nonce": self.nonce or None,
            "ath": encode(hashlib.sha256(token.encode()).digest()) if token else None,
        }
        top = {"typ": "dpop+jwt", "alg": self.algorithm, "jwk": public_jwk(self.key)}
        return sign(self.key, _present(top | (header or {})), _present(said | claims))


def _present(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _new_key(algorithm: str) -> PrivateKey:
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm in ("Ed25519", "EdDSA"):
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)
