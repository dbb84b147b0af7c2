"""As root: an instance of an application becomes a user of its own, who shares files with nobody.

The application's files lie in the platform's state folder, which is root's alone. So the instance first makes
a mount namespace of its own, in which an empty folder stands in that place and holds what the instance needs,
under the same names: its release (read only), the folder for what is temporary, its pulse, its certificates.
Then it takes the number, and with it loses every capability. Where that cannot be, it says why and stays root
without capabilities, as `hosting.confinement` leaves it.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import resource
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from troth.hosting.instance_file import InstanceFile

_FIRST_NUMBER, _NUMBERS = 1_900_000_000, 1 << 24
"""Above what distributions, containers and systemd give out (systemd's table of user ids)."""

TASKS = 2048
"""Processes and threads of one application, in all of its instances together: the kernel counts by user, and
counts nobody's that stays root."""

_CLONE_NEWNS = 0x20000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 1 << 14, 1 << 18
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP = 1, 24
_MOST_CAPABILITIES = 64


def number_of(state: Path, application: str) -> int:
    """The user and group number of an application of the platform in this folder: the same at each start."""
    digest = hashlib.sha256(f"{state}|{application}".encode()).digest()
    return _FIRST_NUMBER + int.from_bytes(digest[:8], "big") % _NUMBERS


def become(instance: InstanceFile, python: Iterable[Path]) -> str:
    """Become the user that the instance is meant to be; returns what came of it, in words for the log. Call
    it before any thread is started.

    Raises OSError when it fails half-way: what has begun to change must not go on as root.
    """
    if instance.user is None or os.geteuid() != 0:
        return ""
    why = _hindrance(instance, instance.user, python) or _unshare()
    if why:
        return f"NO user of its own: {why}"
    parent = os.getppid()
    _see_its_own_alone(instance, instance.user)
    empty_bounding_set()
    resource.setrlimit(resource.RLIMIT_NPROC, (TASKS, TASKS))
    _take(instance.user)
    _die_with(parent)
    if instance.temporary is not None:
        os.environ["HOME"] = str(instance.temporary)
    return f"user {instance.user} with {TASKS} processes"


def empty_bounding_set() -> None:
    """No program that is executed from now on can be given a capability."""
    for number in range(_MOST_CAPABILITIES):
        if _libc().prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            return  # beyond the last that this kernel knows, or not ours to drop in a namespace


def _hindrance(instance: InstanceFile, number: int, python: Iterable[Path]) -> str:
    """Why this number could not run what it has to: found out by a child that takes it."""
    needed = [*python, Path(sys.executable), Path(os.__file__), Path(__file__)]
    hidden = instance.forbidden
    if hidden is None or not instance.folder.is_relative_to(hidden):
        needed.append(instance.folder)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _take(number)
            closed = next((path for path in needed if not os.access(path, os.R_OK | _search(path))), None)
            if closed is None and hidden is not None and not os.access(hidden.parent, os.X_OK):
                closed = hidden.parent
            os.write(writer, b"" if closed is None else f"it could not read {closed}".encode())
        except OSError as error:
            os.write(writer, (error.strerror or "refused").encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read().decode()
    os.waitpid(child, 0)
    return said


def _search(path: Path) -> int:
    return os.X_OK if path.is_dir() else 0


def _unshare() -> str:
    """A mount namespace of its own, from which nothing gets out; why there is none."""
    if _libc().unshare(_CLONE_NEWNS) != 0:
        return f"mount namespaces: {os.strerror(ctypes.get_errno())}"
    _mount(None, Path("/"), None, _REC | _PRIVATE)
    return ""


def _see_its_own_alone(instance: InstanceFile, number: int) -> None:
    """Put an empty folder in the place of the platform's, and into it what the instance needs."""
    hidden = instance.forbidden
    if hidden is None:
        return
    hidden = hidden.resolve()
    folder = instance.folder.resolve()
    if folder.is_relative_to(hidden):
        _let_read(folder, number)
    copies = {file: file.read_bytes() for file in _files(instance) if file.is_relative_to(hidden)}
    kept: list[tuple[Path, int, bool]] = []
    for path, writable in ((folder, False), (instance.temporary, True), (instance.pulse, True)):
        if path is None or not path.is_relative_to(hidden):
            continue
        if writable:
            os.chown(path, number, number)
        kept.append((path, os.open(path, os.O_PATH | os.O_CLOEXEC), writable))
    _mount("troth", hidden, "tmpfs", _NOSUID | _NODEV | _NOEXEC, "mode=0755,size=4m,nr_inodes=1k")
    for path, descriptor, writable in kept:
        _make_place(path, hidden, is_folder=Path(f"/proc/self/fd/{descriptor}").is_dir())
        _mount(f"/proc/self/fd/{descriptor}", path, None, _BIND)
        os.close(descriptor)
        only = _NOSUID | _NODEV | (0 if writable else _RDONLY)
        _mount(None, path, None, _REMOUNT | _BIND | only)
    for file, content in copies.items():
        _make_place(file, hidden, is_folder=False)
        file.write_bytes(content)
        os.chown(file, 0, number)
        file.chmod(0o440)
    _mount(None, hidden, None, _REMOUNT | _BIND | _NOSUID | _NODEV | _NOEXEC | _RDONLY)
    with contextlib.suppress(OSError):
        os.chdir(folder)  # the folder that it stood in lies below the new one


def _files(instance: InstanceFile) -> tuple[Path, ...]:
    names = ("TROTH_API_CA", "TROTH_API_CERTIFICATE", "TROTH_API_KEY")
    named = (Path(instance.environment[name]) for name in names if name in instance.environment)
    return (instance.certificate, instance.key, instance.client_ca, *named)


def _let_read(folder: Path, group: int) -> None:
    """Give a release to the group of its application, which may read it and no more."""
    if folder.stat().st_gid == group:
        return
    for path, _, names in os.walk(folder):
        for file in (Path(path, name) for name in names):
            if not file.is_symlink():
                os.chown(file, -1, group)
                file.chmod(0o640 | (file.stat().st_mode & 0o100) | (file.stat().st_mode & 0o100) >> 3)
        if Path(path) != folder:
            os.chown(path, -1, group)
            Path(path).chmod(0o750)
    folder.chmod(0o750)
    os.chown(folder, -1, group)  # last: it says that the rest was done


def _make_place(path: Path, below: Path, *, is_folder: bool) -> None:
    for folder in reversed(path.parents):
        if folder.is_relative_to(below) and not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)
    if is_folder:
        path.mkdir(exist_ok=True)
    else:
        path.touch()


def _take(number: int) -> None:
    os.setgroups([])
    os.setresgid(number, number, number)
    os.setresuid(number, number, number)


def _die_with(parent: int) -> None:
    """The kernel forgets whom to die with when the user changes (prctl(2))."""
    _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _mount(
    source: str | None, target: Path, kind: str | None, flags: int, options: str | None = None
) -> None:
    """mount(2). Raises OSError."""
    words = [None if word is None else word.encode() for word in (source, str(target), kind, options)]
    if _libc().mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {target}: {os.strerror(number)}")


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
