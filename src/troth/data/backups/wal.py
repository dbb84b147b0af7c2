"""Positions in the write-ahead log, the names of its files, and which of them a span needs; pure."""

import re

import msgspec

SEGMENT_BYTES = 16 * 1024 * 1024
"""What initdb chooses; PostgreSQL's own name for it is `wal_segment_size`."""

PAGE_BYTES = 8192
"""Each page of a segment begins with a header, so a page of zeros alone was never written."""

_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_PER_LOG = 0x1_0000_0000 // SEGMENT_BYTES


def read_lsn(text: str) -> int:
    """The position that PostgreSQL writes as `16/B374D848`. Raises ValueError on anything else."""
    match = _LSN.fullmatch(text)
    if match is None:
        raise ValueError(f"no position in the write-ahead log: {text[:40]!r}")
    return int(match[1], 16) << 32 | int(match[2], 16)


def show_lsn(lsn: int) -> str:
    """As PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


class Segment(msgspec.Struct, frozen=True, order=True):
    """One file of the write-ahead log: its timeline, and its number since the beginning of the log."""

    timeline: int
    number: int

    @property
    def name(self) -> str:
        """As in `pg_wal`: 24 hexadecimal digits."""
        return f"{self.timeline:08X}{self.number // _PER_LOG:08X}{self.number % _PER_LOG:08X}"

    @property
    def start(self) -> int:
        """The position of its first byte."""
        return self.number * SEGMENT_BYTES

    @property
    def end(self) -> int:
        """The position behind its last byte."""
        return self.start + SEGMENT_BYTES

    @classmethod
    def read(cls, name: str) -> "Segment | None":
        """The segment of this name; None for any other file."""
        match = _SEGMENT.fullmatch(name)
        if match is None or int(match[3], 16) >= _PER_LOG:
            return None
        return cls(int(match[1], 16), int(match[2], 16) * _PER_LOG + int(match[3], 16))

    @classmethod
    def at(cls, timeline: int, lsn: int) -> "Segment":
        """The segment that holds the byte at `lsn`."""
        return cls(timeline, lsn // SEGMENT_BYTES)


def segments_between(timeline: int, start: int, stop: int) -> tuple[Segment, ...]:
    """Every segment of one timeline with a byte of `[start, stop)`, and the one of `start` in any case."""
    last = max(start, stop - 1) // SEGMENT_BYTES
    return tuple(Segment(timeline, number) for number in range(start // SEGMENT_BYTES, last + 1))


def history_timeline(name: str) -> int | None:
    """The timeline of `0000000A.history`; None for any other file."""
    match = _HISTORY.fullmatch(name)
    return int(match[1], 16) if match else None
