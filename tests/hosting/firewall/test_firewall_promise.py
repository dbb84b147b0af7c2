"""Each verdict of hosting.firewall."""

from typing import Literal

import pytest

from troth.hosting.firewall.changing import Standing
from troth.hosting.firewall.promise import FirewallView, Seen, judge_firewall, probe_firewall
from troth.hosting.firewall.reading import Bypass
from troth.hosting.firewall.visiting import Scan

Condition = Literal["absent", "on trial", "in force", "different", "missing", "unknown"]

BOTH = {80: "open", 443: "open"}


def seen(
    condition: Condition = "in force",
    answered: dict[int, str] | None = None,
    bypasses: tuple[Bypass, ...] = (),
) -> Seen:
    standing = Standing(condition=condition, left=0, bypasses=bypasses, counts={}, confirmed=None)
    scan = Scan("203.0.113.5", BOTH if answered is None else answered)
    return Seen(standing, (80, 443), (scan,))


def test_rules_as_confirmed_and_two_ports_that_answer_are_proof_and_it_says_from_where() -> None:
    finding = judge_firewall(seen())
    assert finding.verdict == "proved"
    assert "on this machine" in finding.evidence


@pytest.mark.parametrize(
    ("condition", "answered", "told"),
    [
        ("in force", {**BOTH, 5432: "open"}, "5432 (open)"),
        ("in force", {**BOTH, 5432: "closed"}, "5432 (closed)"),
        ("different", BOTH, "not those that were confirmed"),
        ("missing", BOTH, "are gone"),
        ("missing", dict.fromkeys(range(1, 2000), "closed"), "more"),
    ],
)
def test_anything_more_breaks_the_promise(condition: Condition, answered: dict[int, str], told: str) -> None:
    finding = judge_firewall(seen(condition, answered))
    assert finding.verdict == "broken"
    assert told in finding.evidence


@pytest.mark.parametrize("condition", ["absent", "unknown", "on trial"])
def test_what_nobody_confirmed_is_no_proof_and_it_says_what_to_do(condition: Condition) -> None:
    finding = judge_firewall(seen(condition))
    assert finding.verdict == "unknown"
    assert "As root: troth firewall" in finding.evidence


def test_an_edge_that_does_not_answer_is_no_proof() -> None:
    assert judge_firewall(seen(answered={443: "open"})).verdict == "unknown"
    assert judge_firewall(seen(answered={})).verdict == "unknown"


def test_a_redirection_counts_by_whether_our_chains_see_it() -> None:
    stopped = Bypass("ip docker", "DOCKER", "gives packets another target", stopped=True)
    past = Bypass("netdev x", "in", "passes packets to another interface", stopped=False)
    assert judge_firewall(seen(bypasses=(stopped,))).verdict == "proved"
    assert judge_firewall(seen(bypasses=(stopped, past))).verdict == "broken"


async def test_who_may_not_see_the_filter_says_so() -> None:
    async def look() -> Seen:
        raise AssertionError("nothing is looked at")

    finding = await probe_firewall(FirewallView("The packet filter is root's.", look))
    assert (finding.verdict, finding.evidence) == ("unknown", "The packet filter is root's.")
