"""When the next backup is due, and of which kind; pure."""

from datetime import datetime, timedelta

import msgspec

from troth.core.settings import BackupSettings
from troth.data.backups.manifest import Backup, Catalogue, Kind

LINKS = 500
"""The most increments on one full backup: a restore has to combine them all."""

_FIRST_WAIT = timedelta(seconds=30)
_LONGEST_WAIT = timedelta(hours=1)


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What happened so far. `failures` counts those in a row since the last backup, the last of them at
    `failed`; `gap` says that the shipped log was torn, so that only a new backup makes up for it; `lost`
    that a backup is gone from the store or damaged there."""

    catalogue: Catalogue
    failures: int = 0
    failed: datetime | None = None
    gap: bool = False
    lost: bool = False


def due(now: datetime, history: History, policy: BackupSettings) -> Kind | None:
    """The kind of backup to take now; None when it is not time yet.

    The first one is full, and so is one every `every_hours`, and the one after a loss.
    After failures it waits, twice as long each time.
    """
    if history.failed is not None and now < history.failed + wait_after(history.failures):
        return None
    chain = newest_chain(history.catalogue)
    if (
        not chain
        or history.lost
        or now - chain[0].began >= timedelta(hours=policy.every_hours)
        or len(chain) > LINKS
    ):
        return "full"
    every = timedelta(minutes=policy.incremental_minutes)
    if history.gap or (every and now - chain[-1].began >= every):
        return "incremental" if every else "full"
    return None


def newest_chain(catalogue: Catalogue) -> tuple[Backup, ...]:
    """The newest restorable backup and all that it builds on, the full one first."""
    restorable = catalogue.restorable
    return (catalogue.chain(restorable[-1]) or ()) if restorable else ()


def wait_after(failures: int) -> timedelta:
    """How long to wait after so many failures in a row."""
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(max(failures, 1) - 1, 20))


def overdue(now: datetime, since: datetime, catalogue: Catalogue, policy: BackupSettings) -> timedelta | None:
    """By how much the newest restorable backup is older than it may be: twice the time between two, and ten
    minutes for taking it. None when it is not. `since` is when the platform came up, for the first one."""
    minutes = policy.incremental_minutes or policy.every_hours * 60
    chain = newest_chain(catalogue)
    begun = chain[-1].began if chain else since
    allowed = timedelta(minutes=2 * minutes if chain else 0) + timedelta(minutes=10)
    # A platform that was down for a week takes a backup first before anybody is alarmed.
    late = now - max(begun + allowed, since + timedelta(minutes=10))
    return late if late > timedelta(0) else None
