"""What is kept of the place of a sign-in."""

import pytest

from troth.access.whereabouts import MAX_AGENT, network_of, whereabouts


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("::1", "::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", ""),
        ("192.0.2.77, 10.0.0.1", ""),
    ],
)
def test_a_network_is_kept_and_no_address(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_browsers_words_about_itself_are_cut() -> None:
    assert len(whereabouts("x" * 5000, "").agent) == MAX_AGENT
