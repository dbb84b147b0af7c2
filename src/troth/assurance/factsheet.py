"""The factsheet: all 24 promises in the order of the specification, each with what was seen of it."""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from troth.assurance.evidence import age
from troth.core.clock import to_wire
from troth.core.promise import PROMISES, Evidence, Promise, Verdict

NEVER_PROBED = "Not probed yet."


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One promise on the factsheet; times are RFC 3339, absent when nothing was probed."""

    id: str
    sentence: str
    verdict: Verdict
    evidence: str
    probed_at: str | None
    expires_at: str | None


class Factsheet(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer reads. `at` is when it was put together."""

    platform: str
    at: str
    promises: tuple[Line, ...]


_GRAVITY: dict[Verdict, int] = {"broken": 0, "unknown": 1, "attested": 2, "inherited": 3, "proved": 4}


def draw_up(
    platform: str, evidence: Iterable[Evidence], now: datetime, drilled: Mapping[str, str] | None = None
) -> Factsheet:
    """Put the factsheet together. Where two probes speak of one promise, the graver verdict stands. `drilled`
    has a sentence about the last drill of a promise."""
    standing: dict[str, Evidence] = {}
    for candidate in (age(item, now) for item in evidence):
        known = standing.get(candidate.promise)
        if known is None or _GRAVITY[candidate.verdict] < _GRAVITY[known.verdict]:
            standing[candidate.promise] = candidate
    lines = tuple(
        _line(promise, standing.get(promise.id), (drilled or {}).get(promise.id, "")) for promise in PROMISES
    )
    return Factsheet(platform=platform, at=to_wire(now), promises=lines)


def _line(promise: Promise, evidence: Evidence | None, drilled: str) -> Line:
    if evidence is None:
        return Line(
            id=promise.id,
            sentence=promise.sentence,
            verdict="unknown",
            evidence=_with(NEVER_PROBED, drilled),
            probed_at=None,
            expires_at=None,
        )
    return Line(
        id=promise.id,
        sentence=promise.sentence,
        verdict=evidence.verdict,
        evidence=_with(evidence.evidence, drilled),
        probed_at=to_wire(evidence.probed_at) if evidence.probed_at else None,
        expires_at=to_wire(evidence.expires_at) if evidence.expires_at else None,
    )


def _with(evidence: str, drilled: str) -> str:
    return f"{evidence} {drilled}".rstrip()
