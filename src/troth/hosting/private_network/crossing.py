"""Into the other networks and back: a thread at a time (setns(2)), or a command started there.

The networks are names in the mount namespace that `entering.py` made for the platform, and nowhere else: to
everybody outside they are empty files. Without a private network of its own all of this does nothing.
"""

import ctypes
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from troth.core.errors import PlatformError
from troth.core.state import State

PUBLIC, EDGE, PRIVATE = "public", "edge", "private"
"""This machine's network, the edge's, and that of everything else."""

OWN = Path("/proc/thread-self")
"""Of the calling thread, which may be in another network than its process."""

_CLONE_NEWNET = 0x40000000
_NETWORK = Path("/proc/self/ns/net")


def folder(state: State) -> Path:
    """Where the names lie."""
    return state.root / "network"


def is_private(state: State) -> bool:
    """Whether this process stands in a private network of the platform on this state folder."""
    try:
        return (folder(state) / PUBLIC).stat().st_dev == _NETWORK.stat().st_dev
    except OSError:
        return False


def others(state: State) -> tuple[Path, ...]:
    """The platform's networks beside the one that this process is in."""
    return (folder(state) / PUBLIC, folder(state) / EDGE) if is_private(state) else ()


def public(state: State) -> Path | None:
    """This machine's network; None for a process that is in it."""
    return folder(state) / PUBLIC if is_private(state) else None


def tables(state: State, names: Iterable[str]) -> tuple[tuple[str, dict[str, str]], ...]:
    """The kernel's tables of sockets (proc(5)) by name, of each of the platform's networks: `""` for that of
    this process, `public` and `edge`. A table that a kernel does not have is left out."""
    wanted = tuple(names)
    found = [("", own_tables(wanted))]
    for path in others(state):
        with inside(path):
            found.append((path.name, own_tables(wanted)))
    return tuple(found)


def own_tables(names: Iterable[str]) -> dict[str, str]:
    """Those of the network that the calling thread is in."""
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = (OWN / "net" / name).read_text()
        except OSError:  # a kernel without IPv6
            continue
    return found


def before(state: State) -> tuple[str, ...]:
    """What a command begins with that is to run in this machine's network."""
    path = public(state)
    return () if path is None else started_in(path)


def started_in(path: Path) -> tuple[str, ...]:
    """What a command begins with that is to run in this network."""
    return ("nsenter", f"--net={path}", "--")


@contextmanager
def inside(path: Path | None) -> Generator[None]:
    """The calling thread in this network, and back in its own. Nothing may be awaited meanwhile: whatever
    else runs on this thread would be there too. Raises PlatformError where that is refused."""
    if path is None:
        yield
        return
    own = os.open(OWN / "ns" / "net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)


def _enter(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise PlatformError(f"Another network of the platform cannot be entered: {reason}.")
