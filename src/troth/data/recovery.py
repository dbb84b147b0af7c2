"""The recovery key: with the backup store, all that is needed to have everything again on an empty machine.

recovery key (file, 0600; a copy on paper) ── HKDF ──> backup key    every backup
                                           ├─ HKDF ──> keys' key     root key and tenant keys, kept apart
                                           └─ HKDF ──> fingerprint   public: which recovery key it takes
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from troth.core.errors import PlatformError
from troth.core.recovery_text import GROUPS, read_groups, write_groups
from troth.core.secret import Secret, read_secret, write_public, write_secret
from troth.data.keys import make_key, subkey
from troth.data.sealing import KEY_BYTES

_MARK = ".made"
_COPIED = ".copied"
_TEXT_LIMIT: Final = 4096


def make_recovery_key(path: Path) -> None:
    """Make the recovery key at the first start. A key that is there already stays as it is.

    Raises PlatformError when there was one and it is missing: a new one would open none of the backups made
    so far, and hide that until the day they are needed.
    """
    mark = path.with_suffix(_MARK)
    if not path.exists():
        if mark.exists():
            raise PlatformError(
                f"The recovery key {path} is missing; backups were sealed under it.",
                hint=f"Write your copy of it into this file (chmod 600), or delete {mark} to make a new one: "
                "the backups made so far then open with your copy alone.",
            )
        make_key(path)
    if not mark.exists():
        write_public(mark, f"{fingerprint(read_recovery_key(path))}\n".encode())


def read_recovery_key(
    path: Path, *, hint: str = "Name the folder of a platform that was started: --state FOLDER"
) -> Secret:
    """The recovery key: 32 bytes as Troth made them, or the groups that a person wrote down.

    Raises PlatformError when the file is missing, with this `hint`, or open to others, UsageError naming the
    groups that are wrong.
    """
    raw = read_secret(path, hint=hint).reveal()
    if len(raw) == KEY_BYTES:
        return Secret(raw)
    if len(raw) > _TEXT_LIMIT:
        raise PlatformError(
            f"{path} holds no recovery key.", hint=f"It has {GROUPS} groups of five characters."
        )
    return read_groups(raw.decode("ascii", errors="replace"))


def export_recovery_key(key: Secret, path: Path) -> None:
    """Write the groups into a new file, for its owner alone. Raises PlatformError when it is there."""
    if path.exists():
        raise PlatformError(f"{path} is there already.", hint="Name a file that does not exist yet.")
    try:
        write_secret(path, f"{write_groups(key)}\n".encode())
    except OSError as error:
        raise PlatformError(
            f"{path} cannot be written: {os.strerror(error.errno or 0)}.", hint="Name another file."
        ) from error


def backup_key(recovery: Secret) -> Secret:
    """The key under which backups are sealed."""
    return Secret(subkey(recovery, b"troth backup 1", b""))


def kept_keys_key(recovery: Secret) -> Secret:
    """The key under which the root key and the tenants' keys are sealed in the store, apart from backups."""
    return Secret(subkey(recovery, b"troth backup keys 1", b""))


def fingerprint(recovery: Secret) -> str:
    """16 hexadecimal digits that tell recovery keys apart and nothing about them; public."""
    return subkey(recovery, b"troth recovery fingerprint 1", b"")[:8].hex()


def note_copied(path: Path, now: datetime) -> None:
    """Remember that a person has taken a copy of the key at `path`."""
    write_public(path.with_suffix(_COPIED), f"{now.isoformat(timespec='seconds')}\n".encode())


def copied_at(path: Path) -> datetime | None:
    """When a person last took a copy: without one, the backups are lost with this machine."""
    try:
        instant = datetime.fromisoformat(path.with_suffix(_COPIED).read_text().strip())
    except (FileNotFoundError, ValueError):
        return None
    return instant.astimezone(UTC)
