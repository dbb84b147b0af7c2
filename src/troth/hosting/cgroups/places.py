"""Where this machine lets the platform make control groups, and what is written there: pure, from what
/proc/self/mountinfo and /proc/self/cgroup say and from a look at single folders.

Version 1 has a tree for each controller, version 2 one for all. In hybrid machines version 2 is there too,
without controllers: then the limits are of version 1, and version 2 ends a group at once (cgroup.kill).
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from troth.core.process import Bounds

CONTROLLERS = ("memory", "pids", "cpu")
"""What is wanted."""

OPTIONAL = frozenset({"memory.memsw.limit_in_bytes", "memory.swap.max", "memory.oom.group"})
"""Files that are there only where the kernel accounts for swap, or is new enough."""

_FIRST = "troth-"
_WEIGHT, _SHARES = 100, 1024
"""The processor's share of one group: by default, in version 2 and 1, as much as one process has."""

_PLATFORM_WEIGHT = 10 * _WEIGHT
"""In version 2 everything is in groups: what all applications need goes before each of them."""


class Mount(msgspec.Struct, frozen=True):
    """A tree that can be seen: `root` is the group that stands at `folder`. Version 2 names no controllers
    here."""

    folder: Path
    root: str
    version: Literal[1, 2]
    controllers: frozenset[str]


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of the folder of a group. Of version 2: the controllers that its groups could have
    (`offered`), those that they have (`enabled`), and whether it was given to us to divide (`delegated`)."""

    writable: bool
    offered: frozenset[str] = frozenset()
    enabled: frozenset[str] = frozenset()
    delegated: bool = False


class Place(msgspec.Struct, frozen=True):
    """Groups can be made in `base`, and these controllers hold them there; none are needed to end a group."""

    base: Path
    version: Literal[1, 2]
    controllers: tuple[str, ...]


class Choice(msgspec.Struct, frozen=True):
    """All places, and why something that is wanted is missing: a sentence without a full stop."""

    places: tuple[Place, ...] = ()
    why_not: str = ""

    @property
    def held(self) -> tuple[str, ...]:
        """The controllers that hold a group."""
        return tuple(name for name in CONTROLLERS if any(name in one.controllers for one in self.places))


def read_mounts(mountinfo: str) -> tuple[Mount, ...]:
    """Every tree of control groups in /proc/self/mountinfo (proc(5))."""
    found: list[Mount] = []
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        _, _, _, root, folder, *_ = fields.split()
        kind, _, options = rest.split(maxsplit=2)
        if kind in ("cgroup", "cgroup2"):
            version = 1 if kind == "cgroup" else 2
            names = frozenset(options.split(",") if version == 1 else ()) & frozenset(CONTROLLERS)
            found.append(Mount(Path(_plain(folder)), _plain(root), version, names))
    return tuple(found)


def read_own(text: str) -> dict[str, str]:
    """In which group a process is, by controller, from /proc/PID/cgroup; version 2 under an empty name."""
    rows = (line.split(":", 2) for line in text.splitlines())
    return {name: path for _, names, path in rows for name in names.split(",")}


def choose(
    mounts: tuple[Mount, ...],
    own: Mapping[str, str],
    look: Callable[[Path], Look],
    *,
    leaf: str,
    managed: bool,
) -> Choice:
    """Where groups of the platform go: below the group that it is in. `leaf` is the name of the group that it
    made for itself in version 2, see `base_of`. `managed`: systemd divides this machine, and who was not
    given a part of it must not divide it further."""
    places: dict[Path, Place] = {}
    reasons: list[str] = []
    for name in CONTROLLERS:
        mount = next((one for one in mounts if name in one.controllers), None)
        base = _folder(mount, own.get(name)) if mount is not None else None
        if base is None:
            continue
        if not look(base).writable:
            reasons.append(f"{base} cannot be written by this user")
            continue
        known = places.get(base)
        places[base] = Place(base, 1, (*known.controllers, name) if known is not None else (name,))
    first = Choice(tuple(places.values()))
    place, why = _choose_second(mounts, own, look, leaf=leaf, managed=managed, limits=not first.places)
    chosen = Choice((*first.places, *((place,) if place is not None else ())))
    if len(chosen.held) == len(CONTROLLERS):
        return chosen
    missing = (*reasons, why) if why and not first.places else reasons
    lacking = " and ".join(name for name in CONTROLLERS if name not in chosen.held)
    said = next(iter(missing), f"this machine shows no control groups for {lacking}")
    return Choice(chosen.places, said)


def base_of(own: Path, look: Callable[[Path], Look], leaf: str) -> Path:
    """Version 2: the group to divide, of a process that is in `own`. A group that has others below it with
    controllers can hold no process itself: whoever runs the platform is in a `leaf` of it by then, made by
    the platform or, by systemd's DelegateSubgroup=, before."""
    delegated_above = look(own.parent).delegated and not look(own).delegated
    return own.parent if own.name == leaf or delegated_above else own


def own_folder(mounts: tuple[Mount, ...], own: Mapping[str, str]) -> Path | None:
    """The folder of the group of version 2 that a process is in; None when it cannot be seen."""
    mount = next((one for one in mounts if one.version == 2), None)
    return _folder(mount, own.get("")) if mount is not None else None


def prefix(state: Path) -> str:
    """What the names of all groups of the platform on this state folder begin with."""
    return f"{_FIRST}{hashlib.sha256(os.fsencode(state)).hexdigest()[:12]}-"


def name_of(state: Path, process: str, serial: int) -> str:
    """The name of the group of one start of one process."""
    return f"{prefix(state)}{re.sub(r'[^a-z0-9-]', '_', process)}-{serial}"


def leaf_of(state: Path) -> str:
    """The name of the group of whoever runs the platform (version 2)."""
    return f"{prefix(state)}platform"


def is_ours(name: str) -> bool:
    """Whether some platform made a group of this name."""
    return name.startswith(_FIRST)


def concerns(place: Place, bounds: Bounds | None) -> bool:
    """Whether a process has a group there. Where the processor is shared in a tree of its own, what has no
    bounds stays among all others, process by process."""
    return bounds is not None or place.version == 2 or place.controllers != ("cpu",)


def values(place: Place, bounds: Bounds | None) -> tuple[tuple[str, str], ...]:
    """What is written into which file of a new group, in this order."""
    written: list[tuple[str, str]] = []
    for name in place.controllers:
        if name == "cpu":
            weight = _WEIGHT if bounds is not None else _PLATFORM_WEIGHT
            both = (("cpu.shares", _SHARES), ("cpu.weight", weight))
            written.append((both[place.version - 1][0], str(both[place.version - 1][1])))
        elif bounds is not None and name == "pids":
            written.append(("pids.max", str(bounds.tasks)))
        elif bounds is not None:
            written += _memory(place.version, str(bounds.memory))
    return tuple(written)


def out_of_memory(text: str) -> int:
    """How many processes the kernel ended in a group for want of memory: of memory.oom_control (version 1) or
    memory.events (version 2)."""
    return _row(text, "oom_kill")


def held_memory(text: str) -> int:
    """Bytes of a group that cannot be given up, in memory.stat: without the contents of files that can be
    read again."""
    version_2 = _row(text, "anon") + _row(text, "shmem")
    return (_row(text, "total_rss") + _row(text, "total_shmem")) or version_2


def _choose_second(
    mounts: tuple[Mount, ...],
    own: Mapping[str, str],
    look: Callable[[Path], Look],
    *,
    leaf: str,
    managed: bool,
    limits: bool,
) -> tuple[Place | None, str]:
    """The place in the tree of version 2, or why there is none. Without `limits` it only ends groups."""
    folder = own_folder(mounts, own)
    if folder is None:
        return None, ""
    base = base_of(folder, look, leaf)
    seen = look(base)
    if not seen.writable:
        return None, f"{base} cannot be written by this user"
    if not limits:
        return Place(base, 2, ()), ""
    if managed and not seen.delegated:
        return None, f"systemd has not given us {base} to divide (Delegate=yes in the platform's unit)"
    controllers = tuple(name for name in CONTROLLERS if name in seen.enabled)
    if len(controllers) == len(CONTROLLERS):
        return Place(base, 2, controllers), ""
    lacking = " and ".join(name for name in CONTROLLERS if name not in seen.offered)
    why = f"{base} does not offer {lacking}" if lacking else f"{base} holds others than the platform"
    return Place(base, 2, controllers), why


def _folder(mount: Mount, path: str | None) -> Path | None:
    """The folder of a group in a tree; None when it lies outside of what can be seen."""
    if path is None or ".." in path.split("/"):
        return None
    below = Path(path)
    if not below.is_relative_to(mount.root):
        return None
    return mount.folder / below.relative_to(mount.root)


def _memory(version: Literal[1, 2], most: str) -> tuple[tuple[str, str], ...]:
    """Swap counts: what does not fit is not to be had more slowly instead. In version 2 all of a group end
    together, for half of an instance serves nobody."""
    if version == 1:
        return (("memory.limit_in_bytes", most), ("memory.memsw.limit_in_bytes", most))
    return (("memory.max", most), ("memory.swap.max", "0"), ("memory.oom.group", "1"))


def _row(text: str, name: str) -> int:
    rows = (line.split() for line in text.splitlines())
    return next((int(row[1]) for row in rows if len(row) == 2 and row[0] == name), 0)


def _plain(text: str) -> str:
    """mountinfo writes spaces and the like as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
