"""The pipes into which instances write their spans, read by the keeper.

What an application's process writes is its own word: whatever is no span is counted and dropped, and it can
only ever write in its own name, which is that of its pipe.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from troth.core.tracing import MOST_BYTES, Span

PIPE_BYTES = 1 << 20
READ_BYTES = 1 << 18
"""Of one pipe in one round."""

SUFFIX = ".spans"
_MOST_TEXT = 200
_MOST_ATTRIBUTES = 16

_decoder = msgspec.json.Decoder(Span)


def make_pipe(path: Path) -> Path:
    """A pipe that its owner alone can open, empty."""
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    return path


class Pipes:
    """Every pipe of a folder. `odd` counts what was no span, `lost` what was not written for want of room."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[Path, tuple[int, int]] = {}
        self._rest: dict[Path, bytes] = {}
        self.odd = self.lost = 0

    def read(self) -> Iterator[tuple[str, Span]]:
        """What was written since, each with the name of its instance: `portal-1` of `portal-1-0.spans`."""
        self._look()
        for path, (descriptor, _) in self._open.items():
            source = path.name.removesuffix(SUFFIX).rpartition("-")[0]
            for line in self._lines(path, descriptor):
                span = _read(line)
                if span is None:
                    self.odd += 1
                    continue
                self.lost += span.lost
                yield source, span

    def close(self) -> None:
        """Read no more."""
        for descriptor, _ in self._open.values():
            os.close(descriptor)
        self._open, self._rest = {}, {}

    def _look(self) -> None:
        """A pipe that was made anew under its name is another one."""
        present = {path: path.stat().st_ino for path in self._folder.glob(f"*{SUFFIX}")}
        for path, (descriptor, number) in tuple(self._open.items()):
            if present.get(path) != number:
                os.close(descriptor)
                del self._open[path]
                self._rest.pop(path, None)
        for path in present.keys() - self._open.keys():
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with contextlib.suppress(PermissionError):  # beyond what this user may have in all pipes
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            self._open[path] = (descriptor, os.fstat(descriptor).st_ino)

    def _lines(self, path: Path, descriptor: int) -> Iterator[bytes]:
        try:
            piece = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return
        whole, _, rest = (self._rest.get(path, b"") + piece).rpartition(b"\n")
        self._rest[path] = rest if len(rest) < MOST_BYTES else b""
        yield from whole.split(b"\n") if whole else ()


def _read(line: bytes) -> Span | None:
    """Strictly: sizes are bounded, identifiers are hexadecimal."""
    try:
        span = _decoder.decode(line)
        sizes = tuple(len(bytes.fromhex(one)) for one in (span.trace, span.span, span.parent))
    except (msgspec.DecodeError, ValueError):
        return None
    words = (span.name, *span.attributes, *(one for one in span.attributes.values() if isinstance(one, str)))
    numbers = (span.begin, span.end, *(one for one in span.attributes.values() if isinstance(one, int)))
    sound = (
        sizes in ((16, 8, 8), (16, 8, 0))
        and len(span.attributes) <= _MOST_ATTRIBUTES
        and all(len(word) <= _MOST_TEXT for word in words)
        and all(0 <= number < 1 << 63 for number in numbers)
    )
    return span if sound else None
