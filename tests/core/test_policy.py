"""A policy that cannot be read is the safest; nobody joins by the back door of a look-alike domain."""

import msgspec
import pytest

from troth.core.policy import SAFEST, TenantPolicy, read_policy


def test_what_is_left_out_is_the_default() -> None:
    assert read_policy("{}") == TenantPolicy()
    assert msgspec.json.encode(TenantPolicy()) == b"{}"


def test_what_a_newer_version_wrote_is_passed_over() -> None:
    assert read_policy('{"second_factor":"required","of_tomorrow":1}').second_factor == "required"


@pytest.mark.parametrize(
    "text",
    [
        '{"second_factor":"perhaps"}',
        '{"session_idle_minutes":0}',
        '{"step_up_minutes":1e9}',
        "[]",
        "",
    ],
)
def test_a_damaged_policy_is_the_safest(text: str) -> None:
    assert read_policy(text) == SAFEST
    assert SAFEST.second_factor == "required"
    assert SAFEST.registration == "closed"


@pytest.mark.parametrize(
    ("registration", "domains", "email", "admitted"),
    [
        ("open", (), "a@anywhere.example", True),
        ("open", ("company.example",), "a@Company.example", True),
        ("open", ("company.example",), "a@evil-company.example", False),
        ("open", ("company.example",), "a@company.example.evil.example", False),
        ("open", ("company.example",), "a@sub.company.example", False),
        ("invitation", (), "a@anywhere.example", False),
        ("closed", (), "a@anywhere.example", False),
    ],
)
def test_who_may_register_alone(
    registration: str, domains: tuple[str, ...], email: str, admitted: bool
) -> None:
    policy = msgspec.convert({"registration": registration, "email_domains": domains}, TenantPolicy)
    assert policy.admits(email) is admitted
