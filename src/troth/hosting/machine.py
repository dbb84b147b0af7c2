"""What the machine has and what the platform's processes take of it: memory, disk, descriptors."""

import os
from collections import defaultdict
from pathlib import Path

import msgspec
import psutil

from troth.hosting import processes

_CGROUP = Path("/sys/fs/cgroup")


class Memory(msgspec.Struct, frozen=True):
    """In bytes: of the machine, or of the control group where that allows less."""

    size: int
    available: int


class Usage(msgspec.Struct, frozen=True):
    """Memory in bytes (shared pages counted in proportion) and open descriptors."""

    memory: int
    files: int


def memory_of_machine(group: Path | None = None) -> Memory:
    """What can be had without swapping. `group` is the folder of our control group (cgroups(7), v2); what is
    above it bounds us as well."""
    machine = psutil.virtual_memory()
    folder = own_group() if group is None else group
    found = Memory(machine.total, machine.available)
    for one in (folder, *folder.parents):
        limit, used = _number(one / "memory.max"), _number(one / "memory.current")
        if limit is not None and used is not None and limit < machine.total:
            # Pages of files that were read long ago are given back when somebody needs them.
            left = max(limit - used + _field(one / "memory.stat", "inactive_file"), 0)
            found = Memory(min(limit, found.size), min(left, found.available))
    return found


def own_group() -> Path:
    """The folder of the control group that this process is in."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return _CGROUP
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    return _CGROUP / own.lstrip("/")


def disk(folder: Path) -> tuple[int, int]:
    """Bytes that are free for this user, and the size of the file system. Raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def usage_by_name(state: Path) -> dict[str, Usage]:
    """For each process of the platform by the name that the keeper gave it, its descendants included."""
    rows = processes.everything()
    names: dict[int, str] = {}
    beginning = processes.prefix(state)
    for row in rows:
        if (mark := processes.mark_of(row)).startswith(beginning):
            names[row.pid] = mark.removeprefix(beginning).partition("|")[0]
    parents = {row.pid: row.parent for row in rows}
    memory: defaultdict[str, int] = defaultdict(int)
    files: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        if (name := _name_of(row.pid, names, parents)) is not None:
            memory[name] += processes.memory(row)
            files[name] += _descriptors(row.pid)
    return {name: Usage(memory[name], files[name]) for name in memory}


def _name_of(pid: int, names: dict[int, str], parents: dict[int, int]) -> str | None:
    """Its own, or that of the nearest process above it: PostgreSQL's children overwrite their environment."""
    seen: set[int] = set()
    while pid not in names:
        if pid in seen or pid not in parents:
            return None
        seen.add(pid)
        pid = parents[pid]
    return names[pid]


def _descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - half the time
    except OSError:
        return 0


def _number(file: Path) -> int | None:
    """`max`, or a file that is not there, is no number."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _field(file: Path, name: str) -> int:
    try:
        rows = (line.split() for line in file.read_text().splitlines())
        return next((int(row[1]) for row in rows if row[0] == name), 0)
    except OSError:
        return 0
