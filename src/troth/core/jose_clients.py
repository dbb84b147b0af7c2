"""Tokens that clients sign: assertions (RFC 7523) and request objects (RFC 9101).

The algorithm is the one that was pinned when the client was registered, and the key one that was registered
with it: neither is taken from the token (RFC 8725 sections 3.1 and 3.10).
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.util import urlsafe_b64decode

from troth.core.client_certificates import CertificateError, ClientCertificate, decode_der
from troth.core.client_kinds import ClientAlgorithm
from troth.core.jose_parts import (
    TokenError,
    check_header_members,
    check_size,
    read_header,
    read_object,
    refuse,
)

MAX_KEYS = 10
_RSA_BITS = range(2048, 4097)
_MAX_KID = 200
_HEADER_WITH_KEY = 2048
"""Characters; an RSA key of 4096 bits takes 700 of them."""
_MAX_CERTIFICATE = 12 * 1024

_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MEMBERS = {"EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "RSA": ("n", "e")}
_IMPORTERS = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}
_CURVES = {"EC": "P-256", "OKP": "Ed25519"}
_KIND_OF: dict[str, str] = {"ES256": "EC", "PS256": "RSA", "RS256": "RSA", "Ed25519": "OKP", "EdDSA": "OKP"}

ClientKey = ECKey | OKPKey | RSAKey


class _Registry(jws.JWSRegistry):
    """One algorithm. `EdDSA` is checked as Ed25519, for the curve was pinned with the key."""

    def get_alg(self, name: str) -> Any:
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


def _registry(algorithm: str) -> _Registry:
    return _Registry(algorithms=[algorithm, "Ed25519"] if _KIND_OF[algorithm] == "OKP" else [algorithm])


class ClientKeys:
    """The registered keys of one client, for one algorithm. Raises ValueError on a key that is none."""

    def __init__(self, jwks: Sequence[Mapping[str, object]], algorithm: ClientAlgorithm) -> None:
        self._algorithm = algorithm
        kind = _KIND_OF[algorithm]
        self._keys = [
            (str(jwk.get("kid", "")), _import(jwk))
            for jwk in jwks
            if jwk.get("kty") == kind and jwk.get("alg", algorithm) == algorithm
        ]
        self._registry = _registry(algorithm)

    @property
    def usable(self) -> bool:
        """Whether there is a key for this algorithm at all."""
        return bool(self._keys)

    def verify(self, token: str, types: Collection[str | None]) -> dict[str, object]:
        """The payload of a token that the client signed, of one of these types (None: without `typ`). Raises
        TokenError. Issuer, audience and time are for the caller to check."""
        # 1. Small enough to be read at all.
        check_size(token)
        # 2. The header names the pinned algorithm, an expected type, and nothing that brings keys or rules.
        header = read_header(token)
        if header.get("alg") != self._algorithm:
            refuse("algorithm", str(header.get("alg")))
        if header.get("typ") not in types:
            refuse("type", str(header.get("typ")))
        check_header_members(header)
        # 3. The signature of one of the client's keys holds; nothing in the payload is believed before.
        key = self._key_for(header)
        try:
            payload = jws.deserialize_compact(token, key, registry=self._registry).payload
        except (JoseError, ValueError) as error:
            raise TokenError("signature", str(error)[:200]) from None
        # 4. It says everything once.
        return _read_payload(payload)

    def _key_for(self, header: Mapping[str, object]) -> ClientKey:
        """By `kid`; without one there is nothing to choose from, so the client must have a single key."""
        if "kid" not in header and len(self._keys) == 1:
            return self._keys[0][1]
        kid = header.get("kid")
        found = [key for name, key in self._keys if name and name == kid]
        if len(found) != 1:
            refuse("signature", f"no key is called {kid!r}")
        return found[0]


def verify_with_key(token: str, algorithm: str, jwk: Mapping[str, object]) -> str:
    """The RFC 7638 thumbprint of a public key, once the signature of this token holds under it. Raises
    TokenError."""
    try:
        if _PRIVATE_MEMBERS & jwk.keys():
            raise ValueError("Only the public part of a key belongs here.")
        if jwk.get("kty") != _KIND_OF[algorithm]:
            raise ValueError("The alg does not fit the key.")
        key = _import(jwk)
    except ValueError as error:
        raise TokenError("signature", str(error)[:200]) from None
    registry = _registry(algorithm)
    registry.max_header_length = _HEADER_WITH_KEY
    try:
        jws.deserialize_compact(token, key, registry=registry)
    except (JoseError, ValueError) as error:
        raise TokenError("signature", str(error)[:200]) from None
    return key.thumbprint()


def claimed_subject(token: str) -> str:
    """Whose token it says it is, to find the keys that tell whether it is true. Raises TokenError."""
    check_size(token)
    read_header(token)
    try:
        payload = read_object(urlsafe_b64decode(token.split(".")[1].encode("ascii")))
    except (ValueError, RecursionError) as error:
        raise TokenError("malformed", f"claims: {error}"[:200]) from None
    subject = payload.get("sub")
    if not isinstance(subject, str):
        refuse("malformed", "no sub")
    return subject


def read_client_keys(keys: Sequence[Mapping[str, object]]) -> tuple[dict[str, str], ...]:
    """A client's keys as they are kept: public members alone, each key sound. Raises ValueError with a
    sentence."""
    if len(keys) > MAX_KEYS:
        raise ValueError(f"A client has at most {MAX_KEYS} keys.")
    kept = tuple(_read_key(key) for key in keys)
    names = [key["kid"] for key in kept if "kid" in key]
    if len(set(names)) != len(names):
        raise ValueError("Two keys have the same kid.")
    if len(kept) > 1 and len(names) != len(kept):
        raise ValueError("Of several keys each needs a kid.")
    return kept


def _read_key(jwk: Mapping[str, object]) -> dict[str, str]:
    if _PRIVATE_MEMBERS & jwk.keys():
        raise ValueError("Only the public part of a key belongs here.")
    if "x5u" in jwk:
        raise ValueError("A key stands here itself, not at an address (x5u).")
    kid, algorithm, uses = jwk.get("kid"), jwk.get("alg"), jwk.get("key_ops", ["verify"])
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= _MAX_KID and kid.isprintable()):
        raise ValueError("The kid of a key is a short text.")
    if jwk.get("use", "sig") != "sig" or not isinstance(uses, list) or "verify" not in uses:
        raise ValueError("A client's key is one for signatures.")
    if algorithm is not None and _KIND_OF.get(str(algorithm)) != jwk.get("kty"):
        raise ValueError("The alg of a key does not fit it, or is not known here.")
    key = _import(jwk)
    members = ("kty", *_MEMBERS[str(jwk["kty"])], "kid", "alg")
    kept = {name: str(jwk[name]) for name in members if name in jwk}
    if "x5c" in jwk:
        kept["x5t#S256"] = _certificate_of(key, jwk["x5c"])
    return kept


def _certificate_of(key: ClientKey, chain: object) -> str:
    """The thumbprint of a key's certificate, which has to be of that key (RFC 7517 section 4.7)."""
    match chain:
        case [str(first)] if len(first) <= _MAX_CERTIFICATE:
            der = decode_der(first)
        case _:
            raise ValueError("The x5c of a key holds its one certificate.")
    try:
        other = type(key).import_key(ClientCertificate(der).public_key())
        same = other.thumbprint() == key.thumbprint()
    except (CertificateError, JoseError, TypeError, ValueError):
        same = False
    if not same:
        raise ValueError("The certificate of a key is not of that key.")
    return urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")


def _import(jwk: Mapping[str, object]) -> ClientKey:
    """A key of a kind, on a curve and of a length that are safe. Raises ValueError."""
    kind = str(jwk.get("kty"))
    if kind not in _MEMBERS:
        raise ValueError("A key is of kty EC, OKP or RSA.")
    if kind in _CURVES and jwk.get("crv") != _CURVES[kind]:
        raise ValueError(f"A key of kty {kind} is on {_CURVES[kind]}.")
    members = {name: jwk.get(name) for name in _MEMBERS[kind]}
    if kind == "RSA":
        _check_rsa(_number(members["n"]), _number(members["e"]))
    try:
        return _IMPORTERS[kind].import_key({"kty": kind, **{name: str(one) for name, one in members.items()}})
    except (JoseError, TypeError, ValueError):
        raise ValueError("A key is not sound.") from None


def _check_rsa(modulus: int, exponent: int) -> None:
    if modulus.bit_length() not in _RSA_BITS:
        raise ValueError("An RSA key has 2048 to 4096 bits.")
    if not 65_537 <= exponent < 2**32 or exponent % 2 == 0:
        raise ValueError("The exponent of an RSA key is 65537, or a little larger and odd.")


def _number(text: object) -> int:
    try:
        return int.from_bytes(urlsafe_b64decode(str(text).encode("ascii")), "big")
    except ValueError:
        raise ValueError("A key is not sound.") from None


def _read_payload(payload: bytes) -> dict[str, object]:
    try:
        return read_object(payload)
    except (ValueError, RecursionError) as error:
        raise TokenError("malformed", f"claims: {error}"[:200]) from None
