"""Certificates are issued from their own authority, renewed in time, and forgotten when nobody holds them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from troth.core.ca import read_certificate
from troth.core.state import State, open_state
from troth.wiring.blueprint import PRIVATE, service_of
from troth.wiring.certificates import Certificates, Holder

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
EDGE = Holder(trust="callers", name="edge", usage="client")
WEB = Holder(trust="instances", name="web-1-1", usage="server", dns=("web.services.troth.internal",))


class Clock:
    """Stands where a test puts it."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(tmp_path: Path) -> State:
    return open_state(tmp_path / "s")


@pytest.fixture
def certificates(state: State, clock: Clock) -> Certificates:
    return Certificates(state, timedelta(hours=3), clock)


def test_each_trust_domain_has_an_authority_of_its_own(certificates: Certificates) -> None:
    issuers = {
        holder.trust: read_certificate(certificates.issue(holder).certificate.read_bytes()).issuer
        for holder in (EDGE, WEB)
    }
    assert issuers["callers"].startswith("Troth callers authority")
    assert issuers["instances"].startswith("Troth instances authority")
    assert certificates.ca("callers").read_bytes() != certificates.ca("instances").read_bytes()


def test_a_certificate_names_its_holder_and_its_key_is_the_owners_alone(certificates: Certificates) -> None:
    files = certificates.issue(WEB)
    facts = read_certificate(files.certificate.read_bytes())
    assert facts.dns == WEB.dns
    assert facts.uris == ("spiffe://troth/instances/web-1-1",)
    assert files.key.stat().st_mode & 0o777 == 0o600


def test_renewal_is_due_at_two_thirds_of_a_life_and_not_before(
    certificates: Certificates, clock: Clock
) -> None:
    certificates.issue(EDGE)
    clock.at = NOON + timedelta(minutes=115)
    assert certificates.due(lambda _: True) == ()
    clock.at = NOON + timedelta(minutes=121)
    assert certificates.due(lambda _: True) == (EDGE,)
    assert certificates.due(lambda one: one.trust == "public") == ()
    before = certificates.files(EDGE).certificate.read_bytes()
    certificates.issue(EDGE)
    assert certificates.due(lambda _: True) == ()
    assert certificates.files(EDGE).certificate.read_bytes() != before


def test_a_forgotten_holder_is_never_due_and_leaves_no_key(certificates: Certificates, clock: Clock) -> None:
    files = certificates.issue(WEB)
    certificates.forget(WEB)
    clock.at = NOON + timedelta(days=1)
    assert certificates.due(lambda _: True) == ()
    assert not files.key.exists()
    assert not files.certificate.exists()
    assert certificates.report() == ()


def test_the_report_begins_with_the_certificate_that_ends_first(
    certificates: Certificates, clock: Clock
) -> None:
    certificates.issue(EDGE)
    clock.at = NOON + timedelta(minutes=10)
    certificates.issue(WEB)
    assert [held.name for held in certificates.report()] == ["edge", "web-1-1"]
    assert certificates.report()[0].not_after == "2026-11-23T15:00:00.000Z"


def test_a_later_start_goes_on_with_the_same_authorities(state: State, clock: Clock) -> None:
    first = Certificates(state, timedelta(hours=3), clock).ca("public").read_bytes()
    assert Certificates(state, timedelta(hours=3), clock).ca("public").read_bytes() == first


@pytest.mark.parametrize(
    ("holder", "service"),
    [
        (Holder(trust="instances", name="portal-1-0", usage="server"), "portal"),
        (Holder(trust="apps", name="my-app-12-1", usage="client"), "my-app"),
        (PRIVATE, None),
        (EDGE, None),
        (Holder(trust="database", name="member-1", usage="server"), None),
    ],
)
def test_a_certificate_of_an_instance_leads_to_its_service(holder: Holder, service: str | None) -> None:
    assert service_of(holder) == service


def test_a_stolen_certificate_is_found_by_serial_name_or_trust_domain(certificates: Certificates) -> None:
    certificates.issue(EDGE)
    first = certificates.serials()["callers", "edge"]
    certificates.issue(EDGE)
    colons = ":".join(first[at : at + 2] for at in range(0, len(first), 2))
    for what in (first, first.upper(), colons, "edge", "callers/edge", "callers"):
        assert certificates.trust_of(what) == "callers", what
    assert certificates.trust_of("nobody") is None
    certificates.issue(PRIVATE)
    assert certificates.trust_of("edge") is None, "the edge holds one of two kinds now"
    assert certificates.trust_of("callers/edge") == "callers"


def test_a_revoked_trust_domain_gets_new_certificates_and_the_old_ones_are_good_no_more(
    certificates: Certificates,
) -> None:
    files = certificates.issue(EDGE)
    certificates.issue(WEB)
    before = read_certificate(files.certificate.read_bytes())
    web = certificates.files(WEB).certificate.read_bytes()
    assert certificates.replace_authority("callers") == (EDGE,)
    after = read_certificate(files.certificate.read_bytes())
    assert (after.common_name, after.issuer != before.issuer) == ("edge", True)
    assert before.issuer in _issuers(certificates)
    certificates.drop_former("callers")
    assert before.issuer not in _issuers(certificates)
    assert after.issuer in _issuers(certificates)
    assert certificates.living("callers") == {after.serial}
    assert certificates.files(WEB).certificate.read_bytes() == web, "other trust domains keep theirs"


def test_a_certificate_counts_as_good_until_its_end_though_it_was_replaced(
    certificates: Certificates, clock: Clock
) -> None:
    first = read_certificate(certificates.issue(EDGE).certificate.read_bytes()).serial
    clock.at = NOON + timedelta(hours=2)
    second = read_certificate(certificates.issue(EDGE).certificate.read_bytes()).serial
    assert certificates.living("callers") == {first, second}
    clock.at = NOON + timedelta(hours=3)
    assert certificates.living("callers") == {second}


def _issuers(certificates: Certificates) -> list[str]:
    text = certificates.ca("callers").read_text()
    pems = [f"{one}-----END CERTIFICATE-----\n" for one in text.split("-----END CERTIFICATE-----\n")[:-1]]
    return [read_certificate(one.encode()).common_name for one in pems]
