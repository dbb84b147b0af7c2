"""Putting a restored data folder into a state folder, in steps that a restore which is killed does again.

While it is going on a note lies in the state folder, and no platform starts on it.
"""

import os
import shutil
from pathlib import Path

import msgspec

from troth.core.errors import PlatformError
from troth.core.secret import write_public
from troth.core.state import State
from troth.data.backups.kept_keys import KeptKeys, lay_down
from troth.data.receipt_log import set_aside

FIRST = "member-1"
"""The member that is given the data; the others copy it from there when the platform starts."""


class Note(msgspec.Struct, frozen=True):
    """What is being put in place: where the folders of before go."""

    aside: str


def note_file(state: State) -> Path:
    """There while a restore is being put in place."""
    return state.root / "restoring.json"


def refuse_half_restored(state: State) -> None:
    """Raises PlatformError when a restore into this state folder did not come to its end."""
    if note_file(state).exists():
        raise PlatformError(
            "A restore into this state folder was cut short.",
            hint="Run the same `troth backup restore` again: it goes on where it was.",
        )


def holds_members(state: State) -> bool:
    """Whether there is a replica set in the state folder."""
    return any(state.members.glob("*/data/PG_VERSION"))


def install(state: State, data: Path, keys: KeptKeys, *, stamp: str) -> Path | None:
    """Move the replica set of before aside and put `data` in its place, with its keys. `stamp` names the
    folder beside which what was there is kept; returns it, or None when there was nothing.

    Raises OSError; called again, it goes on.
    """
    note = note_file(state)
    if not note.exists():
        write_public(note, msgspec.json.encode(Note(f"replaced-{stamp}")))
    aside = state.root / msgspec.json.decode(note.read_bytes(), type=Note).aside
    target = state.members / FIRST / "data"
    if data.exists():
        _move_aside(state, aside)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        data.replace(target)
    state.consensus.mkdir(mode=0o700, exist_ok=True)
    state.keys.mkdir(mode=0o700, exist_ok=True)
    lay_down(keys, state.keys)
    # Writes behind the moment were given up on purpose: a new chain of receipts begins.
    set_aside(state.receipts, stamp)
    for folder in (target.parent, state.members, state.keys, state.root):
        _sync(folder)
    note.unlink()
    return aside if aside.exists() else None


def _move_aside(state: State, aside: Path) -> None:
    """Nothing of before is deleted."""
    for folder in (state.members, state.consensus):
        if _has_something(folder) and not (aside / folder.name).exists():
            aside.mkdir(mode=0o700, exist_ok=True)
            folder.replace(aside / folder.name)
        folder.mkdir(mode=0o700, exist_ok=True)
    if _has_something(state.keys) and not (aside / "keys").exists():
        aside.mkdir(mode=0o700, exist_ok=True)
        shutil.copytree(state.keys, aside / "keys")
    state.unfinished.unlink(missing_ok=True)


def _has_something(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
