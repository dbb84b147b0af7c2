"""`troth logs`: the last lines of what the platform's processes wrote, and what comes."""

import contextlib
import gzip
import os
import time
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from troth.cli.screen import err, out, printable
from troth.core.errors import UsageError
from troth.core.state import State
from troth.hosting.crashes import tail

PIECE = 256 << 10
GAP = 0.25
_ROLLED = "[0-9][0-9][0-9][0-9]-*.log*"
"""What the edge adds to the name of a log of its own that has grown too large; older ones are compressed."""
_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_black")


def show_logs(folder: Path, name: str, *, follow: bool, lines: int, request: str = "") -> int:
    """Returns the exit status. `name` takes every log that begins with it, `request` only the lines of this
    request, in all that is kept of them."""
    state = State(folder.resolve())
    logs = [Log(path, index) for index, path in enumerate(_choose(state, name))]
    if request:
        found = sum(log.show_lines_of(request) for log in logs)
        if not found:
            err.print("No log that is kept has this number.", markup=False)
        return 0 if found else 1
    for log in logs:
        log.show_last(lines)
    while follow:
        if sum(log.show_new() for log in logs) == 0:
            time.sleep(GAP)
    return 0


def _choose(state: State, name: str) -> list[Path]:
    known = sorted(state.logs.glob("*.log")) if state.logs.is_dir() else []
    chosen = [path for path in known if path.stem == name] or [p for p in known if p.stem.startswith(name)]
    if not known:
        raise UsageError(f"There are no logs in {state.logs} yet.", hint="Name the folder: --state FOLDER")
    if not chosen:
        names = ", ".join(path.stem for path in known)
        raise UsageError(f"There is no log {name!r} in {state.logs}. Logs: {names}.")
    return chosen


class Log:
    """One file, followed by its length, for it may be cut when it has grown too large."""

    def __init__(self, path: Path, index: int) -> None:
        self._path, self._colour = path, _COLOURS[index % len(_COLOURS)]
        self._at = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def show_last(self, lines: int) -> None:
        for line in tail(self._path, PIECE).splitlines()[-lines:]:
            self._print(line)

    def show_lines_of(self, request: str) -> int:
        """Print every line with this number, the older pieces of the log first; returns how many."""
        older = sorted(self._path.parent.glob(f"{self._path.stem}-{_ROLLED}"))
        count = 0
        for path in (self._path.with_name(f"{self._path.name}.1"), *older, self._path):
            for line in _lines_with(path, request.encode()):
                self._print(line)
                count += 1
        return count

    def show_new(self) -> bool:
        """Print what was added; whether there was anything. A line that does not end is shown in pieces."""
        piece = self._read_new()
        *whole, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) >= PIECE:
            whole, self._rest = [*whole, self._rest], b""
        for line in whole:
            self._print(line)
        return bool(piece)

    def _read_new(self) -> bytes:
        """The file may be set aside at any moment, for another one of its name."""
        try:
            with self._path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._at:
                    self._at = 0
                file.seek(self._at)
                piece = file.read(PIECE)
        except FileNotFoundError:
            return b""
        self._at += len(piece)
        return piece

    def _print(self, line: bytes) -> None:
        out.print(Text.assemble((f"{self._path.stem:<14} ", self._colour), printable(line)), soft_wrap=True)


def _lines_with(path: Path, number: bytes) -> Iterator[bytes]:
    """Read line by line, each bounded: a log is as large as its bound, and a line may be odd."""
    opened = gzip.open if path.suffix == ".gz" else open
    with contextlib.suppress(FileNotFoundError), opened(path, "rb") as file:
        while line := file.readline(PIECE):
            if number in line:
                yield line.rstrip(b"\n")
