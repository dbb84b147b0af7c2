"""Debian packages without installing them: apt resolves, downloads and verifies; the system stays as it is.

Works alike for root and for a user without any right. The lists of the system are used when they are there
and fresh; otherwise apt fetches its own copies into a private folder, with the signatures checked as ever.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path


class AptFailed(Exception):
    """apt or dpkg ended with an error; the text is what they wrote."""


class Apt:
    """One view of the Debian archive. `folder` holds the private lists and what is being downloaded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._options = ["-o", "APT::Install-Recommends=false", "-o", "Debug::NoLocking=true"]
        self._private = False
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise AptFailed("this is not a Debian system: apt-get and dpkg-deb are not here")

    def unpack(self, packages: list[str], into: Path, *, only: bool = False) -> None:
        """Unpack `packages` and whatever they need that the base system lacks; `only` leaves the needs out.

        The lists of the system may be absent, or so old that the archive no longer has what they name. Both
        show as a failure, after which the private lists are fetched and the same is tried once more.
        """
        try:
            self._unpack(packages, into, only=only)
        except AptFailed:
            if self._private:
                raise
            self._fetch_private_lists()
            self._unpack(packages, into, only=only)

    def _unpack(self, packages: list[str], into: Path, *, only: bool) -> None:
        wanted = list(packages) if only else list(self._missing(packages))
        archives = self._folder / "archives"
        shutil.rmtree(archives, ignore_errors=True)
        archives.mkdir(parents=True)
        self._apt_get("download", *wanted, folder=archives)
        unfinished = into.with_name(into.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for archive in sorted(archives.glob("*.deb")):
            run("dpkg-deb", "--extract", str(archive), str(unfinished))
        shutil.rmtree(archives)
        shutil.rmtree(into, ignore_errors=True)
        unfinished.rename(into)

    def _missing(self, packages: list[str]) -> Iterator[str]:
        """Every package of the closure, as name=version, that the base system does not bring.

        apt is asked as if nothing were installed, so that the answer does not hang on what happens to be on
        this machine. The base system (priority "required", and the C library) is never doubled: two versions
        of the C library in one process end in a crash.
        """
        empty = self._folder / "nothing-installed"
        empty.parent.mkdir(parents=True, exist_ok=True)
        empty.touch()
        plan = self._apt_get("install", "--simulate", *packages, more=["-o", f"Dir::State::status={empty}"])
        base = base_packages()
        for line in plan.splitlines():
            words = line.split()
            if words[:1] != ["Inst"] or words[1] in base:
                continue
            yield f"{words[1]}={words[2].lstrip('(')}"

    def _fetch_private_lists(self) -> None:
        for name in ("lists/partial", "cache/archives/partial"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        for place in (f"Dir::State::lists={self._folder}/lists", f"Dir::Cache={self._folder}/cache"):
            self._options += ["-o", place]
        self._private = True
        self._apt_get("update")

    def _apt_get(self, *words: str, folder: Path | None = None, more: list[str] | None = None) -> str:
        return run("apt-get", "-q", *self._options, *(more or []), *words, folder=folder)


def base_packages() -> frozenset[str]:
    """Names of the installed packages without which Debian is not Debian, and the C library's."""
    form = "${Package} ${Priority} ${db:Status-Status}\n"
    rows = [line.split() for line in run("dpkg-query", "--show", f"--showformat={form}").splitlines()]
    required = {name for name, priority, status in rows if priority == "required" and status == "installed"}
    return frozenset(required | {"libc6", "libc-bin", "libgcc-s1", "libcrypt1"})


def run(*argv: str, folder: Path | None = None) -> str:
    """The standard output of a program; AptFailed with what it wrote if it fails."""
    environment = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AptFailed(f"{' '.join(argv[:1])} failed:\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    return done.stdout
