"""Making, entering, reading, ending and removing control groups.

Groups lie beside one another, each named after the state folder, the process and its start: whoever looks
after the process later finds them by what was written down of it, and the next start whatever was left.
"""

import contextlib
import errno
import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from troth.core.process import Bounds
from troth.hosting.cgroups import places
from troth.hosting.cgroups.places import Choice, Look

PROCESSES = "cgroup.procs"
"""Who writes a number here moves that process, 0 itself."""

_SYSTEMD = Path("/run/systemd/system")
_END_SECONDS = 5.0
_TRIAL = Bounds(memory=64 << 20, tasks=16)
_TOLD = 200
_GAP = 0.005
_OLD_SECONDS = 600.0
_ENTER = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 125; shift; done; shift; exec "$@"'
_log = logging.getLogger(__name__)

Folders = tuple[Path, ...]
"""One group: its folder in each place."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `troth status` shows: what holds each process, below which groups, and why not more."""

    held: tuple[str, ...]
    below: tuple[str, ...]
    why_not: str


class Ended(msgspec.Struct, frozen=True):
    """What came of a group: how many of its processes the kernel ended for want of memory, and whether
    anything of it is left."""

    out_of_memory: int = 0
    left: bool = False


class Groups:
    """Of the platform on one state folder; without a place there are none, and everything runs as ever."""

    def __init__(self, state: Path, choice: Choice) -> None:
        self.choice = choice
        self._state = state
        self._refused = ""

    def make(self, process: str, serial: int, bounds: Bounds | None) -> Folders:
        """A group for one start of a process, empty where there is no place for it, or the kernel refuses."""
        name = places.name_of(self._state, process, serial)
        wanted = [one for one in self.choice.places if places.concerns(one, bounds)]
        made: list[Path] = []
        try:
            for place in wanted:
                folder = place.base / name
                folder.mkdir()
                made.append(folder)
                _write_all(folder, places.values(place, bounds))
        except OSError as error:
            self._refused = f"the last one was refused: {os.strerror(error.errno or 0)}"
            _log.warning("%s gets no control group: %s", process, error)
            end(tuple(made))
            return ()
        return tuple(made)

    def sweep(self, but: Iterable[Folders] = ()) -> int:
        """End and remove what an earlier keeper left, but for these; returns how many folders. Those of other
        platforms go as well once nobody is in them and they are old: their platform was killed."""
        known = {folder for folders in but for folder in folders}
        own, leaf = places.prefix(self._state), places.leaf_of(self._state)
        count = 0
        for place in self.choice.places:
            for folder in tuple(place.base.iterdir()):
                if folder.name == leaf or folder in known or not places.is_ours(folder.name):
                    continue
                if folder.name.startswith(own):
                    count += not end((folder,)).left
                elif _age(folder) > _OLD_SECONDS:
                    _remove(folder)
        return count

    def report(self) -> Report:
        """For people."""
        return Report(
            held=self.choice.held,
            below=tuple(str(one.base) for one in self.choice.places),
            why_not="; ".join(filter(None, (self.choice.why_not, self._refused))),
        )


def find(state: Path) -> Groups:
    """What this machine allows the platform on this state folder, asked of the kernel now."""
    try:
        mounts = places.read_mounts(Path("/proc/self/mountinfo").read_text())
        own = places.read_own(Path("/proc/self/cgroup").read_text())
    except OSError as error:
        return Groups(state, Choice(why_not=f"the kernel does not tell: {error}"))
    leaf = places.leaf_of(state)
    groups = Groups(state, places.choose(mounts, own, look, leaf=leaf, managed=_SYSTEMD.exists()))
    why = refusal(groups)
    return Groups(state, Choice(why_not=why)) if why else groups


def refusal(groups: Groups) -> str:
    """Why a process cannot be put into a group after all; empty when one was. Everything is started that way:
    a kernel that lets us make groups and keeps us out of them must not be found out by the database."""
    if not groups.choice.places:
        return ""
    folders = groups.make("trial", 0, _TRIAL)
    if not folders:
        return groups.report().why_not
    argv = entering(folders, ("/bin/sh", "-c", ":"))
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_END_SECONDS, check=False)
        said = done.stderr.decode(errors="replace").strip()[-_TOLD:]
        return f"a process cannot be put into a group: {said}" if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"a process cannot be put into a group: {error}"
    finally:
        end(folders)


def make_room(state: Path) -> None:
    """Version 2, before the platform is started: see that groups below the present one can have controllers.

    A group that has others with controllers below it holds no process itself, so this process, which runs
    the platform, moves into a leaf; not where somebody else is in the group as well, or it is not ours to
    divide. `find` tells afterwards what came of it.
    """
    try:
        mounts = places.read_mounts(Path("/proc/self/mountinfo").read_text())
        own = places.own_folder(mounts, places.read_own(Path("/proc/self/cgroup").read_text()))
    except OSError:
        return
    if own is None or any(mount.controllers for mount in mounts):
        return
    base = places.base_of(own, look, places.leaf_of(state))
    seen = look(base)
    wanted = [name for name in places.CONTROLLERS if name in seen.offered - seen.enabled]
    if wanted and seen.writable and (seen.delegated or not _SYSTEMD.exists()):
        divide(base, own, places.leaf_of(state), wanted)


def divide(base: Path, own: Path, leaf: str, wanted: Iterable[str]) -> bool:
    """Give the groups below `base` these controllers; this process, if it is there, moves into a leaf first.
    Nothing has changed when that is not to be had."""
    if _enable(base, wanted):
        return True
    if own != base:
        return False
    place = base / leaf
    try:
        place.mkdir(exist_ok=True)
        (place / PROCESSES).write_text("0")
        if _enable(base, wanted):
            return True
        (base / PROCESSES).write_text("0")
    except OSError as error:
        _log.warning("%s cannot be divided: %s", base, error)
    _remove(place)
    return False


def look(folder: Path) -> Look:
    """A look at the folder of one group."""
    return Look(
        writable=os.access(folder, os.W_OK) and os.access(folder / PROCESSES, os.W_OK),
        offered=_words(folder / "cgroup.controllers"),
        enabled=_words(folder / "cgroup.subtree_control"),
        delegated=_is_delegated(folder),
    )


def entering(folders: Folders, argv: tuple[str, ...]) -> tuple[str, ...]:
    """`argv`, started in the group: nothing that it ever starts was outside. It does not start at all when it
    cannot enter."""
    if not folders:
        return argv
    return ("/bin/sh", "-c", _ENTER, "enter", *(str(one / PROCESSES) for one in folders), "--", *argv)


def end(folders: Folders, seconds: float = _END_SECONDS) -> Ended:
    """End whatever is in a group and remove it. Blocks until it is gone, at most for so many seconds."""
    count = 0
    for folder in folders:
        for name in ("memory.events", "memory.oom_control"):
            count += places.out_of_memory(_text(folder / name))
    deadline = time.monotonic() + seconds
    while left := [folder for folder in folders if not _remove(folder)]:
        if time.monotonic() > deadline:
            return Ended(count, left=True)
        _kill(left)
        time.sleep(_GAP)
    return Ended(count)


def memory_file(folders: Folders) -> Path | None:
    """Where the kernel tells what a group holds; None when nobody counts it."""
    return next((one for folder in folders if (one := folder / "memory.stat").exists()), None)


def _kill(folders: Iterable[Path]) -> None:
    """At once where there is version 2; else nobody in it can start another any more, and all are ended."""
    for folder in folders:
        with contextlib.suppress(OSError):
            (folder / "cgroup.kill").write_text("1")
            return
    for folder in folders:
        with contextlib.suppress(OSError):
            (folder / "pids.max").write_text("0")
    for folder in folders:
        _kill_each(folder)


def _kill_each(folder: Path) -> None:
    """By pidfd, and only who is still in the group once that is open: numbers are used again."""
    opened: dict[int, int] = {}
    for pid in _numbers(folder):
        with contextlib.suppress(OSError):
            opened[pid] = os.pidfd_open(pid)
    present = _numbers(folder)
    for pid, pidfd in opened.items():
        if pid in present:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)


def _numbers(folder: Path) -> frozenset[int]:
    """Who is in another PID namespace has no number here (0)."""
    return frozenset(int(word) for word in _words(folder / PROCESSES)) - {0}


def _write_all(folder: Path, values: Iterable[tuple[str, str]]) -> None:
    for name, value in values:
        try:
            (folder / name).write_text(value)
        except (FileNotFoundError, PermissionError):
            if name not in places.OPTIONAL:
                raise


def _enable(base: Path, names: Iterable[str]) -> bool:
    try:
        (base / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in names))
    except OSError as error:
        if error.errno != errno.EBUSY:
            _log.warning("%s gives no controllers: %s", base, error)
        return False
    return True


def _remove(folder: Path) -> bool:
    """False while somebody is in it."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _is_delegated(folder: Path) -> bool:
    """systemd marks what it gives away; what a user other than root may write to was given away."""
    for name in ("trusted.delegate", "user.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    return os.geteuid() != 0 and os.access(folder / PROCESSES, os.W_OK)


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except OSError:
        return 0.0


def _words(file: Path) -> frozenset[str]:
    return frozenset(_text(file).split())


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
