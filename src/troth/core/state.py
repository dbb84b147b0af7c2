"""The state folder: where everything the platform writes lies, owner only (0700)."""

import os
from pathlib import Path

import msgspec

from troth.core.errors import ConfigError, PlatformError

LAYOUT_VERSION = 1
"""Raised by one when an older Troth could no longer read the folder."""


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
    def members(self) -> Path:
        """One folder for each database member."""
        return self.root / "members"

    @property
    def consensus(self) -> Path:
        return self.root / "consensus"

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
    def public_ca(self) -> Path:
        """The certificate to trust in a browser."""
        return self.root / "ca.pem"


def open_state(root: Path) -> State:
    """Make or open the state folder.

    Raises ConfigError when it was written by a newer Troth or belongs to somebody else, PlatformError when
    the disk is full or read-only.
    """
    state = State(root.resolve())
    try:
        for folder in (
            state.root,
            state.authorities,
            state.keys,
            state.members,
            state.consensus,
            state.run,
            state.logs,
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        _check_writable(state)
        _check_version(state)
    except OSError as error:
        raise PlatformError(
            f"The state folder {state.root} cannot be written: {os.strerror(error.errno or 0)}.",
            hint="Free some space or name another folder with --state FOLDER.",
        ) from error
    return state


def _check_writable(state: State) -> None:
    probe = state.root / ".writable"
    probe.write_bytes(b"\0" * 65_536)
    probe.unlink()


def _check_version(state: State) -> None:
    if not state.version_file.exists():
        state.version_file.write_text(f"{LAYOUT_VERSION}\n")
        return
    text = state.version_file.read_text().strip()
    if not text.isdigit():
        raise ConfigError(
            f"{state.version_file} does not hold a version number.",
            file=state.version_file,
            hint="Restore the file, or start with an empty state folder (--state FOLDER).",
        )
    if int(text) > LAYOUT_VERSION:
        raise ConfigError(
            f"The state folder {state.root} was written by a newer Troth (layout {text}, "
            f"this one knows {LAYOUT_VERSION}).",
            file=state.version_file,
            hint="Install the newer Troth, or name another folder with --state FOLDER.",
        )
