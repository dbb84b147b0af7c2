"""TLS certificates: a client proves who it is with one, and tokens are bound to it (RFC 8705).

A certificate is proof of the key behind it only because the edge took it from the handshake.
"""

import base64
import hashlib
from datetime import datetime

from troth.access.errors import InvalidClient
from troth.access.oauth.clients import Client
from troth.core.client_certificates import CertificateError, ClientCertificate, normalise_subject
from troth.core.secret import equal

_REFUSED = "the client certificate is missing or not this client's"


def certificate_thumbprint(certificate: bytes) -> str:
    """The `x5t#S256` of a certificate in DER (RFC 8705 section 3.1)."""
    return base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).decode().rstrip("=")


def holds_certificate(certificate: bytes, thumbprint: str) -> bool:
    """Whether this certificate (empty when none was shown) is the one that a token is bound to."""
    return bool(certificate) and equal(certificate_thumbprint(certificate).encode(), thumbprint.encode())


def check_certificate(client: Client, certificate: bytes, now: datetime) -> None:
    """Raise InvalidClient unless this certificate is the client's, by the method it is registered with."""
    if not certificate:
        raise InvalidClient(_REFUSED, detail="no certificate")
    try:
        shown = ClientCertificate(certificate)
        if client.token_endpoint_auth_method == "self_signed_tls_client_auth":  # noqa: S105 - a method
            _check_registered(client, certificate)
            shown.check_time(now)
        else:
            shown.check_issuer([base64.b64decode(one) for one in client.tls_client_auth_authorities], now)
            _check_name(client, shown)
    except CertificateError as error:
        raise InvalidClient(_REFUSED, detail=error.detail) from None


def _check_registered(client: Client, certificate: bytes) -> None:
    """RFC 8705 section 2.2: one of the very certificates that were registered; no chain is built."""
    if not any(holds_certificate(certificate, key.get("x5t#S256", "")) for key in client.jwks):
        raise CertificateError("another certificate")


def _check_name(client: Client, shown: ClientCertificate) -> None:
    """RFC 8705 section 2.1.2: exactly one name was registered, and the certificate bears it."""
    names = (
        (client.tls_client_auth_san_dns, shown.dns),
        (client.tls_client_auth_san_uri, shown.uris),
        (client.tls_client_auth_san_ip, shown.addresses),
        (client.tls_client_auth_san_email, shown.emails),
    )
    wanted = client.tls_client_auth_subject_dn
    if wanted and normalise_subject(wanted) == shown.subject:
        return
    if not any(name and name in found for name, found in names):
        raise CertificateError("another name")
