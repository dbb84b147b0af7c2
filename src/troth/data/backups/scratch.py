"""A PostgreSQL of its own on a restored data folder: reached by its owner alone, through a unix socket.

Pure; `data.backups.recovering` runs it. It listens on no network, sends nothing to anybody, and reads nothing
of the configuration that lies in the data folder.
"""

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from troth.core.errors import PlatformError
from troth.core.process import ProcessSpec
from troth.data.parameters import LOGGING
from troth.data.postgres import Binaries
from troth.data.roles import SUPERUSER

PORT = 1
"""Part of the socket's name alone; short, since a socket's name may have 107 bytes (unix(7))."""

_CONTROL = {
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}
"""A hot standby must allow at least as much as the leader did: setting → line of pg_controldata."""


class Target(msgspec.Struct, frozen=True):
    """Where a recovery stops: at a named restore point, at a moment (what was committed at it is in), or with
    neither at the end of the log."""

    point: str = ""
    moment: datetime | None = None


class Scratch(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything of one such server is. `folder` holds its configuration, `sockets` its socket; both
    are the owner's alone. A `durable` one waits for its disk."""

    binaries: Binaries
    data: Path
    folder: Path
    sockets: Path
    log: Path
    durable: bool = False

    @property
    def configuration(self) -> Path:
        return self.folder / "postgresql.conf"

    @property
    def admission(self) -> Path:
        return self.folder / "pg_hba.conf"

    @property
    def wal_socket(self) -> Path:
        """Where the write-ahead log is served."""
        return self.sockets / "wal.sock"


def scratch_settings(
    scratch: Scratch, limits: dict[str, str], restore_command: str, target: Target | None
) -> str:
    """The whole configuration; no `target` means that there is nothing to recover any more.

    At a restore point it stops and waits, readable; at a moment and at the end of the log it becomes a
    leader.
    """
    settings: dict[str, object] = {
        "listen_addresses": "",
        "unix_socket_directories": scratch.sockets,
        "unix_socket_permissions": "0700",
        "port": PORT,
        "data_directory": scratch.data,
        "hba_file": scratch.admission,
        "ident_file": scratch.folder / "pg_ident.conf",
        "external_pid_file": "",
        "ssl": "off",
        "archive_mode": "off",
        "primary_conninfo": "",
        "primary_slot_name": "",
        "synchronous_standby_names": "",
        "shared_preload_libraries": "",
        "wal_level": "replica",
        "wal_log_hints": "on",
        "hot_standby": "on",
        "autovacuum": "off",
        "shared_buffers": "64MB",
        "max_wal_size": "1GB",
        "jit": "off",
        "fsync": "on" if scratch.durable else "off",
        "full_page_writes": "on" if scratch.durable else "off",
        "recovery_prefetch": "try",
        **limits,
        **LOGGING,
        **_recovery(restore_command, target),
    }
    return "".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items())


ADMISSION = f"local all {SUPERUSER} trust\n"
"""Whoever can enter the folder of the socket is its owner; there is no other way in."""


def _recovery(restore_command: str, target: Target | None) -> dict[str, object]:
    if target is None:
        return {}
    common: dict[str, object] = {
        "restore_command": restore_command,
        "recovery_target_timeline": "latest",
        "recovery_target_action": "pause" if target.point else "promote",
    }
    if target.point:
        common["recovery_target_name"] = target.point
    if target.moment is not None:
        common["recovery_target_time"] = f"{target.moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00"
    return common


def _quoted(value: object) -> str:
    text = str(value)
    if "\n" in text or "\\" in text:
        raise ValueError("a setting is one line without backslashes")
    return "'" + text.replace("'", "''") + "'"


def scratch_process(scratch: Scratch) -> ProcessSpec:
    """The server. It must be ended by SIGINT to be left in order."""
    return ProcessSpec(
        name="scratch",
        argv=(
            scratch.binaries.program("postgres"),
            *("-D", str(scratch.data)),
            *("-c", f"config_file={scratch.configuration}"),
        ),
        environment=ENVIRONMENT,
        folder=scratch.folder,
        log=scratch.log,
        as_other_user=True,
        stop_seconds=5.0,
    )


ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
"""All that PostgreSQL's programs are given here."""


def read_limits(control: str) -> dict[str, str]:
    """The settings that a standby has to have, from what pg_controldata prints."""
    lines = dict(_split(line) for line in control.splitlines() if ":" in line)
    try:
        return {setting: str(int(lines[title])) for setting, title in _CONTROL.items()}
    except (KeyError, ValueError):
        raise PlatformError(
            "The restored data folder does not say what its leader allowed.",
            hint="Restore another backup: troth backup list",
        ) from None


def _split(line: str) -> tuple[str, str]:
    title, _, value = line.partition(":")
    return title.strip(), value.strip()
