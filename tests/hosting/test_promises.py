"""Each verdict of the hosting probes can turn red."""

from pathlib import Path

import pytest

from troth.core.process import Endpoint
from troth.core.reach import PublicFace
from troth.hosting.promises import Answering, Listener, judge_apart, judge_listeners
from troth.hosting.tls.hsts import judge_hsts

FACE = PublicFace(
    address="127.0.0.1", https_port=8443, http_port=8080, domains=("a.localhost",), ca=Path("ca.pem")
)
EDGE = Listener("caddy", "tcp", Endpoint("0.0.0.0", 8443))  # noqa: S104 - the edge is public
DATABASE = Listener("postgres", "tcp", Endpoint("127.0.0.1", 40001))


def test_private_sockets_on_loopback_are_no_fault_and_no_proof_of_a_network() -> None:
    finding = judge_listeners((EDGE, DATABASE), FACE)
    assert finding.verdict == "unknown"
    assert "All 1 private sockets" in finding.evidence


@pytest.mark.parametrize(
    "exposed",
    [
        Listener("postgres", "tcp", Endpoint("0.0.0.0", 40001)),  # noqa: S104
        Listener("etcd", "tcp", Endpoint("::", 2379)),
        Listener("caddy", "tcp", Endpoint("0.0.0.0", 2019)),  # noqa: S104 - the edge's admin interface
        Listener("python", "udp", Endpoint("10.0.0.5", 8443)),
    ],
)
def test_a_private_socket_beyond_loopback_breaks_the_network_promise(exposed: Listener) -> None:
    finding = judge_listeners((EDGE, DATABASE, exposed), FACE)
    assert finding.verdict == "broken"
    assert str(exposed.endpoint) in finding.evidence


def test_a_private_port_that_answers_at_a_public_address_breaks_the_network_promise() -> None:
    answered = Answering(("203.0.113.5",), (Endpoint("203.0.113.5", 40001),))
    finding = judge_listeners((EDGE, DATABASE), FACE, answered)
    assert finding.verdict == "broken"
    assert "203.0.113.5:40001" in finding.evidence
    assert "none of their ports answers at 203.0.113.5" in (
        judge_listeners((EDGE, DATABASE), FACE, Answering(("203.0.113.5",), ())).evidence
    )


APART = (
    Listener("caddy", "tcp", Endpoint("0.0.0.0", 8443), "public"),  # noqa: S104
    Listener("caddy", "udp", Endpoint("0.0.0.0", 8443), "public"),  # noqa: S104
    Listener("caddy", "tcp", Endpoint("127.0.0.1", 8443), "edge"),
    Listener("postgres", "tcp", Endpoint("127.0.0.1", 40001), "private"),
)
TRIED = Answering(("127.0.0.1", "203.0.113.5"), ())


def test_a_network_of_its_own_with_only_the_edge_outside_is_proved() -> None:
    finding = judge_apart(APART, FACE, TRIED)
    assert finding.verdict == "proved"
    assert "1 private sockets" in finding.evidence
    assert "127.0.0.1, 203.0.113.5" in finding.evidence


def test_a_private_socket_or_answer_in_this_machines_network_breaks_it_even_on_loopback() -> None:
    strange = Listener("postgres", "tcp", Endpoint("127.0.0.1", 40002), "public")
    assert "127.0.0.1:40002" in (found := judge_apart((*APART, strange), FACE, TRIED)).evidence
    assert found.verdict == "broken"
    answered = Answering(("127.0.0.1",), (Endpoint("127.0.0.1", 40001),))
    assert judge_apart(APART, FACE, answered).verdict == "broken"


def test_a_network_of_its_own_is_not_proved_without_seeing_both_sides() -> None:
    assert judge_apart(APART[:2], FACE, TRIED).verdict == "unknown"
    assert judge_apart(APART[2:], FACE, TRIED).verdict == "unknown"


def test_without_a_network_of_its_own_the_evidence_says_why() -> None:
    finding = judge_listeners((EDGE, DATABASE), FACE, not_apart="the platform does not run as root")
    assert finding.verdict == "unknown"
    assert finding.evidence.endswith("not set up on this machine: the platform does not run as root.")


def test_seeing_no_socket_at_all_proves_nothing() -> None:
    assert judge_listeners((), FACE).verdict == "unknown"


@pytest.mark.parametrize(
    ("header", "objection"),
    [
        ("max-age=63072000; includeSubDomains; preload", ""),
        ("max-age=31536000; INCLUDESUBDOMAINS; Preload", ""),
        ("", "sends no"),
        ("max-age=300; includeSubDomains; preload", "below one year"),
        ("max-age=63072000; preload", "lacks includesubdomains"),
        ("max-age=63072000", "lacks includesubdomains and preload"),
        ("max-age=1; max-age=63072000; includeSubDomains; preload", "below one year"),
    ],
)
def test_hsts_is_held_against_the_preload_rules(header: str, objection: str) -> None:
    fault = judge_hsts(header)
    assert objection in fault
    assert bool(fault) == bool(objection)
