"""Which members a state folder holds, what they are called, and how one of them leaves it for good."""

import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from troth.core.errors import ConfigError
from troth.core.secret import write_public
from troth.core.state import State

MOST = 5
"""Members of one set: more would only slow each write down."""

_GONE, _ASIDE = "removed", "torn"
_log = logging.getLogger(__name__)


def present_members(state: State) -> tuple[str, ...]:
    """The names of the members whose data lie in the state folder."""
    return _in_order(folder.parent.name for folder in state.members.glob("*/data"))


def member_names(state: State, wanted: int) -> tuple[str, ...]:
    """So many names: first of all those that are there, for one of them alone may have the last write; then
    the lowest that are free."""
    names = set(present_members(state))
    number = 1
    while len(names) < wanted:
        names.add(f"member-{number}")
        number += 1
    return _in_order(names)


def check_size(state: State, wanted: int) -> None:
    """Raises ConfigError when the state folder holds more members than are asked for: leaving one out could
    leave out the only one that has the last write."""
    present = present_members(state)
    if len(present) > wanted:
        raise ConfigError(
            f"The state folder holds {len(present)} database members and {wanted} are asked for.",
            key="database.members",
            hint=f"Start it with {len(present)} members, or name another folder with --state FOLDER. "
            "A running platform gives one up by `troth replicas remove`.",
        )


def forget_member(folder: Path) -> None:
    """Remove a member's folder. Cut short it is no member any more all the same, see `clear_forgotten`."""
    if (folder / "data").exists():
        (folder / "data").rename(folder / _GONE)
        _sync(folder)
    shutil.rmtree(folder)


def forget_copy(folder: Path) -> None:
    """Remove a member's data and leave the rest of its folder, so that it copies the database again."""
    for _ in range(2):  # first what a removal that was cut short has left
        if (folder / _GONE).exists():
            shutil.rmtree(folder / _GONE)
        if (folder / "data").exists():
            (folder / "data").rename(folder / _GONE)
            _sync(folder)


def set_aside(folder: Path) -> None:
    """Keep a member's data beside it under another name, in place of what was set aside before."""
    if (folder / _ASIDE).exists():
        shutil.rmtree(folder / _ASIDE)
    (folder / "data").rename(folder / _ASIDE)
    _sync(folder)


def clear_set_aside(folder: Path) -> None:
    """The set holds every write twice again: what was set aside is needed no more."""
    if (folder / _ASIDE).exists():
        shutil.rmtree(folder / _ASIDE)


def clear_forgotten(state: State) -> None:
    """Finish removals that were cut short."""
    for folder in state.members.glob(f"*/{_GONE}"):
        shutil.rmtree(folder)


def begin_again(state: State) -> None:
    """Remove what a first start that was cut short has left. It is no database yet, though Patroni would take
    it for one, and its standbys would wait for ever for roles that were still to be made. Nobody can have
    written to it, for services start later.
    """
    if state.unfinished.exists():
        _log.warning("the first start of the database was cut short; it begins again")
        for entry in (*state.members.iterdir(), *state.consensus.iterdir()):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    if not any(state.members.iterdir()):
        write_public(state.unfinished, b"")


def finish_first_start(state: State) -> None:
    """From now on there may be data: that must be on disk before the first of it is."""
    state.unfinished.unlink(missing_ok=True)
    _sync(state.root)


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: (len(name), name)))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
