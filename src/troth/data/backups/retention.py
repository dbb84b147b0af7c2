"""Which backups and which part of the log may go; pure.

Kept are the last backup of each of the last so many days, weeks (ISO 8601) and months that have one, and
whatever those build on. Days without a backup do not count: a platform that was down loses nothing.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec

from troth.core.settings import BackupSettings
from troth.data.backups.manifest import WAL, Backup, Catalogue, Piece, id_in
from troth.data.backups.wal import Segment, history_timeline
from troth.data.stores.store import Entry

LEFTOVER_AGE = timedelta(hours=24)
"""No backup takes longer to be written; what is older and has no manifest never came to its end."""


class Verdict(msgspec.Struct, frozen=True):
    """What stays and what goes, by identifier; increments go before what they build on."""

    keep: tuple[str, ...]
    drop: tuple[str, ...]


def judge(catalogue: Catalogue, policy: BackupSettings, now: datetime) -> Verdict:
    """Which backups are needed no more. The newest restorable one stays in any case, and so does all that is
    younger than the last full one: the chain that the next increment builds on."""
    whole = catalogue.restorable
    chosen: set[str] = set()
    for count, of in (
        (policy.keep_daily, _day),
        (policy.keep_weekly, _week),
        (policy.keep_monthly, _month),
    ):
        last = {of(one.ended): one for one in whole}  # later ones replace earlier ones of the same period
        chosen |= {one.id for period, one in last.items() if period in sorted(last)[len(last) - count :]}
    if whole:
        chain = catalogue.chain(whole[-1]) or ()
        chosen |= {one.id for one in whole if chain and one.began >= chain[0].began}
    chosen |= {one.id for one in whole if now - one.ended < timedelta(days=policy.lock_days)}
    needed = {link.id for one in whole if one.id in chosen for link in catalogue.chain(one) or ()}
    going = [one.id for one in catalogue.backups if one.id not in needed]
    return Verdict(tuple(one.id for one in catalogue.backups if one.id in needed), tuple(reversed(going)))


def old_leftovers(entries: Iterable[Entry], catalogue: Catalogue, now: datetime) -> tuple[str, ...]:
    """Objects of backups that were begun and never came to their end."""
    before = now.timestamp() - LEFTOVER_AGE.total_seconds()
    return tuple(
        entry.name
        for entry in entries
        if id_in(entry.name) in catalogue.leftovers and entry.modified < before
    )


def old_log(names: Iterable[str], kept: Iterable[Backup]) -> tuple[str, ...]:
    """Objects of the log that lie before everything that is kept, and pieces of segments that are whole.

    While nothing is kept, no segment goes. Histories stay: they are small, and later timelines need them.
    """
    floor = min((one.start_lsn for one in kept), default=None)
    names = tuple(names)
    whole = {segment for name in names if (segment := Segment.read(name.removeprefix(WAL))) is not None}

    def is_old(name: str) -> bool:
        if history_timeline(name.removeprefix(WAL)) is not None:
            return False
        piece = Piece.read(name)
        segment = piece.segment if piece else Segment.read(name.removeprefix(WAL))
        if segment is None:
            return False
        return (piece is not None and segment in whole) or (floor is not None and segment.end <= floor)

    return tuple(name for name in names if is_old(name))


_Period = Callable[[datetime], tuple[int, ...]]


def _day(at: datetime) -> tuple[int, ...]:
    return at.year, at.month, at.day


def _week(at: datetime) -> tuple[int, ...]:
    return at.isocalendar()[:2]


def _month(at: datetime) -> tuple[int, ...]:
    return at.year, at.month
