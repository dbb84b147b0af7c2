"""A factsheet never says more than a probe saw."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from troth.assurance.evidence import age, gather_evidence
from troth.assurance.factsheet import NEVER_PROBED, draw_up
from troth.core.promise import PROMISES, Evidence, Finding, Probe

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class StoppedClock:
    def now(self) -> datetime:
        return NOON


def seeing(verdict: str, text: str = "seen") -> Callable[[], Awaitable[Finding]]:
    async def look() -> Finding:
        return Finding(verdict, text, {"count": 3})  # type: ignore[arg-type]

    return look


async def evidence_of(look: Callable[[], Awaitable[Finding]], promise: str = "data.https") -> Evidence:
    (evidence,) = await gather_evidence([Probe(promise, look)], StoppedClock(), seconds=0.05)
    return evidence


async def test_all_promises_stand_in_order_even_when_nothing_was_probed() -> None:
    sheet = draw_up("Demo", [], NOON)
    assert [line.id for line in sheet.promises] == [promise.id for promise in PROMISES]
    assert len(sheet.promises) == 24
    assert {(line.verdict, line.evidence, line.probed_at) for line in sheet.promises} == {
        ("unknown", NEVER_PROBED, None)
    }


async def test_a_probe_that_fails_to_look_yields_unknown_and_says_why() -> None:
    async def look() -> Finding:
        raise ConnectionRefusedError("nobody listens")

    evidence = await evidence_of(look)
    assert evidence.verdict == "unknown"
    assert "nobody listens" in evidence.evidence


async def test_a_probe_that_hangs_is_ended_and_yields_unknown() -> None:
    async def look() -> Finding:
        await asyncio.Event().wait()
        raise AssertionError

    evidence = await evidence_of(look)
    assert evidence.verdict == "unknown"
    assert "did not finish" in evidence.evidence


async def test_stale_evidence_turns_unknown_by_itself() -> None:
    evidence = await evidence_of(seeing("proved"))
    assert age(evidence, NOON + timedelta(minutes=14)).verdict == "proved"
    stale = age(evidence, NOON + timedelta(minutes=15))
    assert stale.verdict == "unknown"
    assert "last seen proved" in stale.evidence


async def test_the_graver_of_two_findings_stands() -> None:
    good, bad = await evidence_of(seeing("proved")), await evidence_of(seeing("broken", "plain text"))
    for order in ([good, bad], [bad, good]):
        sheet = draw_up("Demo", order, NOON)
        assert [line.evidence for line in sheet.promises if line.verdict == "broken"] == ["plain text"]


async def test_the_raw_observation_is_bound_by_its_hash() -> None:
    first, second = await evidence_of(seeing("proved")), await evidence_of(seeing("proved", "other"))
    assert len(first.raw_sha256) == 64
    assert first.raw_sha256 != second.raw_sha256
    assert first.raw_sha256 == (await evidence_of(seeing("proved"))).raw_sha256
