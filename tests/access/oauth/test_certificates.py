"""Clients that prove who they are with a TLS certificate (RFC 8705), and what a token is bound to."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from support.access import House
from support.client_keys import EC_KEY, public_jwk
from support.clients import add_client
from troth.access.errors import InvalidClient, InvalidRequest
from troth.access.oauth.certificates import certificate_thumbprint, holds_certificate
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import Client
from troth.core.ca import Authority, Subject
from troth.core.client_certificates import read_authorities
from troth.core.jose_clients import read_client_keys

NAME = x509.Name(
    [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Ledger"), x509.NameAttribute(NameOID.COMMON_NAME, "app")]
)


def der_of(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def self_signed(key: ec.EllipticCurvePrivateKey = EC_KEY, *, days: int = 1) -> bytes:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(NAME, NAME, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=2)).not_valid_after(now + timedelta(days=days))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def keys_of(*certificates: bytes) -> tuple[dict[str, str], ...]:
    chains = [[base64.b64encode(one).decode()] for one in certificates]
    return read_client_keys([public_jwk(EC_KEY, kid=str(n), x5c=one) for n, one in enumerate(chains)])


async def authenticate(house: House, certificate: bytes, **form: str) -> Client:
    request = ClientRequest(form={"client_id": "ledger-mtls", **form}, certificate=certificate)
    return await house.access.client_authentication.authenticate(house.domain, request)


async def refused(house: House, certificate: bytes, **form: str) -> str:
    with pytest.raises(InvalidClient) as error:
        await authenticate(house, certificate, **form)
    return error.value.detail


async def add(house: House, method: str, **more: Any) -> None:
    await add_client(house, "ledger-mtls", token_endpoint_auth_method=method, **more)


async def test_a_registered_certificate_of_its_own_is_the_proof(house: House) -> None:
    old, new = self_signed(), self_signed()
    await add(house, "self_signed_tls_client_auth", jwks=keys_of(old, new))
    assert (await authenticate(house, old)).id == "ledger-mtls"
    assert (await authenticate(house, new)).id == "ledger-mtls"
    # The same key in another certificate is another certificate (RFC 8705 section 2.2).
    assert await refused(house, self_signed()) == "another certificate"
    assert await refused(house, self_signed(ec.generate_private_key(ec.SECP256R1()))) == "another certificate"
    assert await refused(house, b"") == "no certificate"
    assert "unreadable" in await refused(house, b"\x30\x03\x02\x01\x00")


async def test_an_expired_certificate_is_no_proof(house: House) -> None:
    old = self_signed(days=-1)
    await add(house, "self_signed_tls_client_auth", jwks=keys_of(old))
    assert "expired" in await refused(house, old)


async def test_a_key_without_its_certificate_vouches_for_none(house: House) -> None:
    await add(house, "self_signed_tls_client_auth", jwks=read_client_keys([public_jwk(EC_KEY)]))
    assert await refused(house, self_signed()) == "another certificate"


def test_a_certificate_of_another_key_is_not_registered() -> None:
    other = self_signed(ec.generate_private_key(ec.SECP256R1()))
    for chain in ([base64.b64encode(other).decode()], ["MIIB"], ["!"], [], [1], "MIIB", ["x" * 20_000]):
        with pytest.raises(ValueError, match=r"[Cc]ertificate"):
            read_client_keys([public_jwk(EC_KEY, x5c=chain)])


class Issuers:
    """Two authorities; the first vouches for the client."""

    def __init__(self, folder: Path) -> None:
        self.now = datetime.now(UTC)
        self.trusted = Authority.open(folder, "trusted", now=self.now)
        self.other = Authority.open(folder, "other", now=self.now)

    @property
    def registered(self) -> tuple[str, ...]:
        return read_authorities(self.trusted.certificate_pem)

    def leaf(self, authority: Authority | None = None, **subject: Any) -> bytes:
        fields: dict[str, Any] = {"common_name": "ledger", "usage": "client", "addresses": (), **subject}
        one = Subject(**fields)
        issued = (authority or self.trusted).issue(one, now=self.now, lifetime=timedelta(hours=1))
        return der_of(issued.certificate_pem)


@pytest.fixture
def issuers(tmp_path: Path) -> Issuers:
    return Issuers(tmp_path)


@pytest.mark.parametrize(
    ("registered", "subject"),
    [
        ({"tls_client_auth_subject_dn": "CN=ledger"}, {"dns": ("x.example",)}),
        ({"tls_client_auth_san_dns": "ledger.example"}, {"dns": ("other.example", "ledger.example")}),
        ({"tls_client_auth_san_uri": "spiffe://ledger/app"}, {"uri": "spiffe://ledger/app"}),
        ({"tls_client_auth_san_ip": "192.0.2.7"}, {"addresses": ("192.0.2.7",)}),
    ],
)
async def test_a_name_that_the_clients_authority_vouches_for_is_the_proof(
    house: House, issuers: Issuers, registered: dict[str, str], subject: dict[str, Any]
) -> None:
    await add(house, "tls_client_auth", tls_client_auth_authorities=issuers.registered, **registered)
    assert (await authenticate(house, issuers.leaf(**subject))).id == "ledger-mtls"
    assert "chain" in await refused(house, issuers.leaf(issuers.other, **subject))
    assert await refused(house, issuers.leaf(common_name="mallory", dns=("evil.example",))) == "another name"
    assert "chain" in await refused(house, issuers.leaf(usage="server", **subject))
    assert "chain" in await refused(house, self_signed())
    house.access.clock.advance(hours=2)
    assert "chain" in await refused(house, issuers.leaf(**subject))


async def test_without_an_authority_or_a_name_nothing_proves_anything(house: House, issuers: Issuers) -> None:
    await add(house, "tls_client_auth", tls_client_auth_authorities=issuers.registered)
    assert await refused(house, issuers.leaf(dns=("x.example",))) == "another name"
    nobody: dict[str, Any] = {
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_subject_dn": "CN=ledger",
    }
    await add_client(house, "nobody", **nobody)
    request = ClientRequest(form={"client_id": "nobody"}, certificate=issuers.leaf())
    with pytest.raises(InvalidClient):
        await house.access.client_authentication.authenticate(house.domain, request)


async def test_a_certificate_stands_in_for_no_other_proof(house: House) -> None:
    certificate = self_signed()
    await add(house, "client_secret_post", jwks=keys_of(certificate))
    assert "registered for client_secret_post" in await refused(house, certificate)
    # A public client may show one, to have its tokens bound to it (RFC 8705 section 4).
    await add_client(house, "public")
    request = ClientRequest(form={"client_id": "public"}, certificate=certificate)
    assert (await house.access.client_authentication.authenticate(house.domain, request)).is_public


async def test_a_second_credential_beside_the_certificate_is_refused(house: House) -> None:
    certificate = self_signed()
    await add(house, "self_signed_tls_client_auth", jwks=keys_of(certificate))
    assert "registered for" in await refused(house, certificate, client_secret="x")
    with pytest.raises(InvalidRequest):
        await authenticate(house, certificate, client_secret="x", client_assertion_type="y")


def test_a_token_is_bound_to_the_hash_of_the_certificate() -> None:
    certificate = self_signed()
    expected = base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).decode().rstrip("=")
    assert certificate_thumbprint(certificate) == expected
    assert holds_certificate(certificate, expected)
    for other, thumbprint in ((self_signed(), expected), (b"", expected), (b"", certificate_thumbprint(b""))):
        assert not holds_certificate(other, thumbprint)
