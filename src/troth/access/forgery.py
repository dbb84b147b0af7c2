"""Tokens as an attacker would make them from a good one, for probes and tests."""

import base64
import hashlib
import hmac
from typing import Any

import msgspec


def forgeries(good: str) -> dict[str, str]:
    """Forged variants of a compact JWS (RFC 7515), each named by its trick (RFC 8725 section 2)."""
    head, body, signature = good.split(".")
    header: dict[str, Any] = msgspec.json.decode(_decode(head))
    unsigned = _encode(header | {"alg": "none"})
    symmetric = _encode(header | {"alg": "HS256"})
    return {
        "changed claims": f"{head}.{_promoted(body)}.{signature}",
        "changed signature": f"{head}.{body}.{_flipped(signature)}",
        "no signature": f"{head}.{body}.",
        "algorithm none": f"{unsigned}.{body}.",
        "algorithm HS256": f"{symmetric}.{body}.{_hmac(symmetric, body, str(header.get('kid', '')))}",
        "unknown key": f"{_encode(header | {'kid': 'nobody'})}.{body}.{signature}",
        "another type": f"{_encode(header | {'typ': 'JWT'})}.{body}.{signature}",
        "not a token": "a.b.c",
    }


def claims_of(token: str) -> dict[str, Any]:
    """What a compact JWS says, unverified: as an attacker reads it, to say something else."""
    return msgspec.json.decode(_decode(token.split(".")[1]))


def _promoted(body: str) -> str:
    claims: dict[str, Any] = msgspec.json.decode(_decode(body))
    return _encode(claims | {"exp": int(claims.get("exp", 0)) + 86_400})


def _flipped(signature: str) -> str:
    raw = bytearray(_decode(signature))
    raw[0] ^= 1
    return base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode()


def _hmac(head: str, body: str, secret: str) -> str:
    """The confusion attack: sign symmetrically with something that is public (RFC 8725 section 2.1)."""
    digest = hmac.new(secret.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _encode(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).rstrip(b"=").decode()


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
