"""The certificates that clients show in the TLS handshake, judged here and not by the edge (RFC 8705).

The edge asks for one and hands it on; that its sender has the private key is what the handshake proved. Whose
it is, is decided for each client: by itself, or by an authority that was registered for this client.
"""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from troth.core.errors import TrothError

MAX_AUTHORITIES = 5


class CertificateError(TrothError):
    """A certificate that proves nothing. `detail` says why; a caller learns only `public`."""

    def __init__(self, detail: str) -> None:
        super().__init__("The certificate is not valid.", detail=detail[:200])


class ClientCertificate:
    """One certificate, by its DER. Raises CertificateError when it cannot be read."""

    def __init__(self, der: bytes) -> None:
        try:
            self._certificate = x509.load_der_x509_certificate(der)
            names = self._certificate.extensions
            found = names.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            found = x509.SubjectAlternativeName([])
        except (ValueError, TypeError) as error:
            raise CertificateError(f"unreadable: {error}") from None
        self.dns = tuple(found.get_values_for_type(x509.DNSName))
        self.uris = tuple(found.get_values_for_type(x509.UniformResourceIdentifier))
        self.addresses = tuple(str(one) for one in found.get_values_for_type(x509.IPAddress))
        self.emails = tuple(found.get_values_for_type(x509.RFC822Name))

    @property
    def subject(self) -> str:
        """The distinguished name as RFC 4514 writes it."""
        return self._certificate.subject.rfc4514_string()

    def public_key(self) -> bytes:
        """The public key (SPKI, PEM)."""
        return self._certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def check_time(self, now: datetime) -> None:
        """Raise CertificateError unless the certificate is valid at this moment."""
        if not self._certificate.not_valid_before_utc <= now < self._certificate.not_valid_after_utc:
            raise CertificateError("expired, or not valid yet")

    def check_issuer(self, authorities: Sequence[bytes], now: datetime) -> None:
        """Raise CertificateError unless one of these authorities (DER) signed it for clients, and it is valid
        now. An authority in between has to stand among them: the edge hands on the client's own alone."""
        if not authorities:
            raise CertificateError("no authority is registered")
        policy = PolicyBuilder().store(Store([x509.load_der_x509_certificate(one) for one in authorities]))
        policy = policy.time(now).extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=_FOR_CLIENTS
        )
        try:
            policy.build_client_verifier().verify(self._certificate, [])
        except VerificationError as error:
            raise CertificateError(f"chain: {error}") from None


def _check_usage(_: object, __: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    """A server's certificate is no client's (RFC 5280 section 4.2.1.12)."""
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("not for clients")


_FOR_CLIENTS = ExtensionPolicy.permit_all().may_be_present(
    x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _check_usage
)
"""Subject alternative names may be left out: RFC 8705 names a client by its subject too."""


def normalise_subject(text: str) -> str:
    """A distinguished name in the one form that is compared. Raises ValueError."""
    return x509.Name.from_rfc4514_string(text).rfc4514_string()


def read_authorities(pem: bytes) -> tuple[str, ...]:
    """The authorities of a PEM file, each as base64 of its DER. Raises ValueError with a sentence."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError("This is no PEM file with certificates.") from None
    if len(found) > MAX_AUTHORITIES:
        raise ValueError(f"At most {MAX_AUTHORITIES} authorities can vouch for a client.")
    return tuple(base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in found)


def decode_der(text: str) -> bytes:
    """Base64 of DER, as `x5c` has it (RFC 7517 section 4.7). Raises ValueError."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("A certificate is base64 of DER.") from None
