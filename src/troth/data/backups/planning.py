"""Which backup and which write-ahead log a restore takes, decided from names alone; pure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from troth.core.clock import to_wire
from troth.core.errors import PlatformError
from troth.data.backups.manifest import WAL, Backup, Catalogue, Piece
from troth.data.backups.wal import Segment, history_timeline, show_lsn
from troth.data.stores.store import Entry

DOWNLOAD_RATE = 60e6
"""Bytes a second of plaintext that are fetched, opened and written, for the estimate alone."""

_SLACK_BYTES = 768 * 1024 * 1024
"""Write-ahead log on its way and what replaying it writes."""


class NotRestorable(PlatformError):
    """What is in the store does not make the state that was asked for."""


class LogFile(msgspec.Struct, frozen=True):
    """A segment of the log: its whole object, or the pieces of one that was not whole yet."""

    segment: Segment
    pieces: tuple[Piece, ...] = ()


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """The log from a backup on without a gap, in the order in which it is replayed.

    `shipped` is when the store received the newest of it. `lost` names the first segment that is missing when
    there is more behind it.
    """

    files: tuple[LogFile, ...]
    histories: tuple[int, ...]
    shipped: datetime
    lost: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore will do. `moment` is None for everything that can be had."""

    chain: tuple[Backup, ...]
    log: Log
    moment: datetime | None = None

    @property
    def backup(self) -> Backup:
        """The one whose state is reached before the log is replayed."""
        return self.chain[-1]

    @property
    def plain(self) -> int:
        """Bytes to open: base backups, and the log."""
        return sum(one.plain for one in self.chain) + sum(
            sum(piece.end - piece.start for piece in file.pieces) or file.segment.end - file.segment.start
            for file in self.log.files
        )

    @property
    def seconds(self) -> float:
        """An estimate."""
        return 5.0 + self.plain / DOWNLOAD_RATE

    @property
    def disk(self) -> int:
        """Bytes that the disk must have free: what is fetched, what it is opened into, and what an
        incremental chain is put together into."""
        opened = sum(one.plain for one in self.chain)
        sealed = max(one.size for one in self.chain)
        return opened * (2 if len(self.chain) > 1 else 1) + sealed + _SLACK_BYTES


def plan_restore(
    catalogue: Catalogue, entries: Iterable[Entry], moment: datetime | None, *, until_gap: bool = False
) -> Plan:
    """The plan for `moment`, or for the newest state with None. `entries` are the objects below `wal/`.

    Raises NotRestorable, with what can be done instead.
    """
    entries = tuple(entries)
    backup = choose_backup(catalogue, moment)
    chain = catalogue.chain(backup)
    assert chain is not None, "a backup without its chain is not chosen"
    log = choose_log(backup, entries)
    if log.lost and not until_gap:
        raise NotRestorable(
            f"Segment {log.lost} of the write-ahead log is missing from the store; there is more behind it.",
            hint="Nothing written behind it can be had from this backup. To restore everything before it: "
            "--until-gap",
        )
    if moment is not None and moment > log.shipped:
        raise NotRestorable(
            f"The newest that the store has is of {to_wire(log.shipped)}, before {to_wire(moment)}.",
            hint="Restore what there is: --to latest",
        )
    return Plan(chain=chain, log=log, moment=moment)


def choose_backup(catalogue: Catalogue, moment: datetime | None) -> Backup:
    """The newest backup with a complete chain that had ended by then. Raises NotRestorable."""
    if not catalogue.backups:
        raise NotRestorable(
            "There is no backup in the store.", hint="Is this the right store? See: troth backup list"
        )
    best = catalogue.best(moment if moment is not None else datetime.max.replace(tzinfo=UTC))
    if best is not None:
        return best
    if not catalogue.restorable:
        raise NotRestorable(
            "No backup in the store is complete: the full backup that the others build on is missing.",
            hint="See what there is: troth backup list",
        )
    first = min(one.ended for one in catalogue.restorable)
    raise NotRestorable(
        f"The oldest backup that can be restored ended at {to_wire(first)}.",
        hint="Name a moment after that one: --to TIME",
    )


def choose_log(backup: Backup, entries: Iterable[Entry]) -> Log:
    """The log from the backup's start on. Raises NotRestorable when it does not even reach the backup's
    end."""
    arrived = {entry.name: entry.modified for entry in entries}
    histories = tuple(sorted(_histories(arrived, backup.timeline)))
    whole, pieces = _sort_out(arrived, {backup.timeline, *histories})
    first, last = Segment.at(backup.timeline, backup.start_lsn), max((*whole, *pieces), default=-1)
    files: list[LogFile] = []
    lost = ""
    for number in range(first.number, last + 1):
        file = _file(number, whole, pieces, is_last=number == last)
        if file is None:
            lost = Segment(backup.timeline, number).name
            break
        files.append(file)
    if not files or files[-1].segment.end < backup.stop_lsn:
        raise NotRestorable(
            f"The write-ahead log of backup {backup.id} is not complete in the store: it needs the log from "
            f"{show_lsn(backup.start_lsn)} to {show_lsn(backup.stop_lsn)}.",
            hint="Restore an older backup: troth backup restore --to TIME",
        )
    names = [name for file in files for name in _objects(file)]
    shipped = max((arrived[name] for name in names), default=0.0)
    return Log(
        files=tuple(files), histories=histories, shipped=datetime.fromtimestamp(shipped, UTC), lost=lost
    )


def _histories(arrived: Mapping[str, float], after: int) -> Iterable[int]:
    """The timelines that PostgreSQL will find: it asks for the next number until there is none."""
    known = {history_timeline(name.removeprefix(WAL)) for name in arrived}
    timeline = after + 1
    while timeline in known:
        yield timeline
        timeline += 1


def _sort_out(
    arrived: Iterable[str], timelines: set[int]
) -> tuple[dict[int, Segment], dict[int, list[Piece]]]:
    """By number: the whole segment of the latest timeline that has it, and the pieces likewise."""
    whole: dict[int, Segment] = {}
    pieces: dict[int, list[Piece]] = {}
    for name in sorted(arrived):
        segment, piece = Segment.read(name.removeprefix(WAL)), Piece.read(name)
        if segment is not None and segment.timeline in timelines:
            whole[segment.number] = segment
        elif piece is not None and piece.segment.timeline in timelines:
            pieces.setdefault(piece.segment.number, []).append(piece)
    return whole, pieces


def _file(
    number: int, whole: Mapping[int, Segment], pieces: Mapping[int, list[Piece]], *, is_last: bool
) -> LogFile | None:
    """The whole segment, unless a later timeline has pieces of it; only the last may be in pieces alone."""
    segment, parts = whole.get(number), pieces.get(number, [])
    latest = max((part.segment.timeline for part in parts), default=0)
    if segment is not None and segment.timeline >= latest:
        return LogFile(segment)
    if not is_last or not parts:
        return LogFile(segment) if segment is not None else None
    own = tuple(part for part in assemble(parts) if part.segment.timeline == latest)
    return LogFile(own[0].segment, own) if own else None


def assemble(parts: Iterable[Piece]) -> tuple[Piece, ...]:
    """The pieces of the latest timeline that together cover the segment's beginning without a gap, each
    adding something: of two that overlap, the one that ends later is right."""
    parts = tuple(parts)
    latest = max(part.segment.timeline for part in parts)
    chosen: list[Piece] = []
    reached = 0
    for part in sorted((one for one in parts if one.segment.timeline == latest), key=lambda one: one.end):
        if part.start > reached:
            break
        if part.end > reached:
            chosen.append(part)
            reached = part.end
    return tuple(chosen)


def _objects(file: LogFile) -> tuple[str, ...]:
    return tuple(piece.name for piece in file.pieces) or (f"{WAL}{file.segment.name}",)
