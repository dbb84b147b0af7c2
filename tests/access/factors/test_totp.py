"""Codes of authenticator apps, against the vectors of RFC 6238."""

from datetime import UTC, datetime, timedelta

import pytest

from troth.access.factors import totp

KEY = b"12345678901234567890"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_the_vectors_of_the_rfc_hold(seconds: int, code: str) -> None:
    step = totp.step_at(datetime.fromtimestamp(seconds, UTC))
    assert totp.code_at(KEY, step) == code[-totp.DIGITS :]


NOW = datetime(2026, 11, 25, 12, 0, 7, tzinfo=UTC)
HERE = totp.step_at(NOW)


@pytest.mark.parametrize(("off", "fits"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_off_by_one_step(off: int, fits: bool) -> None:
    found = totp.matching_step(KEY, totp.code_at(KEY, HERE + off), now=NOW, after=0)
    assert found == (HERE + off if fits else None)


def test_a_code_fits_once_and_none_before_it_any_more() -> None:
    code = totp.code_at(KEY, HERE)
    assert totp.matching_step(KEY, code, now=NOW, after=HERE) is None
    earlier = totp.code_at(KEY, HERE - 1)
    assert totp.matching_step(KEY, earlier, now=NOW, after=HERE) is None
    later = NOW + timedelta(seconds=totp.STEP)
    assert totp.matching_step(KEY, totp.code_at(KEY, HERE + 1), now=later, after=HERE) == HERE + 1


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "\0" * 6, "١٢٣٤٥٦", "9" * 5000])
def test_what_is_no_code_fits_nothing(code: str) -> None:
    assert totp.matching_step(KEY, code, now=NOW, after=0) is None


def test_a_code_may_be_typed_as_apps_show_it() -> None:
    code = totp.code_at(KEY, HERE)
    assert totp.matching_step(KEY, f" {code[:3]} {code[3:]} ", now=NOW, after=0) == HERE


def test_a_key_is_written_for_apps_and_for_people() -> None:
    uri = totp.key_uri(KEY, issuer="Lindenhof & Co", account="anna@example.org")
    assert uri.startswith("otpauth://totp/Lindenhof%20%26%20Co%3Aanna%40example.org?secret=GEZDGNBVGY3TQOJQ")
    assert totp.key_text(KEY).startswith("GEZD GNBV GY3T")
    assert len(totp.new_key()) == 20
    assert totp.new_key() != totp.new_key()
