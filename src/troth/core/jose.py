"""Signed tokens: JSON Web Signatures with ES256 (RFC 7515, 7518, 7519), made strict after RFC 8725.

Only `core/jose*.py` import the JOSE library. The algorithm is pinned here, never read from a token,
and a key is found by `kid` among the keys handed to the verifier, never by an address inside a token.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TypedDict

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.util import urlsafe_b64encode

from troth.core.jose_es256 import Es256
from troth.core.jose_parts import (
    MAX_TOKEN_BYTES,
    TokenError,
    TokenFault,
    check_header_members,
    check_size,
    check_time,
    decode_segment,
    read_header,
    read_object,
    refuse,
)

__all__ = [
    "MAX_TOKEN_BYTES",
    "Claims",
    "Jwk",
    "JwkSet",
    "Signer",
    "TokenError",
    "TokenFault",
    "Verifier",
    "generate_signing_key",
    "key_set",
    "thumbprint",
]

_ALGORITHM = "ES256"
_ES256 = Es256()


class Jwk(TypedDict):
    """The public part of a signing key (RFC 7517, RFC 7518 section 6.2.1)."""

    kty: str
    crv: str
    x: str
    y: str
    kid: str
    use: str
    alg: str


class JwkSet(TypedDict):
    """RFC 7517 section 5."""

    keys: list[Jwk]


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a token says, once its signature has been checked.

    Instants are seconds since 1970 (RFC 7519 section 2). `sid` is the session, `tid` the tenant, `scope` is
    separated by spaces (RFC 9068 section 2.2). Members that are not named here are ignored.
    """

    iss: str
    aud: str
    sub: str
    iat: int
    exp: int
    nbf: int | None = None
    jti: str = ""
    sid: str = ""
    tid: str = ""
    client_id: str = ""
    scope: str = ""
    nonce: str = ""
    auth_time: int | None = None
    acr: str = ""
    amr: tuple[str, ...] = ()
    cnf: dict[str, str] | None = None
    authorization_details: tuple[dict[str, object], ...] = ()


_decode = msgspec.json.Decoder(Claims).decode
_encode = msgspec.json.Encoder().encode


def generate_signing_key() -> bytes:
    """A new ECDSA P-256 private key as PKCS #8 PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def thumbprint(key: bytes) -> str:
    """The RFC 7638 thumbprint of a PEM key: a `kid` that names the key by what it is."""
    return _import_key(key).thumbprint()


def key_set(keys: Iterable[Jwk]) -> JwkSet:
    """What an issuer publishes at its `jwks_uri`."""
    return {"keys": list(keys)}


class Signer:
    """Signs with one private key (PKCS #8 PEM) under one `kid`. Raises ValueError on another kind of key."""

    def __init__(self, kid: str, key: bytes) -> None:
        self.kid = kid
        self._key = _import_key(key)
        if not self._key.is_private:
            raise ValueError("signing needs a private key")

    def sign(self, claims: Claims | Mapping[str, object], typ: str) -> str:
        """A compact JWS whose payload is `claims` as JSON; `typ` goes into the header (RFC 8725, 3.11)."""
        signed = f"{_head(self.kid, typ)}.".encode() + urlsafe_b64encode(msgspec.json.encode(claims))
        return (signed + b"." + urlsafe_b64encode(_ES256.sign(signed, self._key))).decode()

    def public_jwk(self) -> Jwk:
        """The public part alone: it is built member by member, so the private one cannot slip through."""
        public = self._key.as_dict(private=False)
        return Jwk(
            kty="EC",
            crv="P-256",
            x=str(public["x"]),
            y=str(public["y"]),
            kid=self.kid,
            use="sig",
            alg=_ALGORITHM,
        )


class Verifier:
    """Checks tokens against the public keys of one issuer.

    Raises ValueError on a key that is private, not P-256, without `kid`, or twice there.
    """

    def __init__(self, keys: Iterable[Mapping[str, object]]) -> None:
        self._keys: dict[str, ECKey] = {}
        self._heads: dict[str, dict[str, ECKey]] = {}
        for jwk in keys:
            kid, key = _public_key(jwk)
            if kid in self._keys:
                raise ValueError(f"two keys are called {kid}")
            self._keys[kid] = key

    def verify(
        self,
        token: str,
        typ: str,
        issuer: str,
        audience: str,
        now: datetime,
        leeway: timedelta = timedelta(0),
    ) -> Claims:
        """The claims of a token that is all of this: well formed, ES256, of this type, signed by one of our
        keys, by this issuer, for this audience, at this time. Raises TokenError with the first fault."""
        # 1. Small enough to be read at all.
        check_size(token)
        # 2. The header names our algorithm, the expected type, one of our keys, and nothing besides.
        key = self._key_for(token, typ)
        # 3. The signature holds; nothing in the payload is looked at before.
        payload = _verified_payload(token, key)
        # 4. The payload has every claim, once and of the right kind.
        claims = _read_claims(payload)
        # 5. It was made by this issuer, for this audience.
        if claims.iss != issuer:
            refuse("issuer", claims.iss)
        if claims.aud != audience:
            refuse("audience", claims.aud)
        # 6. Now lies inside its life.
        begins = claims.iat if claims.nbf is None else max(claims.iat, claims.nbf)
        check_time(claims.exp, begins, now.timestamp(), leeway.total_seconds())
        return claims

    def read_statement(self, token: str, typ: str) -> bytes:
        """The payload of a statement that is no token: well formed, ES256, of this type, signed by one of our
        keys. It says nothing of when or for whom; that is for its reader. Raises TokenError."""
        check_size(token)
        return _verified_payload(token, self._key_for(token, typ))

    def _key_for(self, token: str, typ: str) -> ECKey:
        # What stands there letter for letter as our own signer writes it says what our own signer says.
        heads = self._heads.get(typ) or self._own_heads(typ)
        head, _, rest = token.partition(".")
        key = heads.get(head)
        return key if key is not None and rest.count(".") == 1 else self._key_of_header(token, typ)

    def _own_heads(self, typ: str) -> dict[str, ECKey]:
        """`typ` is a word of this code: there are a few."""
        heads = self._heads[typ] = {_head(kid, typ): key for kid, key in self._keys.items()}
        return heads

    def _key_of_header(self, token: str, typ: str) -> ECKey:
        header = read_header(token)
        # `alg` first: "none", or HS256 keyed with our public key, are the classic forgeries (RFC 8725, 2.1).
        if header.get("alg") != _ALGORITHM:
            refuse("algorithm", str(header.get("alg")))
        # One kind of token must not pass for another (RFC 8725 section 2.8).
        if header.get("typ") != typ:
            refuse("type", str(header.get("typ")))
        check_header_members(header)
        kid = header.get("kid")
        key = self._keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            refuse("signature", f"no key is called {kid!r}")
        return key


@lru_cache(maxsize=256)
def _head(kid: str, typ: str) -> str:
    header = {"alg": _ALGORITHM, "typ": typ, "kid": kid}
    return urlsafe_b64encode(msgspec.json.encode(header)).decode()


def _verified_payload(token: str, key: ECKey) -> bytes:
    """RFC 7515 section 5.2 for a token whose header has been read: what is signed is its text as it came."""
    try:
        signed, _, signature = token.encode("ascii").rpartition(b".")
        genuine = _ES256.verify(signed, decode_segment(signature), key)
        payload = decode_segment(signed.partition(b".")[2])
    except (JoseError, ValueError) as error:
        raise TokenError("signature", str(error)) from None
    if not genuine:
        refuse("signature", "it does not fit")
    return payload


def _read_claims(payload: bytes) -> Claims:
    try:
        claims = _decode(payload)
        # Byte for byte what our own signer makes of it: so it names nothing twice, and nothing besides.
        if _encode(claims) == payload:
            return claims
    except (ValueError, RecursionError):
        pass
    return _any_claims(payload)


def _any_claims(payload: bytes) -> Claims:
    """For a payload that another hand wrote, which may be good all the same."""
    try:
        return msgspec.convert(read_object(payload), Claims, strict=True)
    except (ValueError, RecursionError) as error:
        raise TokenError("malformed", f"claims: {error}") from None


def _import_key(key: bytes) -> ECKey:
    try:
        imported = ECKey.import_key(key)
    except (JoseError, TypeError) as error:
        raise ValueError(str(error)) from None
    if imported.curve_name != "P-256":
        raise ValueError(f"the key is on {imported.curve_name}, not on P-256")
    return imported


def _public_key(jwk: Mapping[str, object]) -> tuple[str, ECKey]:
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not kid:
        raise ValueError("a key without kid")
    if "d" in jwk or jwk.get("kty") != "EC" or jwk.get("crv") != "P-256":
        raise ValueError(f"{kid} is not a public key on P-256")
    try:
        key = ECKey.import_key({name: str(jwk[name]) for name in ("kty", "crv", "x", "y")})
    except (JoseError, KeyError) as error:
        raise ValueError(f"{kid}: {error}") from None
    return kid, key
