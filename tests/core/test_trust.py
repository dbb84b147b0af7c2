"""A trust domain changes its authority in steps, each of which leaves it usable, even when cut short."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from troth.core.ca import Authority, Subject, read_certificate
from troth.core.trust import Trust

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def trusted(trust: Trust) -> list[str]:
    """The issuers that a listener reads in the file."""
    return [
        one.subject.rfc4514_string() for one in x509.load_pem_x509_certificates(trust.trusted.read_bytes())
    ]


def issuer(trust: Trust) -> str:
    leaf = trust.authority.issue(
        Subject(common_name="edge", usage="client"), now=NOW, lifetime=timedelta(hours=1)
    )
    return f"CN={read_certificate(leaf.certificate_pem).issuer}"


def test_what_the_reserve_will_sign_is_trusted_before_it_signs(tmp_path: Path) -> None:
    trust = Trust.open(tmp_path, "callers", now=NOW)
    before = trusted(trust)
    assert before[0] == issuer(trust)
    trust.promote(NOW)
    assert issuer(trust) == before[1]
    assert trusted(trust)[:2] == before, "holders of the old certificates are not refused yet"
    trust.drop_former()
    assert before[0] not in trusted(trust)
    assert len(trusted(trust)) == 2


def test_a_later_start_goes_on_with_what_signs_then(tmp_path: Path) -> None:
    trust = Trust.open(tmp_path, "callers", now=NOW)
    former = issuer(trust)
    trust.promote(NOW)
    again = Trust.open(tmp_path, "callers", now=NOW)
    assert issuer(again) == issuer(trust)
    assert former not in trusted(again), "a revocation that was cut short is finished by the next start"


@pytest.mark.parametrize("step", [1, 2])
def test_a_promotion_that_is_cut_short_is_finished(tmp_path: Path, step: int) -> None:
    """Killed after the certificate was moved, or after the key was too."""
    trust = Trust.open(tmp_path, "callers", now=NOW)
    reserve = trusted(trust)[1]
    place = tmp_path / "callers"
    (place / "next.pem").replace(place / "ca.pem")
    if step == 2:
        (place / "next.key").replace(place / "ca.key")
    again = Trust.open(tmp_path, "callers", now=NOW)
    assert issuer(again) == reserve
    assert len(set(trusted(again))) == 2


def test_a_state_folder_of_before_gets_a_reserve(tmp_path: Path) -> None:
    old = Authority.open(tmp_path, "callers", now=NOW)
    trust = Trust.open(tmp_path, "callers", now=NOW)
    assert trust.authority.certificate_pem == old.certificate_pem
    assert len(trusted(trust)) == 2
    assert (tmp_path / "callers" / "next.key").stat().st_mode & 0o777 == 0o600
