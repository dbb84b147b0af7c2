"""What `pg_receivewal` has written: whole segments, the one that is growing, and histories.

A segment that is not whole yet has its full size from the start and zeros where nothing was received.
"""

from pathlib import Path

import msgspec

from troth.data.backups.wal import PAGE_BYTES, SEGMENT_BYTES, Segment, history_timeline

_PARTIAL = ".partial"
_ALIGNMENT = 8  # every record begins at a multiple (MAXALIGN)


class Waiting(msgspec.Struct, frozen=True):
    """The files that are to be shipped, in this order."""

    histories: tuple[Path, ...]
    whole: tuple[Path, ...]
    growing: tuple[Path, ...]


class Spool:
    """The folder of the receiver, and beside it what earlier runs of it have left.

    A receiver that starts where its own files end would wait for ever, once the leader that wrote them was
    lost with some of it: no other member has that. So it starts with an empty folder each time, where its
    replication slot stands; what was in the folder is set aside, and shipped all the same.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / "receiving"
        self._aside = root / "aside"

    def prepare(self) -> None:
        """Make the folders and set aside what the last receiver has left. Call it while none runs."""
        for folder in (self.folder, self._aside):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in sorted(self.folder.iterdir()):
            if _segment_of(path) or history_timeline(path.name):
                self._keep(path)
            else:
                path.unlink()

    def waiting(self) -> Waiting:
        """What is there now. Files set aside come first."""
        files = [path for folder in (self._aside, self.folder) for path in _files(folder)]
        segments = [path for path in files if _segment_of(path)]
        return Waiting(
            tuple(path for path in files if history_timeline(path.name)),
            tuple(path for path in segments if not path.name.endswith(_PARTIAL)),
            tuple(path for path in segments if path.name.endswith(_PARTIAL)),
        )

    def begin(self) -> int | None:
        """From where on the present receiver has received; None as long as it has nothing."""
        segments = [segment for path in _files(self.folder) if (segment := _segment_of(path))]
        return min((segment.start for segment in segments), default=None)

    def end(self) -> int:
        """Up to where the log was received that waits here; 0 when there is none."""
        waiting = self.waiting()
        ends = [0, *(segment_of(path).end for path in waiting.whole)]
        for path in waiting.growing:
            try:
                ends.append(segment_of(path).start + extent(path))
            except FileNotFoundError:  # renamed or shipped meanwhile
                continue
        return max(ends)

    def is_growing(self, path: Path) -> bool:
        """Whether the receiver may still write to it."""
        return path.parent == self.folder

    def size(self) -> int:
        """Bytes on disk, more or less: files are renamed and shipped meanwhile."""
        return sum(_size(path) for folder in (self._aside, self.folder) for path in _files(folder))

    def _keep(self, path: Path) -> None:
        """A segment that is whole replaces what there is of it; of two that are not, the longer one stays."""
        kept = self._aside / path.name
        if path.name.endswith(_PARTIAL) and kept.exists() and extent(kept) > extent(path):
            path.unlink()
        else:
            path.replace(kept)


def segment_of(path: Path) -> Segment:
    """The segment that a file of the spool is of. Raises ValueError for any other file."""
    segment = _segment_of(path)
    if segment is None:
        raise ValueError(f"no segment: {path.name}")
    return segment


def extent(path: Path) -> int:
    """How many bytes of a segment were received: up to the last one that is not zero, rounded up to where a
    record may begin. A record that ends in zeros is found short of them, which is no loss: behind the last
    piece of a segment a restore has zeros."""
    with path.open("rb") as file:
        pages = min(file.seek(0, 2), SEGMENT_BYTES) // PAGE_BYTES
        low, high = 0, pages  # every page that was received begins with a header, and pages come in order
        while low < high:
            middle = (low + high) // 2
            file.seek(middle * PAGE_BYTES)
            if any(file.read(16)):
                low = middle + 1
            else:
                high = middle
        if not low:
            return 0
        file.seek((low - 1) * PAGE_BYTES)
        used = len(file.read(PAGE_BYTES).rstrip(b"\0"))
    return (low - 1) * PAGE_BYTES + min(PAGE_BYTES, used + -used % _ALIGNMENT)


def read_span(path: Path, start: int, end: int) -> bytes:
    """Bytes `[start, end)` of a file."""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(end - start)


def page_before(offset: int) -> int:
    """The beginning of the page in which the byte before `offset` lies."""
    return max(0, offset - 1) // PAGE_BYTES * PAGE_BYTES


def _segment_of(path: Path) -> Segment | None:
    return Segment.read(path.name.removesuffix(_PARTIAL))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _size(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
