"""Reading a signed token before anything in it is believed: sizes, segments, JSON that says everything once.

What every verifier shares (RFC 7515, 7519, made strict after RFC 8725). No key is known here.
"""

import binascii
import json
from collections.abc import Mapping
from typing import Literal, NoReturn, cast

from troth.core.errors import TrothError

MAX_TOKEN_BYTES = 8 * 1024
"""A longer token is refused unread: parsing is work that anybody could order."""

TokenFault = Literal["expired", "signature", "issuer", "audience", "malformed", "algorithm", "type"]

HEADER_MEMBERS = frozenset({"alg", "typ", "kid"})
"""All that a header may say. `jku`, `jwk`, `x5u`, `x5c` would let a forger bring a key along; `crit` and
`b64` change the rules."""


_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
_WHOLE = (b"", b"AEIMQUYcgkosw048", b"AQgw")
"""Last characters whose unused bits are zero, by how many characters are wanting to a multiple of four."""


class TokenError(TrothError):
    """A token that proves nothing. `code` says why, for logs and metrics; a caller learns only `public`."""

    def __init__(self, code: TokenFault, detail: str) -> None:
        super().__init__("The token is not valid.", detail=detail)
        self.code: TokenFault = code


def refuse(code: TokenFault, detail: str) -> NoReturn:
    """Raise TokenError; what a stranger wrote is cut short before it reaches a log."""
    raise TokenError(code, detail[:200])


def decode_segment(text: bytes) -> bytes:
    """The bytes of a segment: base64url without padding (RFC 7515 section 2). Raises ValueError for anything
    else, also for a second spelling of the same bytes: `urlsafe_b64decode` of joserfc in one pass."""
    wanting = -len(text) % 4
    if wanting == 3 or (wanting and text[-1] not in _WHOLE[wanting]):
        raise ValueError("not base64url")
    return binascii.a2b_base64(text.translate(_STANDARD) + b"=" * wanting, strict_mode=True)


def check_size(token: str) -> None:
    """Raise TokenError when a token is too long to be read at all."""
    if len(token) > MAX_TOKEN_BYTES:
        refuse("malformed", f"{len(token)} characters")


def read_header(token: str) -> dict[str, object]:
    """The header of a compact JWS. Raises TokenError."""
    header, *rest = token.split(".")
    if len(rest) != 2:
        refuse("malformed", f"{len(rest) + 1} segments")
    try:
        return read_object(decode_segment(header.encode("ascii")))
    except (ValueError, RecursionError) as error:
        raise TokenError("malformed", f"header: {error}") from None


def check_header_members(header: Mapping[str, object]) -> None:
    """Raise TokenError when a header says more than it may."""
    if foreign := header.keys() - HEADER_MEMBERS:
        refuse("malformed", f"header members {sorted(foreign)}")


def read_object(text: bytes) -> dict[str, object]:
    """A JSON object. Raises ValueError, also when a name is there twice: two readers of such a token could
    each see another value (RFC 8725 section 2.4)."""
    value: object = _STRICT.decode(text.decode())
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return cast("dict[str, object]", value)


def check_time(expires: int, begins: int, now: float, leeway: float) -> None:
    """Raise TokenError unless now lies between the two instants."""
    if now >= expires + leeway:
        refuse("expired", f"ended {now - expires:.0f} s ago")
    if now < begins - leeway:
        refuse("expired", f"begins in {begins - now:.0f} s")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
