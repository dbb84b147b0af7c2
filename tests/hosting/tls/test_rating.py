"""The grade follows the guide: each fault leaves at most what the guide leaves, and is named."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from troth.core.certificate_facts import CertificateFacts
from troth.hosting.tls.rating import LONG_HSTS, rate
from troth.hosting.tls.scan import Scan
from troth.hosting.tls.suites import CLASSIC, SSL_3, TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3, Suite

YEAR = timedelta(days=365)
KEY = CertificateFacts(
    "ECDSA secp256r1", 3072, "sha256", timedelta(days=90), datetime(2027, 1, 1, tzinfo=UTC)
)
GOOD = Scan(
    versions=(TLS_1_2, TLS_1_3),
    suites=tuple(map(Suite, (0x1301, 0x1302, 0x1303, 0xC02B, 0xC02C, 0xCCA9))),
    groups=(0x11EC, 0x001D, 0x0017),
    dh_bits=(),
    certificate=KEY,
    distrust="",
)


def code(name: str) -> int:
    return next(number for number, known in CLASSIC.items() if known == name)


def but(**changes: Any) -> Scan:
    return msgspec.structs.replace(GOOD, **changes)


def with_suite(name: str) -> Scan:
    return but(suites=(*GOOD.suites, Suite(code(name))))


def with_key(strength: int, digest: str = "sha256") -> Scan:
    return but(certificate=msgspec.structs.replace(KEY, strength=strength, digest=digest))


def test_a_server_without_fault_earns_the_best_grade() -> None:
    rating = rate(GOOD, YEAR)
    assert (rating.grade, rating.objections) == ("A+", ())
    assert (rating.protocols, rating.key_exchange, rating.ciphers, rating.score) == (100, 90, 90, 93)


@pytest.mark.parametrize(
    ("scan", "grade", "reason"),
    [
        (but(versions=(TLS_1_2,)), "A-", "TLS 1.3"),
        (but(versions=(TLS_1_1, TLS_1_2, TLS_1_3)), "B", "TLS 1.1"),
        (but(versions=(TLS_1_0, TLS_1_2, TLS_1_3)), "B", "TLS 1.0"),
        (but(versions=(TLS_1_0,)), "C", "neither TLS 1.2 nor 1.3"),
        (but(versions=(SSL_3, TLS_1_3)), "C", "SSL 3.0"),
        (with_suite("ECDHE_ECDSA_WITH_AES_128_CBC_SHA"), "B", "authenticated encryption"),
        (with_suite("RSA_WITH_AES_256_GCM_SHA384"), "B", "forward secrecy"),
        (with_suite("ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"), "C", "64 bits"),
        (with_suite("ECDHE_RSA_WITH_RC4_128_SHA"), "C", "RC4"),
        (with_suite("RSA_EXPORT_WITH_RC4_40_MD5"), "F", "EXPORT"),
        (with_suite("ECDHE_ECDSA_WITH_NULL_SHA"), "F", "NULL"),
        (with_suite("DH_anon_WITH_AES_128_GCM_SHA256"), "F", "anon"),
        (but(dh_bits=(1024,)), "B", "2048 bits"),
        (with_key(1024), "B", "2048 bits"),
        (with_key(3072, "sha1"), "F", "sha1"),
        (but(compresses=True), "B", "CRIME"),
        (but(renegotiates_unsafely=True), "F", "RFC 5746"),
        (but(distrust="certificate has expired"), "T", "expired"),
    ],
)
def test_a_fault_caps_the_grade_and_is_named(scan: Scan, grade: str, reason: str) -> None:
    rating = rate(scan, YEAR)
    assert rating.grade == grade
    assert reason in rating.objections[0]


@pytest.mark.parametrize("hsts", [None, timedelta(0), LONG_HSTS - timedelta(seconds=1)])
def test_without_long_hsts_an_a_is_no_a_plus(hsts: timedelta | None) -> None:
    rating = rate(GOOD, hsts)
    assert rating.grade == "A"
    assert "HSTS" in rating.objections[0]
    assert rate(GOOD, LONG_HSTS).grade == "A+"


@pytest.mark.parametrize(("strength", "score"), [(4096, 100), (3072, 90), (1024, 80), (512, 40), (384, 20)])
def test_a_key_scores_by_its_strength(strength: int, score: int) -> None:
    scan = msgspec.structs.replace(with_key(strength), groups=(0x0018,))
    assert rate(scan, YEAR).key_exchange == score


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("ECDHE_ECDSA_WITH_AES_128_CCM", 128),
        ("ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 256),
        ("RSA_EXPORT_WITH_DES40_CBC_SHA", 40),
        ("RSA_WITH_DES_CBC_SHA", 56),
        ("RSA_WITH_NULL_MD5", 0),
    ],
)
def test_the_bits_of_a_cipher_are_read_from_its_name(name: str, bits: int) -> None:
    assert Suite(code(name)).bits == bits


def test_every_suite_has_bits() -> None:
    assert all(Suite(number).bits >= 0 for number in CLASSIC)
