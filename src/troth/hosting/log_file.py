"""A log of the edge, followed as it is written.

The file is followed and not a socket: an edge that writes to a reader that has stopped reading would wait
for it, and with it everybody's requests. Whatever the keeper is late for is in the file when it comes back.
What is read at once is bounded; lines that are too many are passed over and counted.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

READ_BYTES = 1 << 20
"""At one look: some 2,000 lines."""

BEHIND_BYTES = 8 << 20
"""Further behind than this, the oldest lines are passed over."""


class Follower:
    """Lines of a file as they are added, through its rolling; the beginning is the end of what is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._rest = b""
        self.passed_over = 0

    def lines(self) -> Iterator[bytes]:
        """What was written since, at most `READ_BYTES` of it."""
        if self._descriptor is None:
            self._open(at_its_end=True)
        descriptor = self._descriptor
        if descriptor is None:
            return
        yield from self._take(descriptor)
        if self._rolled(descriptor):
            yield from self._take(descriptor)
            self.close()
            self._open(at_its_end=False)

    def close(self) -> None:
        """Follow no more."""
        descriptor, self._descriptor, self._rest = self._descriptor, None, b""
        if descriptor is not None:
            os.close(descriptor)

    def _open(self, *, at_its_end: bool) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            if at_its_end:
                os.lseek(self._descriptor, 0, os.SEEK_END)

    def _rolled(self, descriptor: int) -> bool:
        try:
            return self._path.stat().st_ino != os.fstat(descriptor).st_ino
        except FileNotFoundError:
            return False  # between the two halves of a roll; the next look finds the new file

    def _take(self, descriptor: int) -> Iterator[bytes]:
        behind = os.fstat(descriptor).st_size - os.lseek(descriptor, 0, os.SEEK_CUR)
        if behind > BEHIND_BYTES:
            os.lseek(descriptor, behind - READ_BYTES, os.SEEK_CUR)
            self._rest = b""
            self.passed_over += behind - READ_BYTES
        whole, _, self._rest = (self._rest + os.read(descriptor, READ_BYTES)).rpartition(b"\n")
        if len(self._rest) > READ_BYTES:
            self._rest = b""  # no line is so long: this is no log
        yield from whole.split(b"\n") if whole else ()
