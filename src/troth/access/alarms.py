"""Security alarms: what happens only when somebody holds what is not theirs. `troth status` shows them."""

from datetime import datetime

import msgspec

from troth.core.db import Database

MEANINGS = {
    "session.cookie_elsewhere": "a session cookie was sent to another domain",
    "code.replayed": "an authorization code was used twice",
    "refresh.replayed": "a refresh token was used again; all that came of it ended",
    "domain.proof_gone": "the DNS record that proves a domain's owner is gone",
    "device.replayed": "a device code was used twice",
    "receipts.lost": "acknowledged writes were not in the database any more, or their receipts were changed",
    "firewall.drift": "the firewall's rules had been changed, and were put back",
    "residency.undeclared": "the platform connected to a place that is not declared",
}
"""Audit events that are alarms, in words for the operator."""


class Alarm(msgspec.Struct, frozen=True):
    """How often it happened within a week, and when for the last time."""

    alarm: str
    meaning: str
    count: int
    last: datetime


async def recent_alarms(auditor: Database, *, probes: str = "") -> tuple[Alarm, ...]:
    """The alarms of the last seven days, the latest first. `probes` is the tenant whose own misuse, made to
    look at the promises, alarms nobody."""
    rows = await auditor.fetch(
        "select event, count(*) as count, max(at) as last from troth.audit_event"
        " where event = any ($1) and at > now() - interval '7 days'"
        # What concerns no tenant alarms as well; a tenant that is not there would hide exactly that.
        " and ($2 = '' or tenant_id is distinct from (select id from troth.tenant where slug = $2))"
        " group by event order by last desc",
        list(MEANINGS),
        probes,
    )
    return tuple(Alarm(row["event"], MEANINGS[row["event"]], row["count"], row["last"]) for row in rows)
