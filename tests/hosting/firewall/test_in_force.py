"""The rules on a machine of their own in networks of their own, looked at from the public one."""

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from support.firewalled import MACHINE, OFFICE, PUBLIC, Firewalled, firewalled
from support.firewalled_host import HELD
from support.network import address
from support.platform import EXAMPLE
from support.rounds import in_many_rounds

HERE, THERE = address(MACHINE), address(PUBLIC)

PUBLISHED = """
table ip docker {
  chain PREROUTING { type nat hook prerouting priority dstnat; fib daddr type local jump DOCKER; }
  chain DOCKER { tcp dport 8080 dnat to 10.77.3.2:7000; tcp dport 8081 redirect to :443; }
  chain POSTROUTING { type nat hook postrouting priority srcnat; ip daddr 10.77.3.2 masquerade; }
}
"""
"""A container's published port as Docker makes it, its container being on another host, and a redirection."""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Generator[Firewalled]:
    """The machine listens on the edge's ports, on SSH's, and on that of a database by mistake."""
    with firewalled(tmp_path_factory.mktemp("firewall") / "s") as made:
        made.ask(MACHINE, "listen", places=[443, 80, 22, 5432])
        made.ask(PUBLIC, "listen", places=[443, 444])
        made.ask(OFFICE, "listen", places=[7000])
        made.ask(MACHINE, "write", file="/proc/sys/net/ipv4/ip_forward", text="1")
        yield made


@pytest.fixture
def confirmed(net: Firewalled) -> Generator[Firewalled]:
    """The rules are in force and confirmed."""
    net.ask(MACHINE, "apply")
    net.ask(MACHINE, "confirm")
    yield net
    net.nft("flush ruleset")
    net.refused(MACHINE, "confirm")
    net.ask(MACHINE, "revert")


def reach(net: Firewalled, host: int, address: str, *ports: int) -> list[str]:
    """How it goes to connect from a host to some ports."""
    return net.ask(host, "connect", places=[address, *ports])


def test_from_outside_two_ports_answer_and_nothing_else(confirmed: Firewalled) -> None:
    assert confirmed.scan(PUBLIC, HERE, 443, 80, 22, 5432) == {443: "open", 80: "open"}


def test_administrators_reach_ssh_as_well(confirmed: Firewalled) -> None:
    assert reach(confirmed, OFFICE, HERE, 22, 443, 5432) == ["connected", "connected", "silence"]
    assert reach(confirmed, PUBLIC, HERE, 22) == ["silence"]


def test_an_address_that_holds_all_its_connections_gets_no_further_one_and_others_do(
    confirmed: Firewalled,
) -> None:
    held = confirmed.ask(PUBLIC, "hold", places=[HERE, 443, HELD])
    try:
        assert held == ["connected"] * HELD
        assert reach(confirmed, PUBLIC, HERE, 443, 80) == ["silence"] * 2, "both ports count together"
        assert reach(confirmed, OFFICE, HERE, 443) == ["connected"]
        standing = confirmed.ask(MACHINE, "standing")
        assert standing["counts"]["crowded out"] >= 2
        assert standing["condition"] == "in force", "what the kernel counts is no drift"
        assert confirmed.ask(MACHINE, "repair") == ""
        confirmed.nft("add element inet troth reached4 { 10.77.2.2 . 444 }")
        assert confirmed.ask(MACHINE, "repair") == "addresses"
        assert reach(confirmed, PUBLIC, HERE, 443) == ["silence"], "it went on counting"
    finally:
        confirmed.ask(PUBLIC, "let_go")
    assert reach(confirmed, PUBLIC, HERE, 443) == ["connected"]


def test_only_declared_places_are_reached_and_the_rest_is_told_so_at_once(confirmed: Firewalled) -> None:
    declared, other = reach(confirmed, MACHINE, THERE, 443, 444)
    assert declared == "connected"
    assert other not in ("connected", "silence")
    assert reach(confirmed, MACHINE, "127.0.0.1", 5432) == ["connected"]
    assert reach(confirmed, MACHINE, HERE, 5432) == ["connected"]


def test_a_published_port_leads_around_neither_chain_and_is_told(net: Firewalled) -> None:
    net.nft(PUBLISHED)
    assert reach(net, PUBLIC, HERE, 8080, 8081) == ["connected"] * 2, "it works without our rules"
    net.ask(MACHINE, "apply")
    try:
        assert reach(net, PUBLIC, HERE, 8080, 8081) == ["silence"] * 2
        told = net.ask(MACHINE, "standing")["told"]
        assert len(told) == 2
        assert "ip docker, chain DOCKER" in told[0]
    finally:
        net.ask(MACHINE, "revert")
        net.nft("delete table ip docker")


def test_without_confirmation_the_rules_go_by_themselves_even_if_who_applied_them_was_killed(
    net: Firewalled,
) -> None:
    net.ask(MACHINE, "apply_and_die", seconds=5)
    assert net.ask(MACHINE, "standing")["condition"] == "on trial"
    net.ask(MACHINE, "until_gone")
    assert net.ask(MACHINE, "standing")["condition"] == "absent"
    assert reach(net, OFFICE, HERE, 5432) == ["connected"]
    assert "no rules that wait" in net.refused(MACHINE, "confirm")


def test_a_trial_of_other_rules_ends_with_the_confirmed_ones(confirmed: Firewalled) -> None:
    confirmed.ask(MACHINE, "apply", seconds=1)
    confirmed.ask(MACHINE, "until_gone")
    assert confirmed.ask(MACHINE, "standing")["condition"] == "in force"
    assert reach(confirmed, OFFICE, HERE, 22) == ["connected"]


def test_while_rules_are_on_trial_nobody_applies_others_and_the_keeper_waits(confirmed: Firewalled) -> None:
    confirmed.ask(MACHINE, "apply")
    assert "wait to be confirmed already" in confirmed.refused(MACHINE, "apply")
    assert confirmed.ask(MACHINE, "repair") == ""
    assert confirmed.ask(MACHINE, "standing")["condition"] == "on trial"
    assert confirmed.ask(MACHINE, "revert") == "trial"
    assert confirmed.ask(MACHINE, "standing")["condition"] == "in force"


def test_what_would_take_the_rules_back_ends_when_they_are_confirmed(net: Firewalled) -> None:
    chain = net.ask(MACHINE, "apply")
    try:
        assert net.ask(MACHINE, "guards", chain=chain) == 1
        net.ask(MACHINE, "confirm")
        net.ask(MACHINE, "until_unguarded", chain=chain)
        assert net.ask(MACHINE, "standing")["good"] is True
    finally:
        assert net.ask(MACHINE, "revert") == "all"
    assert net.ask(MACHINE, "standing")["condition"] == "absent"


@pytest.mark.parametrize(
    ("change", "condition"),
    [
        ("insert rule inet troth input tcp dport 5432 accept", "different"),
        ("add element inet troth ssh4 { 10.77.2.0/24 }", "different"),
        ("delete table inet troth", "missing"),
    ],
)
def test_a_change_by_somebody_else_is_seen_and_put_back(
    confirmed: Firewalled, change: str, condition: str
) -> None:
    confirmed.nft(change)
    assert confirmed.ask(MACHINE, "standing")["condition"] == condition
    assert confirmed.ask(MACHINE, "repair") == "drift"
    assert confirmed.ask(MACHINE, "standing")["condition"] == "in force"
    assert confirmed.ask(MACHINE, "repair") == ""


def test_a_destination_that_somebody_opened_is_closed_again(confirmed: Firewalled) -> None:
    confirmed.nft("add element inet troth reached4 { 10.77.2.2 . 444 }")
    assert reach(confirmed, MACHINE, THERE, 444) == ["connected"]
    assert confirmed.ask(MACHINE, "repair") == "addresses"
    assert reach(confirmed, MACHINE, THERE, 444) != ["connected"]


def test_the_verbs_refuse_to_lock_out_who_types_them_and_keep_what_was_confirmed(
    net: Firewalled, tmp_path: Path
) -> None:
    config = tmp_path / "troth.toml"
    words = '\n[firewall]\nadministrators = ["10.77.3.0/24"]\n'
    config.write_text(
        EXAMPLE.read_text()
        .replace("\n[firewall]\n", words)
        .replace('= "schemas/', f'= "{EXAMPLE.parent}/schemas/')
        .replace('"logos/', f'"{EXAMPLE.parent}/logos/')
    )
    refused = net.verb("apply", "--config", str(config), come_from=THERE)
    assert refused.returncode == 2
    assert f"lock you out: you come from {THERE}" in refused.stderr
    assert net.ask(MACHINE, "standing")["condition"] == "absent"
    applied = net.verb("apply", "--config", str(config), come_from=address(OFFICE))
    assert "troth firewall confirm" in applied.stdout
    confirmed = net.verb("confirm", come_from=address(OFFICE))
    assert confirmed.returncode == 0, confirmed.stderr
    status = net.verb("status", "--json", come_from=address(OFFICE))
    assert json.loads(status.stdout)["condition"] == "in force"
    assert status.returncode == 0
    assert net.ask(MACHINE, "revert") == "all"


@in_many_rounds
@pytest.mark.chaos
def test_the_probe_proves_what_it_saw_from_outside_and_its_drill_turns_it_red(confirmed: Firewalled) -> None:
    before, during, after, evidence = confirmed.ask(MACHINE, "drill")["seen"]
    assert (before, during, after) == ("proved", "broken", "proved")
    assert "From outside" in evidence
    assert "not those that were confirmed" in evidence


def test_the_probe_says_what_to_do_where_nothing_is_in_force(net: Firewalled) -> None:
    seen = net.ask(MACHINE, "probe")
    assert seen["verdict"] == "unknown"
    assert "troth firewall apply" in seen["evidence"]
