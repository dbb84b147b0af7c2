"""DPoP proofs: tokens of one request, signed with a key that they bring along (RFC 9449 section 4).

Here alone a key is taken from a token. It proves nothing about whose it is: its thumbprint is compared with
the one that an access token, a code or a refresh token is bound to.
"""

from collections.abc import Mapping
from typing import Annotated, cast

import msgspec
from joserfc.util import urlsafe_b64decode

from troth.core.client_kinds import CLIENT_ALGORITHMS
from troth.core.jose_clients import verify_with_key
from troth.core.jose_parts import TokenError, check_size, read_header, read_object, refuse

PROOF = "dpop+jwt"
PROOF_ALGORITHMS = CLIENT_ALGORITHMS
MAX_PROOF_BYTES = 4 * 1024

_HEADER = frozenset({"alg", "typ", "jwk"})


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof says, once its signature has been checked. `jkt` is the thumbprint of its key (RFC
    7638)."""

    jti: Annotated[str, msgspec.Meta(min_length=8, max_length=256)]
    htm: Annotated[str, msgspec.Meta(max_length=20)]
    htu: Annotated[str, msgspec.Meta(max_length=2048)]
    iat: int
    ath: str = ""
    nonce: Annotated[str, msgspec.Meta(max_length=200)] = ""
    jkt: str = ""


def read_proof(token: str) -> Proof:
    """A proof that was signed with the key in its header. Raises TokenError. Method, address, time, nonce and
    whether it was used before are for the caller to check."""
    # 1. Small enough to be read at all.
    if len(token) > MAX_PROOF_BYTES:
        refuse("malformed", f"{len(token)} characters")
    check_size(token)
    # 2. The header says it is a proof, by an algorithm of ours, with one public key, and nothing besides.
    header = read_header(token)
    if header.get("typ") != PROOF:
        refuse("type", str(header.get("typ")))
    if header.get("alg") not in PROOF_ALGORITHMS:
        refuse("algorithm", str(header.get("alg")))
    jwk = header.get("jwk")
    if header.keys() != _HEADER or not isinstance(jwk, dict):
        refuse("malformed", f"header members {sorted(header)}")
    # 3. The signature of that key holds.
    thumbprint = verify_with_key(token, str(header["alg"]), cast("Mapping[str, object]", jwk))
    # 4. It says everything once, and of the right kind.
    try:
        payload = read_object(urlsafe_b64decode(token.split(".")[1].encode("ascii")))
        proof = msgspec.convert({**payload, "jkt": thumbprint}, Proof, strict=True)
    except (ValueError, RecursionError) as error:
        raise TokenError("malformed", f"claims: {error}"[:200]) from None
    return proof
