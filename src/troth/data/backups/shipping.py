"""The write-ahead log on its way to the store: whole segments, and every few seconds what there is of the
last.

Measured against PostgreSQL's own way to have the log shipped early, `pg_switch_wal` every few seconds: that
fills 16 MiB on every member for a row, 280 GB a day; a piece of a page costs some hundred bytes.
"""

import asyncio
from collections import deque
from datetime import datetime
from pathlib import Path

import msgspec

from troth.data.backups.manifest import Piece, history_object, segment_object
from troth.data.backups.spool import Spool, extent, page_before, read_span, segment_of
from troth.data.backups.vault import Vault
from troth.data.backups.wal import SEGMENT_BYTES, Segment, history_timeline

SAMPLES = 600
"""Instants that wait until the log up to them was shipped: ten minutes of one a second."""


class Look(msgspec.Struct, frozen=True):
    """One look at the leader: at `at` everything acknowledged lay before `flushed`, and the receiver had
    written down everything before `received` (None when it is not connected)."""

    at: datetime
    flushed: int
    received: int | None


class Coverage:
    """Up to which instant every acknowledged write can be had from the store; pure.

    `tears` counts how often some of the log never arrived. Until a backup was begun after the last of them,
    nothing that was written since can be had, however much of it is shipped.
    """

    def __init__(self) -> None:
        self.until: datetime | None = None
        self.shipped = 0
        self.tears = 0
        self._mended = 0
        self._looks: deque[Look] = deque(maxlen=SAMPLES)

    def note(self, look: Look) -> None:
        """Remember a look, to be told later what it is worth."""
        self._looks.append(look)

    def ship(self, received: int) -> None:
        """All that had been received by `received` is in the store now."""
        self.shipped = max(self.shipped, received)
        while self._looks and self._looks[0].flushed <= self.shipped:
            at = self._looks.popleft().at
            self.until = self.until if self.is_torn else at

    def tear(self) -> None:
        """Some of the log never arrived: what was written before it does not lead to what comes after."""
        self.tears += 1
        self._looks.clear()

    def mend(self, tears: int) -> None:
        """A backup is in the store that was begun when there had been so many tears."""
        self._mended = max(self._mended, tears)

    @property
    def is_torn(self) -> bool:
        """Whether no backup has been begun since the last tear."""
        return self._mended < self.tears

    @property
    def received(self) -> int | None:
        """What the receiver had at the last look."""
        return self._looks[-1].received if self._looks else None


class Seam:
    """Where one receiver ended, and where the next one goes on: what lies between never arrives; pure.

    A slot may be made anew as often as nobody is connected, and not while somebody is.
    """

    def __init__(self) -> None:
        self._ended = 0

    @property
    def is_open(self) -> bool:
        """Whether it is not known yet that the next receiver goes on where the last one ended."""
        return self._ended > 0

    def end(self, at: int) -> None:
        """A receiver is gone, and all was received up to here."""
        self._ended = max(self._ended, at)

    def go_on(self, at: int | None, *, connected: bool) -> bool:
        """Whether there is a gap in front of `at`: where the leader keeps the log from, or where the receiver
        that is connected by now began (None: it has nothing yet)."""
        if not self._ended or at is None:
            return False
        is_gap = at > self._ended
        self._ended = 0 if connected else max(self._ended, at)
        return is_gap


class Shipped(msgspec.Struct, frozen=True):
    """What one round has sent. All that the present receiver has before `end` is in the store by then, as far
    as whole segments tell, which is sooner than the receiver reports it; 0 when none was sent. A round
    `missed` something when a file that it had listed had another name by its turn, or will be received
    again."""

    segments: int = 0
    pieces: int = 0
    size: int = 0
    end: int = 0
    missed: bool = False

    def reach(self, received: int | None) -> int:
        """Up to where the log is in the store, when `received` was received before the round began."""
        return self.end if self.missed else max(received or 0, self.end)


class Shipper:
    """Ships what waits in a spool. Every object may be stored again: it has the same content."""

    def __init__(self, spool: Spool, vault: Vault) -> None:
        self._spool = spool
        self._vault = vault
        self._ends: dict[Segment, int] = {}
        self._pieces: dict[Segment, list[str]] = {}
        self._histories: set[str] = set()
        self.reached = 0
        """The end of the newest whole segment that was sent."""

    async def round(self) -> Shipped:
        """Ship all that is there now. Raises StoreError; what was not shipped stays, and comes first next
        time."""
        waiting = await asyncio.to_thread(self._spool.waiting)
        segments = pieces = size = end = 0
        all_sent, missed = True, False
        for path in waiting.histories:
            await self._history(path)
        for path in waiting.whole:
            sent = await self._whole(path)
            segments, size, missed = segments + 1, size + (sent or 0), missed or sent is None
            all_sent = all_sent and bool(sent)
            if all_sent and self._spool.is_growing(path):
                end = segment_of(path).end
        for path in waiting.growing:
            sent = await self._growing(path)
            pieces, size, missed = pieces + bool(sent), size + (sent or 0), missed or sent is None
        return Shipped(segments, pieces, size, end, missed)

    async def _history(self, path: Path) -> None:
        timeline = history_timeline(path.name)
        if timeline is None or path.name in self._histories:
            return
        body = await asyncio.to_thread(_read, path)
        if body is None:
            return
        await self._vault.put_bytes(history_object(timeline), body)
        self._histories.add(path.name)
        if not self._spool.is_growing(path):
            _drop(path)

    async def _whole(self, path: Path) -> int | None:
        """How many bytes the store took; None when the file was no longer there, or not good."""
        segment = segment_of(path)
        body = await asyncio.to_thread(_read, path)
        if body is None:
            return None
        if len(body) != SEGMENT_BYTES:  # a disk that was full: it will be received again
            _drop(path)
            return None
        stored = await self._vault.put_bytes(segment_object(segment), body)
        self.reached = max(self.reached, segment.end)
        _drop(path)
        self._ends.pop(segment, None)
        for name in self._pieces.pop(segment, []):
            await self._vault.delete_if_free(name)
        return stored.size

    async def _growing(self, path: Path) -> int | None:
        """How many bytes the store took; None when the file was whole by now, or set aside."""
        segment = segment_of(path)
        try:
            end = await asyncio.to_thread(extent, path)
        except FileNotFoundError:
            return None
        before = self._ends.get(segment, 0)
        sent = 0
        if end > before:
            start = page_before(before)
            body = await asyncio.to_thread(_read, path, start, end)
            if body is None:
                return None
            piece = Piece(segment, end, start)
            sent = (await self._vault.put_bytes(piece.name, body)).size
            self._ends[segment] = end
            self._pieces.setdefault(segment, []).append(piece.name)
        if not self._spool.is_growing(path):
            _drop(path)
        return sent


def _drop(path: Path) -> None:
    path.unlink(missing_ok=True)


def _read(path: Path, start: int = 0, end: int = SEGMENT_BYTES) -> bytes | None:
    """None when the file was renamed meanwhile, since its segment is whole or its receiver has ended: the
    next round finds it under its new name."""
    try:
        return read_span(path, start, end)
    except FileNotFoundError:
        return None
