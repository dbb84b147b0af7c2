"""The platform's authorities, judged by OpenSSL and by real handshakes."""

import ipaddress
import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from troth.core import ca
from troth.core.ca import Authority, Leaf, LeafFiles, Subject, Usage
from troth.core.errors import PlatformError

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def make_leaf(authority: Authority, usage: Usage, **names: str) -> Leaf:
    subject = Subject(
        common_name=names.get("name", "web-1"),
        dns=("residents.localhost",),
        uri="spiffe://troth/instance/web-1",
        usage=usage,
    )
    return authority.issue(subject, now=NOW, lifetime=DAY)


def write(leaf: Leaf, folder: Path, name: str) -> LeafFiles:
    return ca.write_leaf(leaf, folder, name)


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "authorities", "instances", now=NOW)


@pytest.fixture
def callers(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "authorities", "callers", now=NOW)


@pytest.mark.parametrize(("usage", "purpose"), [("server", "sslserver"), ("client", "sslclient")])
def test_openssl_accepts_a_leaf_for_its_own_side_only(
    authority: Authority, tmp_path: Path, usage: Usage, purpose: str
) -> None:
    files = write(make_leaf(authority, usage), tmp_path, "leaf")
    other = "sslclient" if purpose == "sslserver" else "sslserver"
    verify = ("verify", "-x509_strict", "-CAfile", authority.certificate_file, "-purpose")
    assert openssl(*verify, purpose, files.certificate).returncode == 0
    assert openssl(*verify, other, files.certificate).returncode != 0


def test_openssl_accepts_a_leaf_of_both_sides_for_each(authority: Authority, tmp_path: Path) -> None:
    files = write(make_leaf(authority, "both"), tmp_path, "leaf")
    for purpose in ("sslserver", "sslclient"):
        verified = openssl(
            "verify",
            "-x509_strict",
            "-CAfile",
            authority.certificate_file,
            "-purpose",
            purpose,
            files.certificate,
        )
        assert verified.returncode == 0, verified.stderr


def test_another_authority_does_not_vouch_for_a_leaf(
    authority: Authority, callers: Authority, tmp_path: Path
) -> None:
    files = write(make_leaf(authority, "server"), tmp_path, "leaf")
    assert openssl("verify", "-CAfile", callers.certificate_file, files.certificate).returncode != 0


def test_a_leaf_cannot_sign_further_certificates(authority: Authority) -> None:
    root = x509.load_pem_x509_certificate(authority.certificate_pem)
    leaf = x509.load_pem_x509_certificate(make_leaf(authority, "server").certificate_pem)
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is False


def test_a_leaf_carries_names_purpose_and_key_identifiers(authority: Authority) -> None:
    root = x509.load_pem_x509_certificate(authority.certificate_pem)
    leaf = x509.load_pem_x509_certificate(make_leaf(authority, "server").certificate_pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["residents.localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://troth/instance/web-1"]
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]
    issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    subject = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert issuer.key_identifier == subject.digest


def test_the_life_of_a_leaf_begins_a_minute_early_and_serials_differ(authority: Authority) -> None:
    first = ca.read_certificate(make_leaf(authority, "server").certificate_pem)
    second = ca.read_certificate(make_leaf(authority, "server").certificate_pem)
    assert first.not_before == NOW.replace(microsecond=0) - timedelta(minutes=1)
    assert first.not_after == NOW.replace(microsecond=0) + DAY
    assert first.serial != second.serial
    assert first.serial.bit_length() > 64


def test_a_leaf_never_outlives_its_authority(authority: Authority) -> None:
    leaf = authority.issue(
        Subject(common_name="edge", usage="client"), now=NOW, lifetime=timedelta(days=9_999)
    )
    assert leaf.not_after == authority.not_after


def test_a_domain_longer_than_a_common_name_is_named_in_the_alternative_name(
    authority: Authority, tmp_path: Path
) -> None:
    domain = ".".join(["a" * 40, "b" * 40, "example"])
    leaf = authority.issue(
        Subject(common_name=domain, dns=(domain,), addresses=(), usage="server"), now=NOW, lifetime=DAY
    )
    facts = ca.read_certificate(leaf.certificate_pem)
    assert (facts.common_name, facts.dns) == ("", (domain,))
    files = write(leaf, tmp_path, "long")
    verified = openssl(
        "verify", "-x509_strict", "-CAfile", authority.certificate_file, "-verify_hostname", domain,
        files.certificate,
    )  # fmt: skip
    assert verified.returncode == 0, verified.stderr


def test_an_authority_is_the_same_when_opened_again(authority: Authority, tmp_path: Path) -> None:
    again = Authority.open(tmp_path / "authorities", "instances", now=NOW + DAY)
    assert again.certificate_pem == authority.certificate_pem
    assert (authority.certificate_file.parent / "ca.key").stat().st_mode & 0o777 == 0o600
    assert authority.certificate_file.parent.stat().st_mode & 0o777 == 0o700


def test_a_start_that_broke_off_before_the_certificate_is_completed(
    authority: Authority, tmp_path: Path
) -> None:
    files = write(make_leaf(authority, "server"), tmp_path, "leaf")
    authority.certificate_file.unlink()
    again = Authority.open(tmp_path / "authorities", "instances", now=NOW)
    assert openssl("verify", "-CAfile", again.certificate_file, files.certificate).returncode == 0


def test_a_key_of_another_authority_is_refused(
    authority: Authority, callers: Authority, tmp_path: Path
) -> None:
    stolen = callers.certificate_file.with_name("ca.key")
    stolen.replace(authority.certificate_file.with_name("ca.key"))
    with pytest.raises(PlatformError, match="does not belong to the key") as refused:
        Authority.open(tmp_path / "authorities", "instances", now=NOW)
    assert "Restore" in refused.value.hint


def test_a_certificate_without_its_key_is_not_quietly_replaced(authority: Authority, tmp_path: Path) -> None:
    authority.certificate_file.with_name("ca.key").unlink()
    with pytest.raises(PlatformError, match="missing"):
        Authority.open(tmp_path / "authorities", "instances", now=NOW)


def test_a_key_that_others_may_read_is_refused(authority: Authority, tmp_path: Path) -> None:
    authority.certificate_file.with_name("ca.key").chmod(0o644)
    with pytest.raises(PlatformError, match="read by other users"):
        Authority.open(tmp_path / "authorities", "instances", now=NOW)


@pytest.mark.parametrize("name", ["ca.pem", "ca.key"])
def test_a_file_that_holds_rubbish_is_named(authority: Authority, tmp_path: Path, name: str) -> None:
    authority.certificate_file.with_name(name).write_bytes(b"rubbish")
    with pytest.raises(PlatformError, match=name):
        Authority.open(tmp_path / "authorities", "instances", now=NOW)


def test_an_expired_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="expired on"):
        Authority.open(tmp_path / "authorities", "instances", now=NOW + timedelta(days=3_700))


def test_a_leaf_is_renewed_at_two_thirds_of_its_life(authority: Authority) -> None:
    pem = make_leaf(authority, "server").certificate_pem
    facts = ca.read_certificate(pem)
    due = ca.renew_at(pem, NOW)
    assert (due - facts.not_before) / (facts.not_after - facts.not_before) == pytest.approx(2 / 3)
    assert ca.renew_at(pem, NOW + timedelta(days=2)) == NOW + timedelta(days=2)


def test_a_key_is_written_for_its_owner_alone(authority: Authority, tmp_path: Path) -> None:
    leaf = make_leaf(authority, "server")
    files = write(leaf, tmp_path, "web")
    assert files.key.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in files.certificate.read_bytes()
    assert "PRIVATE" not in repr(leaf)
    assert {path.name for path in tmp_path.iterdir()} == {"authorities", "web.pem", "web.key"}


# ── real handshakes ──────────────────────────────────────────────────────────────────────────────────────


class Server:
    """One TLS 1.3 connection on the loopback interface that insists on a certificate of `callers`."""

    def __init__(self, files: LeafFiles, callers: Authority) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(files.certificate, files.key)
        self._context.load_verify_locations(callers.certificate_file)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        raw, _ = self._socket.accept()
        with raw:
            try:
                with self._context.wrap_socket(raw, server_side=True) as tls:
                    tls.sendall(b"welcome")
            except OSError:
                return

    def close(self) -> None:
        self._thread.join(10)
        self._socket.close()


def call(port: int, authority: Authority, files: LeafFiles | None) -> bytes:
    context = ssl.create_default_context(cafile=str(authority.certificate_file))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if files:
        context.load_cert_chain(files.certificate, files.key)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as tls,
    ):
        return tls.recv(16)


@pytest.fixture
def server(authority: Authority, callers: Authority, tmp_path: Path):
    files = write(make_leaf(authority, "server"), tmp_path, "server")
    server = Server(files, callers)
    yield server
    server.close()


def test_mutual_tls_accepts_a_caller_of_the_right_authority(
    server: Server, authority: Authority, callers: Authority, tmp_path: Path
) -> None:
    caller = write(make_leaf(callers, "client", name="edge"), tmp_path, "edge")
    assert call(server.port, authority, caller) == b"welcome"


def test_mutual_tls_refuses_a_caller_of_another_authority(
    server: Server, authority: Authority, tmp_path: Path
) -> None:
    stranger = write(make_leaf(authority, "client", name="edge"), tmp_path, "stranger")
    with pytest.raises(OSError, match=r"(?i)unknown ca|reset|pipe"):
        call(server.port, authority, stranger)


def test_mutual_tls_refuses_a_caller_without_a_certificate(server: Server, authority: Authority) -> None:
    with pytest.raises(OSError, match=r"(?i)certificate required|reset|pipe"):
        call(server.port, authority, None)


def test_mutual_tls_refuses_a_server_certificate_shown_as_a_caller(
    server: Server, authority: Authority, callers: Authority, tmp_path: Path
) -> None:
    wrong_side = write(make_leaf(callers, "server"), tmp_path, "wrong-side")
    with pytest.raises(OSError, match=r"(?i)unsupported certificate|unknown|reset|pipe"):
        call(server.port, authority, wrong_side)


def test_a_caller_refuses_a_server_of_another_authority(
    server: Server, callers: Authority, tmp_path: Path
) -> None:
    caller = write(make_leaf(callers, "client", name="edge"), tmp_path, "edge")
    with pytest.raises(ssl.SSLCertVerificationError):
        call(server.port, callers, caller)
