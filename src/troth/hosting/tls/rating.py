"""The grade of a scan by the SSL Labs Server Rating Guide (version 2009q with the rule 2009r on TLS 1.3).

Three scores from 0 to 100, weighed 30 : 30 : 40, make a letter; rules about single features then cap it, and
a server without fault that insists on HTTPS earns A+. A certificate is trusted when the authority that
visitors are given trusts it: a local name has no public one.
"""

from collections.abc import Iterator
from datetime import timedelta

import msgspec

from troth.hosting.tls.scan import Scan
from troth.hosting.tls.suites import GROUPS, SSL_3, TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3, VERSIONS

LONG_HSTS = timedelta(days=180)
"""The least that the guide calls long."""

_PROTOCOLS = {SSL_3: 80, TLS_1_0: 90, TLS_1_1: 95, TLS_1_2: 100, TLS_1_3: 100}
_LETTERS = ((80, "A"), (65, "B"), (50, "C"), (35, "D"), (20, "E"), (0, "F"))
_ORDER = ("A+", "A", "A-", "B", "C", "D", "E", "F", "T")


class Rating(msgspec.Struct, frozen=True, kw_only=True):
    """`objections` are the reasons why it is not an A+, the gravest first."""

    grade: str
    score: int
    protocols: int
    key_exchange: int
    ciphers: int
    objections: tuple[str, ...]


def rate(scan: Scan, hsts: timedelta | None) -> Rating:
    """Grade a scan; `hsts` is the max-age of the domain's Strict-Transport-Security, None without one."""
    protocols = _mean([_PROTOCOLS[version] for version in scan.versions])
    key_exchange = min(map(_key_score, _strengths(scan)))
    ciphers = _mean([_cipher_score(suite.bits) for suite in scan.suites])
    scores = (protocols, key_exchange, ciphers)
    score = 0 if 0 in scores else round(0.3 * protocols + 0.3 * key_exchange + 0.4 * ciphers)
    letter = next(letter for least, letter in _LETTERS if score >= least)
    caps = sorted(_caps(scan, hsts), key=lambda cap: -_ORDER.index(cap[0]))
    worst = max([letter, *(cap for cap, _ in caps)], key=_ORDER.index)
    return Rating(
        grade="A+" if letter == "A" and not caps else worst,
        score=score,
        protocols=protocols,
        key_exchange=key_exchange,
        ciphers=ciphers,
        objections=tuple(reason for _, reason in caps),
    )


def _mean(scores: list[int]) -> int:
    """Of the best and the worst, as the guide wants it."""
    return (max(scores) + min(scores)) // 2


def _strengths(scan: Scan) -> Iterator[int]:
    """In bits of RSA. Whoever need not prove who they are has none."""
    yield scan.certificate.strength
    yield from (GROUPS[group][1] for group in scan.groups)
    yield from scan.dh_bits
    if any(suite.is_anonymous for suite in scan.suites):
        yield 0


def _key_score(bits: int) -> int:
    for least, score in ((4096, 100), (2048, 90), (1024, 80), (512, 40), (1, 20)):
        if bits >= least:
            return score
    return 0


def _cipher_score(bits: int) -> int:
    for least, score in ((256, 100), (128, 80), (1, 20)):
        if bits >= least:
            return score
    return 0


def _caps(scan: Scan, hsts: timedelta | None) -> Iterator[tuple[str, str]]:
    """The highest grade that each fault leaves, and the fault."""
    if scan.distrust:
        yield "T", f"its certificate is not trusted: {scan.distrust}"
    yield from _fatal(scan)
    if TLS_1_2 not in scan.versions and TLS_1_3 not in scan.versions:
        yield "C", "it speaks neither TLS 1.2 nor 1.3"
    for version in scan.versions:
        if version == SSL_3:
            yield "C", "it speaks SSL 3.0 (POODLE)"
        elif version in (TLS_1_0, TLS_1_1):
            yield "B", f"it speaks {VERSIONS[version]}"
    if TLS_1_3 not in scan.versions:
        yield "A-", "it does not speak TLS 1.3"
    yield from _weak_suites(scan)
    if any(0 < bits < 2048 for bits in _strengths(scan)):
        yield "B", "a key or its exchange is weaker than RSA of 2048 bits"
    if hsts is None or hsts < LONG_HSTS:
        yield "A", "it does not insist on HTTPS for half a year or longer (HSTS)"


def _fatal(scan: Scan) -> Iterator[tuple[str, str]]:
    if scan.renegotiates_unsafely:
        yield "F", "it renegotiates without RFC 5746"
    if scan.certificate.digest in ("md5", "sha1"):
        yield "F", f"its certificate is signed over {scan.certificate.digest}"
    weak = sorted({suite.name for suite in scan.suites if suite.bits < 112 or suite.is_anonymous})
    if weak:
        yield "F", f"it agrees to {', '.join(weak)}"


def _weak_suites(scan: Scan) -> Iterator[tuple[str, str]]:
    if scan.compresses:
        yield "B", "it compresses (CRIME)"
    if any("RC4" in suite.name for suite in scan.suites):
        yield "C", "it agrees to RC4"
    if any("3DES" in suite.name or "IDEA" in suite.name for suite in scan.suites):
        yield "C", "it agrees to a cipher with blocks of 64 bits (SWEET32)"
    # Held against every suite, not against what some sixty browsers would end up with as SSL Labs does.
    if not all(suite.has_forward_secrecy for suite in scan.suites):
        yield "B", "it agrees to suites without forward secrecy"
    if not all(suite.is_authenticated for suite in scan.suites):
        yield "B", "it agrees to suites without authenticated encryption"
