"""What a backup is in the store: the names of its objects, and the manifest that makes it one.

    base/<id>/data                      the base backup: one tar of pg_basebackup
    base/<id>/backup_manifest           PostgreSQL's own list of its files, which the next increment builds on
    base/<id>/manifest                  this `Backup`, written last: without it there is no backup
    wal/<segment>                       a whole segment of 16 MiB
    wal/<segment>.partial/<start>-<end> bytes of the segment that is still being written (see `piece_name`)
    wal/<timeline>.history              where a timeline began

Every object is an archive (docs/archive-format.md), sealed to the name it bears: none can stand in for
another.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from troth.data.backups.digests import Digests
from troth.data.backups.wal import SEGMENT_BYTES, Segment

FORMAT = 1
"""Raised by one when an older Troth could no longer read a manifest."""

MANIFEST_BYTES = 16 * 1024 * 1024
"""More than any manifest has: some hundred bytes for each table."""

Kind = Literal["full", "incremental"]

BASE = "base/"
WAL = "wal/"

_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_PIECE = re.compile(r"wal/([0-9A-F]{24})\.partial/([0-9a-f]{8})-([0-9a-f]{8})")


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """One object of a backup as it lies in the store, sealed. `name` is its whole name, `sha256` in
    hexadecimal digits; `plain` counts the bytes before they were compressed and sealed."""

    name: str
    size: int
    sha256: str
    plain: int


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """One base backup. It restores to any moment from `stop_lsn` on for which there is write-ahead log.

    `parent` is the backup that an incremental one builds on, `system` PostgreSQL's identifier of the cluster,
    `member` whom it was taken from. The log from `start_lsn` to `stop_lsn` lies in the store before the
    manifest does. `receipts` is the digest of the receipts of acknowledged writes at `began`, empty where
    none were kept. `digests` is what every table held at a point of the log between `stop_lsn` and `ended`,
    so that a restore anywhere can be held against it; None where that could not be had.
    """

    format: int = FORMAT
    id: str
    kind: Kind
    parent: str | None = None
    system: str
    timeline: int
    start_lsn: int
    stop_lsn: int
    began: datetime
    ended: datetime
    member: str
    postgres: str
    troth: str
    files: tuple[StoredFile, ...]
    receipts: str = ""
    digests: Digests | None = None

    @property
    def size(self) -> int:
        """Bytes in the store, its write-ahead log not counted."""
        return sum(file.size for file in self.files)

    @property
    def plain(self) -> int:
        """Bytes before they were compressed and sealed."""
        return sum(file.plain for file in self.files)


class BadManifest(ValueError):
    """An object that should be a manifest is none."""


def new_id(now: datetime, random: bytes) -> str:
    """An identifier that sorts by time: `20261125T190000Z-1a2b3c4d`, from four random bytes."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{random[:4].hex()}"


def data_name(backup: str) -> str:
    """The object of the tar."""
    return f"{BASE}{backup}/data"


def file_list_name(backup: str) -> str:
    """The object of PostgreSQL's `backup_manifest`."""
    return f"{BASE}{backup}/backup_manifest"


def manifest_name(backup: str) -> str:
    """The object of our manifest, written last."""
    return f"{BASE}{backup}/manifest"


def id_in(name: str) -> str | None:
    """The backup to which an object belongs; None when it belongs to none."""
    parts = name.split("/")
    return parts[1] if len(parts) == 3 and parts[0] == "base" and _ID.fullmatch(parts[1]) else None


def segment_object(segment: Segment) -> str:
    """The object of a whole segment."""
    return f"{WAL}{segment.name}"


def history_object(timeline: int) -> str:
    """The object of a timeline's history."""
    return f"{WAL}{timeline:08X}.history"


class Piece(msgspec.Struct, frozen=True, order=True):
    """Bytes `[start, end)` of a segment that was not whole yet. Of two that overlap, the one with the greater
    `end` is right; together they have no gap, and what is behind the last one is zeros."""

    segment: Segment
    end: int
    start: int

    @property
    def name(self) -> str:
        """Its object."""
        return f"{WAL}{self.segment.name}.partial/{self.start:08x}-{self.end:08x}"

    @classmethod
    def read(cls, name: str) -> "Piece | None":
        """The piece of this object; None for any other."""
        match = _PIECE.fullmatch(name)
        segment = Segment.read(match[1]) if match else None
        if match is None or segment is None:
            return None
        start, end = int(match[2], 16), int(match[3], 16)
        return cls(segment, end, start) if start < end <= SEGMENT_BYTES else None


def encode_manifest(backup: Backup) -> bytes:
    """As it is sealed: JSON with sorted keys, so that a digest of it means something."""
    return msgspec.json.encode(backup, order="sorted")


def decode_manifest(body: bytes, expected: str) -> Backup:
    """Read what was opened from `manifest_name(expected)`. Raises BadManifest."""
    try:
        backup = msgspec.json.decode(body, type=Backup)
    except msgspec.MsgspecError as error:
        raise BadManifest(f"the manifest of {expected} cannot be read: {error}") from None
    if backup.format != FORMAT:
        raise BadManifest(
            f"the manifest of {expected} is of format {backup.format}; this Troth knows {FORMAT}"
        )
    if backup.id != expected:
        raise BadManifest(f"the manifest of {expected} says that it is of {backup.id[:40]}")
    if (backup.parent is None) != (backup.kind == "full"):
        raise BadManifest(f"the manifest of {expected} does not say what it builds on")
    return backup


class Catalogue(msgspec.Struct, frozen=True):
    """Every backup in a store, oldest first. `leftovers` are identifiers of backups that never came to their
    end: objects without a manifest."""

    backups: tuple[Backup, ...] = ()
    leftovers: tuple[str, ...] = ()

    def get(self, identifier: str) -> Backup | None:
        """The backup of this identifier."""
        return next((one for one in self.backups if one.id == identifier), None)

    def chain(self, backup: Backup) -> tuple[Backup, ...] | None:
        """The full backup that this one builds on, and every increment up to it; None when one is missing."""
        links = [backup]
        while (parent := links[-1].parent) is not None:
            found = self.get(parent)
            if found is None or found in links:
                return None
            links.append(found)
        return tuple(reversed(links))

    @property
    def restorable(self) -> tuple[Backup, ...]:
        """Those whose chain is complete."""
        return tuple(one for one in self.backups if self.chain(one) is not None)

    def best(self, moment: datetime) -> Backup | None:
        """The last one that had ended by `moment` and whose chain is complete."""
        fit = [one for one in self.restorable if one.ended <= moment]
        return max(fit, key=lambda one: one.ended, default=None)


def arrange(backups: Iterable[Backup], names: Iterable[str]) -> Catalogue:
    """The catalogue of the manifests that were read and the names of all objects below `base/`."""
    ordered = tuple(sorted(backups, key=lambda one: (one.began, one.id)))
    known = {one.id for one in ordered}
    found = {identifier for name in names if (identifier := id_in(name)) is not None}
    return Catalogue(ordered, tuple(sorted(found - known)))
