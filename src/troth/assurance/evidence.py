"""From a probe to evidence: run it within a time limit, date it, and let it grow stale by itself."""

import asyncio
import hashlib
from collections.abc import Iterable
from datetime import datetime

import msgspec

from troth import VERSION
from troth.core.clock import Clock
from troth.core.promise import Evidence, Finding, Probe

PROBE_SECONDS = 60.0


async def gather_evidence(
    probes: Iterable[Probe], clock: Clock, *, seconds: float = PROBE_SECONDS
) -> tuple[Evidence, ...]:
    """Run each probe in turn; one that could not look yields `unknown` and says why.

    In turn and not at once: probes sign in and out and search the disk, and must not disturb one another.
    """
    return tuple([await _run(probe, clock, seconds) for probe in probes])


async def _run(probe: Probe, clock: Clock, seconds: float) -> Evidence:
    try:
        finding = await asyncio.wait_for(probe.look(), seconds)
    except TimeoutError:
        finding = Finding("unknown", f"The probe did not finish within {seconds:.0f} s.")
    except Exception as error:  # noqa: BLE001 - a probe that fails has seen nothing, whatever the reason
        finding = Finding("unknown", f"The probe could not look: {_sentence(error)}")
    return date(probe, finding, clock.now())


def date(probe: Probe, finding: Finding, at: datetime) -> Evidence:
    """Stamp a finding with its time, expiry, version and the hash of the raw observation."""
    raw = msgspec.json.encode({"finding": finding.raw, "evidence": finding.evidence}, order="sorted")
    return Evidence(
        promise=probe.promise,
        verdict=finding.verdict,
        evidence=finding.evidence,
        probed_at=at,
        expires_at=at + probe.good_for,
        version=VERSION,
        raw_sha256=hashlib.sha256(raw).hexdigest(),
    )


def age(evidence: Evidence, now: datetime) -> Evidence:
    """The evidence as it stands at `now`: past its expiry it proves nothing any more."""
    if evidence.expires_at is None or now < evidence.expires_at or evidence.verdict == "unknown":
        return evidence
    return msgspec.structs.replace(
        evidence,
        verdict="unknown",
        evidence=f"Out of date, last seen {evidence.verdict}: {evidence.evidence}",
    )


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200]
