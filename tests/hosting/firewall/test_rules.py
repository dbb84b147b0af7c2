"""The rules as text, and what is read back from the kernel."""

from typing import Any

import msgspec
import pytest

from troth.core.process import Endpoint
from troth.hosting.firewall import reading
from troth.hosting.firewall.changing import Record, stand
from troth.hosting.firewall.rules import (
    Opened,
    Policy,
    Reached,
    Trial,
    chain_name,
    decide,
    remove,
    render,
    render_addresses,
    trial_end,
)

POLICY = Policy(
    tcp=(80, 443),
    udp=(443,),
    ssh_port=2222,
    administrators=("203.0.113.0/24", "2001:db8:7::/48"),
    name_servers=(Endpoint("192.0.2.53", 53),),
    time_servers=("ntp.provider.example",),
    reached=(Reached("mail.example", 587, "mail relay"),),
)
OPENED = Opened((("198.51.100.7", 587), ("2001:db8::7", 587)), ("192.0.2.123",))


def chain(text: str, name: str) -> list[str]:
    lines = text.splitlines()
    start = lines.index(f"chain {name} {{")
    return lines[start : lines.index("}", start)]


@pytest.mark.parametrize("hook", ["input", "forward", "output"])
def test_every_chain_drops_what_no_rule_accepts(hook: str) -> None:
    assert chain(render(POLICY, OPENED), hook)[1] == f"type filter hook {hook} priority filter; policy drop;"


def test_the_table_is_replaced_as_a_whole_in_one_transaction() -> None:
    assert render(POLICY, OPENED).splitlines()[:2] == ["add table inet troth", "delete table inet troth"]


def test_only_the_edges_ports_and_ssh_for_administrators_are_open() -> None:
    text = render(POLICY, OPENED)
    accepted = [line for line in chain(text, "input") if "dport" in line and "accept" in line]
    assert accepted == [
        "tcp dport { 80, 443 } accept",
        "udp dport { 443 } accept",
        "ip saddr @ssh4 tcp dport 2222 accept",
        "ip6 saddr @ssh6 tcp dport 2222 accept",
        "udp sport 67 udp dport 68 accept",
        "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept",
    ]
    assert "set ssh4 { type ipv4_addr; flags interval; elements = { 203.0.113.0/24 }; }" in text
    assert len(chain(text, "forward")) == 3, "nothing is passed on"


def test_without_administrators_nobody_reaches_ssh() -> None:
    text = render(msgspec.structs.replace(POLICY, administrators=()), OPENED)
    assert "set ssh4 { type ipv4_addr; flags interval; }" in text
    assert "set ssh6 { type ipv6_addr; flags interval; }" in text


def test_what_is_redirected_is_dropped_before_anything_is_accepted_from_outside() -> None:
    rules = chain(render(POLICY, OPENED), "input")
    assert rules[2] == 'iifname "lo" accept'
    assert rules[3].startswith("ct status dnat") and "drop" in rules[3]


def test_connections_of_one_address_are_counted_before_a_new_one_is_let_in() -> None:
    text = render(msgspec.structs.replace(POLICY, connections=7), OPENED)
    rules = chain(text, "input")
    first = rules.index(
        'tcp dport { 80, 443 } add @held4 { ip saddr ct count over 7 } counter drop comment "crowded out"'
    )
    assert rules[first - 1].startswith("ct state vmap"), "what is established is not counted again"
    assert "ip6 saddr and ffff:ffff:ffff:ffff:: ct count over 7" in rules[first + 1]
    assert rules[first + 2] == "tcp dport { 80, 443 } accept"
    assert "set held6 { type ipv6_addr; flags dynamic; size 65535; }" in text


def test_without_a_bound_nothing_is_counted() -> None:
    assert "held" not in render(POLICY, OPENED)


def test_new_addresses_leave_everything_else_of_the_table_alone() -> None:
    lines = render_addresses(OPENED).splitlines()
    assert [line.split()[0] for line in lines].count("flush") == 4
    assert "add element inet troth reached4 { 198.51.100.7/32 . 587 }" in lines
    assert all(line.startswith(("flush set inet troth ", "add element inet troth ")) for line in lines)


def test_overlapping_places_are_put_together_as_the_kernel_wants_them() -> None:
    opened = Opened((("192.0.2.0/24", 443), ("192.0.2.7", 443), ("192.0.2.7", 25)), ())
    text = render(POLICY, opened)
    assert "elements = { 192.0.2.7/32 . 25, 192.0.2.0/24 . 443 };" in text


def test_only_rules_on_trial_carry_the_mark_and_the_door_that_the_kernel_opens() -> None:
    trial = Trial(chain_name(1_700_000_060, "ab12"), 60)
    text = render(POLICY, OPENED, trial)
    assert "chain unconfirmed_1700000060_ab12 { }" in text
    assert "ipv4 timeout 90s, ipv6 timeout 90s" in text
    assert "meta nfproto != @trial tcp dport 2222 accept" in text
    assert "trial" not in render(POLICY, OPENED)
    assert trial_end(trial.chain) == 1_700_000_060


@pytest.mark.parametrize("name", ["input", "unconfirmed", "unconfirmed_x_y", "unconfirmed_5_", "other_5_ab"])
def test_other_chains_mark_nothing(name: str) -> None:
    assert trial_end(name) is None


def test_who_decides_deletes_the_mark_first_so_that_the_second_one_fails() -> None:
    assert decide("unconfirmed_1_a", remove()).splitlines()[0] == "delete chain inet troth unconfirmed_1_a"


def table(name: str, *objects: dict[str, Any], family: str = "ip") -> list[reading.Json]:
    """A table of somebody else's as nft tells it; `chain` and `rule` objects get its name."""
    named = [
        {kind: {"family": family, "table": name, **held}} for one in objects for kind, held in one.items()
    ]
    return [{"table": {"family": family, "name": name}}, *named]


def rule(chain: str, *statements: dict[str, Any]) -> dict[str, Any]:
    return {"rule": {"chain": chain, "expr": list(statements)}}


def hooked(name: str, hook: str | None = None) -> dict[str, Any]:
    return {"chain": {"name": name, **({"hook": hook} if hook else {})}}


DNAT = {"dnat": {"addr": "172.17.0.2", "port": 80}}


@pytest.mark.parametrize(
    ("ruleset", "found"),
    [
        (table("nat", hooked("pre", "prerouting"), rule("pre", DNAT)), [("pre", True)]),
        (
            table(
                "nat",
                hooked("pre", "prerouting"),
                hooked("docker"),
                rule("pre", {"jump": {"target": "docker"}}),
                rule("docker", DNAT),
            ),
            [("docker", True)],
        ),
        (
            table(
                "nat",
                hooked("pre", "prerouting"),
                hooked("docker"),
                rule("pre", {"vmap": {"key": {}, "data": {"set": [[80, {"goto": {"target": "docker"}}]]}}}),
                rule("docker", {"redirect": {"port": 22}}),
            ),
            [("docker", True)],
        ),
        (table("nat", hooked("out", "output"), rule("out", DNAT)), []),
        (table("nat", hooked("post", "postrouting"), rule("post", {"masquerade": None})), []),
        (table("nat", hooked("unused"), rule("unused", DNAT)), []),
        (table("nat", hooked("pre", "prerouting"), rule("pre", {"xt": None})), [("pre", True)]),
        (
            table("x", hooked("in", "ingress"), rule("in", {"fwd": {"dev": "v0"}}), family="netdev"),
            [("in", False)],
        ),
    ],
)
def test_rules_of_others_that_lead_around_ours_are_found(
    ruleset: list[reading.Json], found: list[tuple[str, bool]]
) -> None:
    assert [(one.chain, one.stopped) for one in reading.bypasses(ruleset)] == found


def test_two_loads_of_one_text_are_the_same_and_another_order_of_rules_is_not() -> None:
    accept, drop = rule("input", {"accept": None}), rule("input", {"drop": None})
    one = table("troth", hooked("input"), accept, drop, family="inet")
    again = msgspec.json.decode(msgspec.json.encode(one))
    again[1]["chain"]["handle"] = 7
    again[2]["rule"]["expr"].insert(0, {"counter": {"packets": 5, "bytes": 300}})
    one[2]["rule"]["expr"].insert(0, {"counter": {"packets": 0, "bytes": 0}})
    assert reading.canonical(one) == reading.canonical(again)
    swapped = table("troth", hooked("input"), drop, accept, family="inet")
    assert reading.canonical(one) != reading.canonical(swapped)


@pytest.mark.parametrize(
    ("record", "ruleset", "condition"),
    [
        (Record(), [], "absent"),
        (Record(), table("troth", family="inet"), "unknown"),
        (Record(confirmed=POLICY), [], "missing"),
        (Record(confirmed=POLICY), table("troth", hooked("x"), family="inet"), "different"),
        (Record(confirmed=POLICY), table("troth", family="inet"), "in force"),
        (Record(), table("troth", hooked("unconfirmed_160_ab"), family="inet"), "on trial"),
    ],
)
def test_how_the_filter_stands(record: Record, ruleset: list[reading.Json], condition: str) -> None:
    standing = stand(record, ruleset, table("troth", family="inet"), now=100.0)
    assert standing.condition == condition
    assert standing.good == (condition == "in force")
    assert standing.left == (60 if condition == "on trial" else 0)
