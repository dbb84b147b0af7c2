"""The numbers of one process that are read several times a second, from files of proc(5) that stay open.

A file that is open belongs to this very process: once it has ended nothing can be read, whoever has its
number by then. To read it again costs a tenth of opening it.
"""

import os
from pathlib import Path

import msgspec

from troth.hosting.cgroups.places import held_memory

_PROC = Path("/proc")
_HELD = (b"T", b"t")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_BYTES = 4096


class Thread(msgspec.Struct, frozen=True):
    """The main thread of a process, where its event loop runs: seconds on a processor and seconds for which
    it could have run and got none, since it began."""

    worked: float
    waited: float


class Reading:
    """One process; `group` is the file in which its control group's memory is counted, if it is.
    Whatever is asked of one that has ended, or cannot be seen, is None or zero."""

    def __init__(self, pid: int, group: Path | None = None) -> None:
        self.pid = pid
        self._group = group
        self._files: dict[str, int] = {}
        self._limit = 0

    def thread(self) -> Thread | None:
        """How its main thread was scheduled."""
        fields = self._read("schedstat").split()
        return Thread(int(fields[0]) / 1e9, int(fields[1]) / 1e9) if len(fields) >= 2 else None

    def is_held(self) -> bool:
        """Whether a signal or a debugger holds it."""
        return self._read("stat").rpartition(b")")[2].lstrip()[:1] in _HELD

    def own_memory(self) -> int:
        """Bytes that it holds and shares with nobody (RssAnon); of all in its group where that is counted."""
        if self._group is not None and (held := held_memory(self._read("group").decode(errors="replace"))):
            return held
        fields = self._read("statm").split()
        return (int(fields[1]) - int(fields[2])) * _PAGE if len(fields) >= 3 else 0

    def descriptors(self) -> tuple[int, int]:
        """How many descriptors it holds, and how many it may."""
        folder = f"{_PROC}/{self.pid}/fd"
        try:
            # Their number, since Linux 6.2; nothing before.
            held = os.stat(folder).st_size or len(os.listdir(folder))  # noqa: PTH116, PTH208 - half the time
        except OSError:
            return 0, 0
        return held, self._most()

    def close(self) -> None:
        """Give the descriptors back."""
        files, self._files = self._files, {}
        for descriptor in files.values():
            os.close(descriptor)

    def _most(self) -> int:
        """The limit that it began with; a process lowers it at its beginning, and hardly ever again."""
        if not self._limit:
            lines = self._read("limits").decode(errors="replace").splitlines()
            row = next((row for row in lines if row.startswith("Max open files")), "")
            soft = row.split()[3] if row else "0"
            self._limit = int(soft) if soft.isdigit() else 0
        return self._limit

    def _read(self, name: str) -> bytes:
        try:
            if name not in self._files:
                file = self._group if name == "group" else f"{_PROC}/{self.pid}/{name}"
                self._files[name] = os.open(file or "", os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._files[name], _BYTES, 0)
        except OSError:
            return b""
