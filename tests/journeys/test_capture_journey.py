"""Everything that passes on loopback while the platform lives is captured, and nothing of it can be read.

Keeper and edge are administered over unix sockets (`keeper.sock`, `edge.sock`): owner-only files, no hops.
"""

from collections import Counter
from pathlib import Path

import pytest

from support.loopback import REDIRECT, RELAY, Report, in_a_namespace
from support.platform import state_folder
from support.rounds import in_many_rounds
from troth.data.capture import Captured

WAYS_IN_PLAIN_TEXT = 1
"""How often the probe knocks in plain text at each private port."""


@pytest.fixture(scope="module")
def report() -> Report:
    with state_folder() as root:
        folder: Path = root.parent
        return in_a_namespace(folder, members=3)


def by_name(captured: Captured, names: dict[str, str]) -> dict[str, Counter[str]]:
    """Verdicts for each kind of hop."""
    found: dict[str, Counter[str]] = {}
    for hop in captured.hops:
        name = names.get(hop.name, hop.name)
        found.setdefault(name, Counter()).update({str(one): n for one, n in hop.verdicts.items()})
    return found


@in_many_rounds
@pytest.mark.chaos
@pytest.mark.timeout(450)
def test_nothing_on_loopback_but_tls_from_the_first_start_through_a_failover(report: Report) -> None:
    seen = report.journey
    assert seen.is_whole, f"{seen.dropped} packets were lost by the capture"
    assert report.acknowledged >= 6
    assert report.messages > 0
    hops = by_name(seen, report.names)
    for name, least in {
        "public edge": 2,
        "web instance": 20,
        "portal instance": 4,
        "edge for applications": 2,
        "PostgreSQL": 20,
        "Patroni": 20,
        "etcd": 3,
        RELAY: 1,
    }.items():
        assert hops[name]["tls"] >= least, (name, hops[name])
    assert len(report.replication) >= 2, "both standbys followed"
    assert set(report.replication) == {"tls"}
    assert set(hops.pop(REDIRECT)) <= {"redirected", "empty"}
    for name, verdicts in hops.items():
        assert set(verdicts) <= {"tls", "empty"}, (name, verdicts)


@in_many_rounds
@pytest.mark.chaos
@pytest.mark.timeout(450)
def test_a_planted_hop_in_plain_text_is_seen_among_them(report: Report) -> None:
    seen, planted = report.after, f"port {report.planted}"
    assert seen.is_whole
    assert [hop.name for hop in seen.where("plaintext")] == [planted]
    refused = {hop.name: hop.count("refused") for hop in seen.where("refused")}
    assert refused, "the probe's own knocking"
    assert all(count >= WAYS_IN_PLAIN_TEXT for count in refused.values()), refused
    verdict, evidence = report.internal_tls
    assert verdict == "proved", evidence
    assert "and none was not" in evidence, "the keeper captured as well"
