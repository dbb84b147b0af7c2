"""The 24 promises, their verdicts, and what a probe returns.

A room declares `Probe`s in its own `promises.py`; `assurance` runs them and turns what they saw into
verdicts. Nothing here knows how a promise is kept.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Literal

import msgspec

Verdict = Literal["proved", "attested", "inherited", "unknown", "broken"]


class Promise(msgspec.Struct, frozen=True):
    """One sentence of the factsheet. `id` is `room.name`."""

    id: str
    sentence: str


class Finding(msgspec.Struct, frozen=True):
    """What a probe saw: a verdict, one line of evidence for a reader, and the raw observation behind it."""

    verdict: Verdict
    evidence: str
    raw: dict[str, object] = {}


class Probe(msgspec.Struct, frozen=True):
    """A check of one promise against the running platform.

    `look` raises nothing on a promise that is broken: that is a finding. It raises when it could not look,
    and the promise then stands at `unknown`. `good_for` bounds the age of its evidence.
    """

    promise: str
    look: Callable[[], Awaitable[Finding]]
    good_for: timedelta = timedelta(minutes=15)


class Drill(msgspec.Struct, frozen=True):
    """A promise broken on purpose, to see that its probe turns red: a probe that cannot is worth nothing.

    `defect` says what was broken, as the end of "when …". Inside the block that `broken` opens it is, and the
    probe it yields looks at it; leaving the block mends it, also when it is left early. Only what was made
    for probing is ever touched: nobody's data, sessions or tokens are in danger while a drill runs.
    """

    promise: str
    defect: str
    broken: Callable[[], AbstractAsyncContextManager[Probe]]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """A finding as it stands in a factsheet."""

    promise: str
    verdict: Verdict
    evidence: str
    probed_at: datetime | None
    expires_at: datetime | None
    version: str
    raw_sha256: str


PROMISES: tuple[Promise, ...] = (
    Promise(
        "hosting.network",
        "Web services run in their own private network, separate from the public one.",
    ),
    Promise("hosting.balancing", "All web services are load balanced, with auto-scaling for spikes."),
    Promise(
        "hosting.firewall",
        "Firewall rules restrict access by IP and protocol; HTTP and HTTPS alone are public.",
    ),
    Promise(
        "hosting.monitoring",
        "All resources are monitored in real time; "
        "health checks cover instance health and application errors.",
    ),
    Promise("hosting.restart", "Instances are restarted automatically on failure."),
    Promise("hosting.replacement", "Instances are replaced if their health checks fail."),
    Promise(
        "hosting.datacentre",
        "The data centre meets ISO 27001, PCI DSS Level 1, IT-Grundschutz and the EU directive.",
    ),
    Promise("data.residency", "Customer data is stored in Ireland and never leaves the EU."),
    Promise("data.protection", "Handling follows the Swiss and the EU data protection law."),
    Promise("data.encryption", "All customer data is encrypted on disk with AES-256."),
    Promise("data.passwords", "Passwords are stored as a SHA-256 hash with an individual salt."),
    Promise("data.replicas", "Data lives in a redundant database replica set."),
    Promise("data.backups", "Contents are also secured by regular off-site backups."),
    Promise("data.internal_tls", "All connections between server instances are encrypted."),
    Promise("data.https", "All connections between clients and servers use HTTPS."),
    Promise("data.ciphers", "Only secure ciphers and strong parameters; SSL Labs A+."),
    Promise("data.hsts", "HTTP redirects to HTTPS; HSTS, fit for browsers' preload lists."),
    Promise("data.agreements", "Data processing agreements exist between all legal entities."),
    Promise("access.scopes", "Access to database resources is limited by fine-grained authorization scopes."),
    Promise("access.oauth", "Clients are authorized by OAuth 2.0."),
    Promise("access.tokens", "API calls are accepted only with a valid, time-constrained access token."),
    Promise("access.sessions", "Access tokens are given only to users with an authenticated session."),
    Promise("access.cookies_http_only", "Session cookies cannot be read by JavaScript."),
    Promise("access.cookies_domain", "Session cookies are valid only for each individual client domain."),
)
"""In the order in which a customer reads them."""


def promise(identifier: str) -> Promise:
    """The promise with this id; raises KeyError when there is none."""
    for candidate in PROMISES:
        if candidate.id == identifier:
            return candidate
    raise KeyError(identifier)
