"""AWS Signature Version 4 for S3, as its specification has it; pure but for the instant, which is passed in.

obstore signs what it sends, but cannot send what a resumed upload and a lock need (see docs/decisions).
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from troth.core.secret import Secret


class Signer(msgspec.Struct, frozen=True):
    """Whose requests, and to which region."""

    access_key_id: str
    secret_access_key: Secret
    region: str
    session_token: str = ""


def sign(
    signer: Signer,
    method: str,
    host: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    payload_sha256: str,
    now: datetime,
) -> dict[str, str]:
    """All headers of the request, signature included. `path` is not encoded yet; `headers` has no `host`.

    Every header is signed, so that nobody on the way can turn a lock off.
    """
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    sent = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    sent |= {"host": host, "x-amz-content-sha256": payload_sha256, "x-amz-date": stamp}
    if signer.session_token:
        sent["x-amz-security-token"] = signer.session_token
    names = sorted(sent)
    canonical = "\n".join(
        (
            method,
            encode_path(path),
            encode_query(query),
            *(f"{name}:{sent[name]}" for name in names),
            "",
            ";".join(names),
            payload_sha256,
        )
    )
    scope = f"{stamp[:8]}/{signer.region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4" + signer.secret_access_key.reveal()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signer.access_key_id}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={key.hex()}"
    )
    return sent


def encode_path(path: str) -> str:
    """Everything but unreserved characters (RFC 3986 section 2.3) and slashes as %XX."""
    return quote(path, safe="/-_.~")


def encode_query(query: Mapping[str, str]) -> str:
    """Sorted, and encoded as `encode_path` does, slashes too."""
    return "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(query.items())
    )
