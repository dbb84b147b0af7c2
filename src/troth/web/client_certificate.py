"""The TLS certificate of a caller, as the edge saw it in the handshake on the domain's alias for mutual TLS.

The edge alone sets this header, and takes it from every request that comes with one.
"""

import base64
import binascii

CERTIFICATE_HEADER = "x-troth-client-certificate"
MAX_CERTIFICATE = 16 * 1024


def read_certificate(header: str | None) -> bytes:
    """The certificate in DER, or nothing when none was shown (or what came is none)."""
    if not header or len(header) > MAX_CERTIFICATE:
        return b""
    try:
        return base64.b64decode(header, validate=True)
    except (binascii.Error, ValueError):
        return b""
