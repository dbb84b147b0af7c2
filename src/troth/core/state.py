"""The state folder: where everything the platform writes lies, owner only (0700)."""

import os
import shutil
from pathlib import Path

import msgspec

from troth.core.errors import ConfigError, PlatformError
from troth.core.secret import write_public

LAYOUT_VERSION = 1
"""Raised by one when an older Troth could no longer read the folder."""

_MEBIBYTE = 1024 * 1024

FIRST_START_BYTES = 512 * _MEBIBYTE
"""Three database members with their first write-ahead log."""

LATER_START_BYTES = 64 * _MEBIBYTE
"""A few segments of write-ahead log: enough to start and to free something."""

_SOCKET_NAME_LIMIT = 100
"""Linux takes 107 bytes for a unix socket's name (unix(7)); the edge binds its own as it is given."""


class State(msgspec.Struct, frozen=True):
    """Names of the places in a state folder. `open_state` makes the folder; this only names."""

    root: Path

    @property
    def version_file(self) -> Path:
        return self.root / "version"

    @property
    def lock(self) -> Path:
        """Held with flock(2) while a platform runs on this folder."""
        return self.root / "lock"

    @property
    def control(self) -> Path:
        """The keeper's unix socket, owner only."""
        return self.run / "keeper.sock"

    @property
    def edge_admin(self) -> Path:
        """The edge's administration socket, owner only."""
        return self.run / "edge.sock"

    @property
    def authorities(self) -> Path:
        """One folder for each trust domain of the platform's CA."""
        return self.root / "authorities"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def root_key(self) -> Path:
        return self.keys / "root.key"

    @property
    def recovery_key(self) -> Path:
        """Opens the backups, on a machine that has nothing else. A copy belongs elsewhere."""
        return self.keys / "recovery.key"

    @property
    def members(self) -> Path:
        """One folder for each database member."""
        return self.root / "members"

    @property
    def consensus(self) -> Path:
        return self.root / "consensus"

    @property
    def membership(self) -> Path:
        """What a host was enrolled with: the set that it is a member of, and its certificates."""
        return self.root / "membership"

    @property
    def unfinished(self) -> Path:
        """There from the first start of the database until it has come to its end."""
        return self.root / "unfinished"

    @property
    def run(self) -> Path:
        """Certificates, rendered configuration and sockets of running processes; made anew at each start."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def signins(self) -> Path:
        """The demonstration sign-ins made at first start."""
        return self.keys / "demonstration.json"

    @property
    def client_secrets(self) -> Path:
        """The secrets made for clients that troth.toml declares, by `tenant/client`."""
        return self.keys / "client-secrets.json"

    @property
    def links(self) -> Path:
        """Links to hand over where no messages are sent, a file for each person."""
        return self.root / "links"

    @property
    def spool(self) -> Path:
        """The write-ahead log on its way to the backup store."""
        return self.root / "backup-log"

    @property
    def backups(self) -> Path:
        """Which backups were made and not removed: one that is missing from the store was lost."""
        return self.root / "backups.json"

    @property
    def drills(self) -> Path:
        """What the last drill of each promise showed."""
        return self.root / "drills.json"

    @property
    def backup_drills(self) -> Path:
        """What the last restores into a scratch server showed."""
        return self.root / "backup-drills.json"

    @property
    def receipts(self) -> Path:
        """Receipts of acknowledged writes, the key to check them with, and how many survived what."""
        return self.root / "receipts"

    @property
    def receipts_key(self) -> Path:
        """What receipts are signed with."""
        return self.keys / "receipts.pem"

    @property
    def alerts(self) -> Path:
        """What stands, what is silenced, and what waits to be told."""
        return self.root / "alerts.json"

    @property
    def metrics(self) -> Path:
        """The socket on which metrics are read, owner only."""
        return self.run / "metrics.sock"

    @property
    def failovers(self) -> Path:
        """The changes of the database's leader, the newest last."""
        return self.root / "failovers.json"

    @property
    def scaling(self) -> Path:
        """How many instances a person wants of which service."""
        return self.root / "scaling.json"

    @property
    def rehearsal(self) -> Path:
        """What the last spike that was made on purpose showed."""
        return self.root / "rehearsal.json"

    @property
    def releases(self) -> Path:
        """A folder for each application with its releases, and which of them is current."""
        return self.root / "releases"

    @property
    def public_ca(self) -> Path:
        """The certificate to trust in a browser."""
        return self.root / "ca.pem"


def open_state(root: Path) -> State:
    """Make or open the state folder.

    Nothing is changed in a folder that turns out to be no state folder of ours. Raises ConfigError when it
    was written by a newer Troth, belongs to somebody else, holds something else or has too long a name,
    PlatformError when the disk is full or read-only.
    """
    state = State(root.resolve())
    try:
        state.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(state)
        _check_sockets(state)
        _check_version(state)
        for folder in (
            state.root,
            state.authorities,
            state.keys,
            state.members,
            state.consensus,
            state.run,
            state.logs,
        ):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
        _check_space(state)
    except (FileExistsError, NotADirectoryError):
        raise PlatformError(
            f"{state.root} is no folder, or lies in none.", hint="Name another one with --state FOLDER."
        ) from None
    except OSError as error:
        raise PlatformError(
            f"The state folder {state.root} cannot be written: {os.strerror(error.errno or 0)}.",
            hint="Free some space or name another folder with --state FOLDER.",
        ) from error
    return state


def _check_owner(state: State) -> None:
    """Root may write anywhere, and its owner could no longer use the folder afterwards."""
    if state.root.stat().st_uid != os.geteuid():
        raise ConfigError(
            f"The state folder {state.root} belongs to another user.",
            file=state.root,
            hint="Run troth as that user, or name another folder with --state FOLDER.",
        )


def _check_sockets(state: State) -> None:
    """The keeper reaches its socket through its folder's descriptor; the edge needs the whole name."""
    if len(os.fsencode(state.edge_admin)) > _SOCKET_NAME_LIMIT:
        raise ConfigError(
            f"The name of the state folder {state.root} is too long for the sockets in it.",
            file=state.root,
            hint="Name a folder with a shorter path: --state FOLDER.",
        )


def _check_version(state: State) -> None:
    if not state.version_file.exists():
        _check_unused(state)
        write_public(state.version_file, f"{LAYOUT_VERSION}\n".encode())
        return
    text = state.version_file.read_text("utf-8", errors="replace").strip()
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(
            f"{state.version_file} does not hold a version number.",
            file=state.version_file,
            hint="Restore the file, or start with an empty state folder (--state FOLDER).",
        )
    if int(text[:9]) > LAYOUT_VERSION:
        raise ConfigError(
            f"The state folder {state.root} was written by a newer Troth (layout {text[:9]}, "
            f"this one knows {LAYOUT_VERSION}).",
            file=state.version_file,
            hint="Install the newer Troth, or name another folder with --state FOLDER.",
        )


def _check_unused(state: State) -> None:
    """`--state /home/me` must not take the home away from everybody else."""
    if any(not entry.name.startswith(".version.") for entry in state.root.iterdir()):
        raise ConfigError(
            f"{state.root} holds something else than the state of a platform.",
            file=state.root,
            hint="Name an empty or a new folder with --state FOLDER.",
        )


def _check_space(state: State) -> None:
    probe = state.root / ".writable"
    try:
        probe.write_bytes(b"\0" * 65_536)
    finally:
        probe.unlink(missing_ok=True)
    needed = FIRST_START_BYTES if not any(state.members.iterdir()) else LATER_START_BYTES
    free = shutil.disk_usage(state.root).free
    if free < needed:
        raise PlatformError(
            f"The disk of the state folder {state.root} has {free // _MEBIBYTE} MiB left; a start needs "
            f"{needed // _MEBIBYTE} MiB.",
            hint="Free some space or name another folder with --state FOLDER.",
        )
