"""nft(8): one transaction in, the kernel's own account of its rules out."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from troth.core.errors import ConfigError, PlatformError
from troth.hosting.firewall import reading
from troth.hosting.firewall.reading import Json
from troth.hosting.firewall.rules import FAMILY, TABLE

LIMIT_SECONDS = 20.0
"""A transaction takes milliseconds; this bounds a machine that is busy."""

_FOLDERS = ("/usr/sbin", "/sbin", "/usr/local/sbin")
_TOLD = 400


def find_program(name: str, package: str) -> Path:
    """A program of the system's administration: on PATH, in its folders, or in `.tools`.

    Raises ConfigError when it is missing.
    """
    named = Path(os.environ.get("TROTH_TOOLS") or Path(sys.prefix).parent / ".tools")
    search = (os.environ.get("PATH", ""), *_FOLDERS, str(named / "bin"), str(named))
    found = shutil.which(name, path=os.pathsep.join(search))
    if found is None:
        raise ConfigError(
            f"The program {name} is missing; the firewall needs it.",
            hint=f"Install it (Debian: apt-get install {package}), or in a checkout run `make {name}`.",
        )
    return Path(found)


class Nft(msgspec.Struct, frozen=True):
    """The packet filter of the network that this process is in, or of another that `before` leads to."""

    program: Path
    before: tuple[str, ...] = ()

    @classmethod
    def find(cls, before: tuple[str, ...] = ()) -> "Nft":
        """Raises ConfigError when there is no nft."""
        return cls(find_program("nft", "nftables"), before)

    def run(self, transaction: str) -> None:
        """All of it or nothing. Raises PlatformError with what nft said."""
        self._ask("-f", "-", told=transaction)

    def ruleset(self) -> list[Json]:
        """Everything that is in force, of all tables. Raises PlatformError."""
        return reading.read(self._ask("-j", "list", "ruleset"))

    def text(self) -> str:
        """Our table as a transaction that would make it again; empty when there is none."""
        if not reading.ours(self.ruleset()):
            return ""
        return self._ask("list", "table", FAMILY, TABLE).decode()

    def expected(self, transaction: str) -> list[Json]:
        """What the kernel would say of our table after this transaction: it is loaded in a network that
        exists for this question alone. Raises PlatformError."""
        unshare = str(find_program("unshare", "util-linux"))
        apart = (unshare, "--net") if os.geteuid() == 0 else (unshare, "--user", "--map-root-user", "--net")
        script = '"$1" -f - && exec "$1" -j list table inet troth'
        argv = (*apart, "--", "sh", "-c", script, "sh", str(self.program))
        return reading.read(_run(argv, transaction))

    def _ask(self, *words: str, told: str = "") -> bytes:
        return _run((*self.before, str(self.program), *words), told)


def _run(argv: tuple[str, ...], told: str) -> bytes:
    try:
        done = subprocess.run(
            argv, input=told.encode(), capture_output=True, timeout=LIMIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlatformError(f"{argv[0]} did not answer: {error}.") from error
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode(errors="replace").strip().splitlines()
    raise PlatformError(
        f"The packet filter refused: {(said[0] if said else 'no reason was given')[:_TOLD]}",
        hint="It is for root alone: sudo troth firewall …" if os.geteuid() != 0 else "",
    )
