"""The platform's certificate authorities: one small authority for each trust domain.

An authority signs leaf certificates alone (path length 0) and its leaves live for hours. What is stolen
before its end is revoked with the whole authority, see `core.trust`. ECDSA on P-256 throughout (RFC 5480),
profile RFC 5280.
"""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from troth.core.errors import PlatformError
from troth.core.secret import Secret, read_secret, write_public, write_secret

AUTHORITY_LIFETIME = timedelta(days=3653)
"""Ten years: longer than any machine is expected to keep its state folder."""

BACKDATE = timedelta(minutes=1)
"""A reader whose clock is a little behind ours must not find a fresh certificate not yet valid."""

_COMMON_NAME_LIMIT = 64
"""RFC 5280, appendix A.1, ub-common-name."""

Usage = Literal["server", "client", "both"]

_PURPOSES: dict[Usage, list[x509.ObjectIdentifier]] = {
    "server": [ExtendedKeyUsageOID.SERVER_AUTH],
    "client": [ExtendedKeyUsageOID.CLIENT_AUTH],
    "both": [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
}


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a leaf certificate names, and which side of a connection it may stand on.

    `dns` and `addresses` go into the subject alternative name, as does `uri`
    (`spiffe://troth/<role>/<name>`). A `common_name` of more than 64 characters is left out of the subject,
    for X.509 has no room for it."""

    common_name: str
    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ("127.0.0.1",)
    uri: str = ""
    usage: Usage


class Leaf(msgspec.Struct, frozen=True):
    """A certificate, its private key (PKCS #8) and the instant at which it ends."""

    certificate_pem: bytes
    key_pem: Secret
    not_after: datetime


class LeafFiles(msgspec.Struct, frozen=True):
    """Where a leaf was written."""

    certificate: Path
    key: Path


class CertificateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate says of itself; nothing here was verified."""

    common_name: str
    dns: tuple[str, ...]
    addresses: tuple[str, ...]
    uris: tuple[str, ...]
    issuer: str
    serial: int
    not_before: datetime
    not_after: datetime


class Authority:
    """One trust domain's authority. `open` makes or loads it; `issue` signs a leaf."""

    def __init__(
        self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, file: Path
    ) -> None:
        self.name = name
        self.certificate_pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.certificate_file = file
        self.not_after = certificate.not_valid_after_utc
        self._certificate = certificate
        self._key = key

    @classmethod
    def open(cls, folder: Path, name: str, *, now: datetime, stem: str = "ca") -> "Authority":
        """Load `folder/name/{ca.pem,ca.key}` (or another `stem`), or make them when there are none.

        `folder` is the state's `authorities`. Raises PlatformError when the key is missing, belongs to
        another certificate or may be read by others, and when the authority has expired.
        """
        place = folder / name
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificate_file, key_file = place / f"{stem}.pem", place / f"{stem}.key"
        key = _open_key(key_file, may_make=not certificate_file.exists())
        if not certificate_file.exists():
            pem = _self_signed(name, key, now).public_bytes(serialization.Encoding.PEM)
            write_public(certificate_file, pem)
        certificate = _read_certificate(certificate_file)
        _check_authority(certificate, key, certificate_file, now)
        return cls(name, certificate, key, certificate_file)

    def issue(self, subject: Subject, *, now: datetime, lifetime: timedelta) -> Leaf:
        """Sign a new key for `subject`. The leaf never outlives its authority.

        Raises ValueError when an address is no IP address or a name is not ASCII (encode it with IDNA first).
        """
        key = ec.generate_private_key(ec.SECP256R1())
        not_after = min(now + lifetime, self.not_after)
        builder = _builder(_leaf_name(subject), self._certificate.subject, key, now, not_after)
        builder = _with_leaf_extensions(builder, subject)
        builder = builder.add_extension(_authority_key_identifier(self._certificate), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Leaf(
            certificate.public_bytes(serialization.Encoding.PEM),
            Secret(_key_bytes(key)),
            certificate.not_valid_after_utc,
        )

    def read_leaf(self, files: LeafFiles, subject: Subject, *, now: datetime) -> Leaf | None:
        """The leaf in these files, if it is this authority's, names `subject`, has its key and lives
        still."""
        try:
            certificate = _read_certificate(files.certificate)
            certificate.verify_directly_issued_by(self._certificate)
            if not same_key(files.certificate, files.key):
                return None
            pem = certificate.public_bytes(serialization.Encoding.PEM)
            facts, key = read_certificate(pem), read_secret(files.key)
        except (OSError, PlatformError, ValueError, TypeError, InvalidSignature):
            return None
        named = (frozenset(facts.dns), frozenset(facts.addresses), facts.uris)
        wanted = (frozenset(subject.dns), frozenset(subject.addresses), (subject.uri,))
        return Leaf(pem, key, facts.not_after) if named == wanted and now < facts.not_after else None


def write_leaf(leaf: Leaf, folder: Path, name: str) -> LeafFiles:
    """Write `name.pem` (0644) and `name.key` (0600) into `folder`, each replaced in one step.

    The key comes first: a reader that is told to reload only after this returns sees a matching pair.
    """
    files = LeafFiles(folder / f"{name}.pem", folder / f"{name}.key")
    write_secret(files.key, leaf.key_pem.reveal())
    write_public(files.certificate, leaf.certificate_pem)
    return files


def renew_at(certificate_pem: bytes, now: datetime) -> datetime:
    """When to replace this certificate: at two thirds of its life, or `now` when that has passed."""
    facts = read_certificate(certificate_pem)
    return max(facts.not_before + (facts.not_after - facts.not_before) * 2 / 3, now)


def read_certificate(certificate_pem: bytes) -> CertificateFacts:
    """What the first certificate of a PEM says. Raises ValueError when there is none."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    names = _alternative_names(certificate)
    return CertificateFacts(
        common_name=_common_name(certificate.subject),
        dns=tuple(names.get_values_for_type(x509.DNSName)),
        addresses=tuple(str(address) for address in names.get_values_for_type(x509.IPAddress)),
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
        issuer=_common_name(certificate.issuer),
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _open_key(file: Path, *, may_make: bool) -> ec.EllipticCurvePrivateKey:
    if not file.exists() and may_make:
        write_secret(file, _key_bytes(ec.generate_private_key(ec.SECP256R1())))
    secret = read_secret(file)
    try:
        key = serialization.load_pem_private_key(secret.reveal(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PlatformError(f"{file} holds no private key.", hint=_start_again(file)) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise PlatformError(f"{file} holds a key that is not ECDSA on P-256.", hint=_start_again(file))
    return key


def _read_certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except ValueError:
        raise PlatformError(f"{file} holds no certificate.", hint=_start_again(file)) from None


def _check_authority(
    certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, file: Path, now: datetime
) -> None:
    if certificate.public_key() != key.public_key():
        raise PlatformError(f"{file} does not belong to the key beside it.", hint=_start_again(file))
    if now >= certificate.not_valid_after_utc:
        ended = certificate.not_valid_after_utc.astimezone(UTC).date()
        raise PlatformError(f"The authority {file} expired on {ended}.", hint=_start_again(file))


def _start_again(file: Path) -> str:
    return (
        f"Restore {file.parent} from a backup, or remove that folder: a new authority is made at the next "
        "start, and whoever trusted the old one has to trust the new one."
    )


def _self_signed(name: str, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    """The subject carries a piece of the key identifier.

    Two authorities of one name and different keys on one machine confuse a browser's chain building.
    """
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    subject = _name(f"Troth {name} authority {identifier.digest.hex()[:8]}")
    return (
        _builder(subject, subject, key, now, now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _with_leaf_extensions(builder: x509.CertificateBuilder, subject: Subject) -> x509.CertificateBuilder:
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_PURPOSES[subject.usage]), critical=False)
    )
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in subject.dns]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in subject.addresses]
    if subject.uri:
        names.append(x509.UniformResourceIdentifier(subject.uri))
    if not names:
        return builder
    # RFC 5280 section 4.1.2.6: with an empty subject the alternative name is critical.
    empty = len(subject.common_name) > _COMMON_NAME_LIMIT
    return builder.add_extension(x509.SubjectAlternativeName(names), critical=empty)


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    """An authority signs certificates and nothing else; a leaf signs handshakes and nothing else."""
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _leaf_name(subject: Subject) -> x509.Name:
    if len(subject.common_name) > _COMMON_NAME_LIMIT:
        return x509.Name([])
    return _name(subject.common_name)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _common_name(name: x509.Name) -> str:
    attributes = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attributes[0].value) if attributes else ""


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def same_key(certificate_file: Path, key_file: Path) -> bool:
    """Whether a key belongs to a certificate. Raises PlatformError when either cannot be read."""
    key = _open_key(key_file, may_make=False)
    return _read_certificate(certificate_file).public_key() == key.public_key()
