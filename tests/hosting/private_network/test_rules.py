"""What may pass at the ends of the cable, and whether a network is wanted at all."""

from pathlib import Path

import pytest

from troth.core.errors import ConfigError
from troth.core.process import Endpoint
from troth.hosting.isolation import Machine
from troth.hosting.plan import Launch
from troth.hosting.private_network import beginning
from troth.hosting.private_network.possible import obstacle, read_wish
from troth.hosting.private_network.rules import (
    Link,
    NameServer,
    Side,
    choose_link,
    render,
    render_doors,
    render_reached,
)

SIDE = Side(
    interface="edge",
    own="192.0.2.246",
    other="192.0.2.245",
    offered=(20_002, 20_001),
    asked=(443,),
    relay=20_003,
    reached=(("10.0.0.1", 5432), ("10.0.0.0/24", 5432), ("2001:db8::1", 443)),
    names=(NameServer(Endpoint("127.0.0.53", 53), 20_004), NameServer(Endpoint("2001:db8::53", 53), 20_005)),
)
ROOT, USER = Machine(True, True, True), Machine(False, True, False)
NO_NAMESPACES = Machine(True, False, False)


def test_what_comes_over_the_cable_is_dropped_unless_it_is_offered() -> None:
    text = render(SIDE)
    assert "set offered { type inet_service; elements = { 20001, 20002 }; }" in text
    accepted = text.index('iifname "edge" ct status dnat tcp dport @offered accept')
    assert accepted < text.index('counter drop comment "dropped"')
    closed = render(Side(interface="edge", own="1.1.1.1", other="1.1.1.2", offered=(), asked=(), relay=1))
    assert "set offered { type inet_service; }" in closed


def test_what_the_sides_offer_one_another_changes_without_the_rest() -> None:
    assert render_doors((20_002, 20_001), ()).splitlines() == [
        "flush set inet troth offered",
        "add element inet troth offered { 20001, 20002 }",
        "flush set inet troth asked",
    ]


def test_what_leaves_is_led_over_the_cable_or_to_the_relay_or_refused() -> None:
    text = render(SIDE)
    assert "set asked { type inet_service; elements = { 443 }; }" in text
    assert "ip daddr 127.0.0.1 tcp dport @asked dnat ip to 192.0.2.245" in text
    assert "elements = { 10.0.0.0/24 . 5432 };" in text
    assert "elements = { 2001:db8::1/128 . 443 };" in text
    assert "ip daddr 127.0.0.53 udp dport 53 redirect to :20004" in text
    assert "ip6 daddr 2001:db8::53 udp dport 53 redirect to :20005" in text
    assert text.rstrip().endswith('reject with icmpx admin-prohibited comment "refused"\n}\n}')


def test_new_addresses_take_the_place_of_the_old_and_of_nothing_else() -> None:
    text = render_reached((("203.0.113.7", 443),))
    assert text.splitlines() == [
        "flush set inet troth reached4",
        "add element inet troth reached4 { 203.0.113.7/32 . 443 }",
        "flush set inet troth reached6",
    ]


def test_the_cable_takes_the_first_network_in_which_nothing_declared_lies() -> None:
    assert choose_link(()) == Link("192.0.2.246", "192.0.2.245")
    assert choose_link(("2001:db8::1", "192.0.2.0/24", "10.0.0.1")) == Link(
        "198.51.100.246", "198.51.100.245"
    )
    with pytest.raises(ConfigError, match="belong to nobody"):
        choose_link(("192.0.2.245", "198.51.100.244", "203.0.113.0/24"))


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("", "auto"),
        ("[network]\n", "auto"),
        ('[network]\nprivate = "loopback"\n', "loopback"),
        ('[network]\nprivate = "namespace"\n', "namespace"),
        ("this is no toml\n", "loopback"),
    ],
)
def test_troth_toml_says_what_is_wanted(tmp_path: Path, text: str, wish: str) -> None:
    file = tmp_path / "troth.toml"
    file.write_text(text)
    assert read_wish(file, None) == wish
    assert read_wish(file, "namespace") == "namespace"
    assert read_wish(tmp_path / "none.toml", None) == "loopback"


def test_without_root_or_namespaces_there_is_none_and_whoever_insists_is_refused(tmp_path: Path) -> None:
    assert "root" in obstacle(USER)
    assert "PID namespace" in obstacle(NO_NAMESPACES)
    launch = Launch(config=tmp_path / "troth.toml", state=tmp_path, network="auto")
    decided = beginning.decide(launch, USER)
    assert (decided.apart, decided.not_apart) == (False, "the platform does not run as root")
    insisting = Launch(config=tmp_path / "troth.toml", state=tmp_path, network="namespace")
    with pytest.raises(ConfigError, match="does not run as root"):
        beginning.decide(insisting, USER)


def test_whoever_wants_loopback_gets_it_and_a_member_of_several_hosts_too(tmp_path: Path) -> None:
    launch = Launch(config=tmp_path / "troth.toml", state=tmp_path, network="loopback")
    assert "loopback" in beginning.decide(launch, ROOT).not_apart
    member = Launch(config=tmp_path / "troth.toml", state=tmp_path, network="namespace", member=True)
    assert not beginning.decide(member, ROOT).apart
    first = ("first", "process")
    assert beginning.enter(beginning.decide(launch, ROOT), first) == first
