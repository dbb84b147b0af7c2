"""[firewall] and the networks of a domain: each fault is told with its key and with what to write instead."""

import pytest

from support.configuration import MINIMAL, Load, only_fault, replaced
from troth.core.network_checks import split_target

FIREWALL = """
[firewall]
administrators = ["203.0.113.0/24", "2001:db8:7::/48", "198.51.100.9"]
ssh_port = 2222
time_servers = ["ntp.provider.example", "192.0.2.123"]
outgoing = ["deb.debian.org:443", "192.0.2.0/24:443", "[2001:db8::/64]:443"]
"""

LISTS = 'app = "portal"\nallow = ["203.0.113.0/24"]\ndeny = ["203.0.113.66"]'


def test_what_the_firewall_lets_pass_is_read(load: Load) -> None:
    firewall = load(MINIMAL + FIREWALL).firewall
    assert firewall.ssh_port == 2222
    assert firewall.administrators[2] == "198.51.100.9"
    assert firewall.connections == 512, "one address cannot take all that the edge can hold"


@pytest.mark.parametrize(
    ("good", "bad", "key", "hint"),
    [
        ('"203.0.113.0/24"', '"203.0.113.7/24"', "firewall.administrators[0]", "“203.0.113.0/24”"),
        ('"203.0.113.0/24"', '"office"', "firewall.administrators[0]", "203.0.113.0/24"),
        ('"203.0.113.0/24"', '"0.0.0.0/0"', "firewall.administrators[0]", "administrators come from"),
        ('"203.0.113.0/24"', '"::/0"', "firewall.administrators[0]", "administrators come from"),
        ("2222", "443", "firewall.ssh_port", "sshd"),
        ('"ntp.provider.example"', '"ntp provider"', "firewall.time_servers[0]", "ntp.provider"),
        ('"deb.debian.org:443"', '"deb.debian.org"', "firewall.outgoing[0]", "deb.debian.org:443"),
        ('"deb.debian.org:443"', '"192.0.2.1/24:443"', "firewall.outgoing[0]", "192.0.2.0/24:443"),
        ('"deb.debian.org:443"', '"https://updates.example:443"', "firewall.outgoing[0]", "deb.debian"),
    ],
)
def test_a_fault_of_the_firewall_says_what_to_write(
    load: Load, good: str, bad: str, key: str, hint: str
) -> None:
    fault = only_fault(load, MINIMAL + FIREWALL.replace(good, bad, 1))
    assert fault.key == key
    assert hint in fault.hint


def test_ssh_for_everybody_names_the_promise_it_would_break(load: Load) -> None:
    fault = only_fault(load, MINIMAL + FIREWALL.replace("203.0.113.0/24", "0.0.0.0/0"))
    assert fault.promise == "hosting.firewall"


def test_the_networks_of_a_domain_are_read(load: Load) -> None:
    (domain,) = load(replaced('app = "portal"', LISTS)).domains
    assert (domain.allow, domain.deny) == (("203.0.113.0/24",), ("203.0.113.66",))


@pytest.mark.parametrize(
    ("good", "bad", "key", "said"),
    [
        ('"203.0.113.66"', '"203.0.113.66/24"', "domains[0].deny[0]", "no network"),
        ('"203.0.113.66"', '"203.0.112.0/23"', "domains[0].allow", "answer nobody"),
        ('["203.0.113.66"]', str(["192.0.2.1"] * 201).replace("'", '"'), "domains[0].deny", "more than 200"),
    ],
)
def test_a_fault_of_a_domains_networks_is_told(load: Load, good: str, bad: str, key: str, said: str) -> None:
    fault = only_fault(load, replaced('app = "portal"', LISTS.replace(good, bad)))
    assert fault.key == key
    assert said in fault.public


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("db.example:5432", ("db.example", 5432)),
        ("192.0.2.0/24:443", ("192.0.2.0/24", 443)),
        ("[2001:db8::1]:443", ("2001:db8::1", 443)),
        ("db.example:0", None),
        ("db.example:65536", None),
        ("db.example:４４３", None),
        ("db.example", None),
        ("a b:443", None),
    ],
)
def test_a_target_is_a_host_or_a_network_and_a_port(text: str, meant: tuple[str, int] | None) -> None:
    assert split_target(text) == meant
