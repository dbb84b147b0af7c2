"""The releases of one application: copies of its folder, and which of them is current.

A release is a copy, so that an instance which is started again, tomorrow or after a restart of everything,
runs what was checked, whatever has become of the folder it came from. `releases.json` is replaced as a whole.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from troth.core.errors import PlatformError, UsageError
from troth.core.secret import write_secret
from troth.hosting.instance import Release

MOST_BYTES = 512 * 1024 * 1024
MOST_FILES = 20_000
KEPT = 5
"""Releases of an application that stay on the disk."""

_SKIPPED = ("__pycache__", "node_modules")

Fate = Literal["new", "current", "former", "failed"]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One release. `source` is the folder that it was copied from, `digest` of all that was in it and of its
    target. `why` says why it failed."""

    number: int
    target: str
    source: str
    digest: str
    at: datetime
    fate: Fate = "new"
    why: str = ""


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    """`declared` is the digest of what troth.toml names, as it was when it was last looked at."""

    declared: str = ""
    releases: tuple[Kept, ...] = ()


class Shelf:
    """The releases of one application in a folder of their own. `but` is left out of every copy: the state
    folder, should it lie inside of the application's."""

    def __init__(self, root: Path, *, but: Path) -> None:
        self._root, self._but = root, but
        self._document = self._read()

    @property
    def releases(self) -> tuple[Kept, ...]:
        """The newest last."""
        return self._document.releases

    @property
    def current(self) -> Kept | None:
        return next((one for one in self.releases if one.fate == "current"), None)

    @property
    def former(self) -> Kept | None:
        """What a rollback goes back to."""
        return next((one for one in reversed(self.releases) if one.fate == "former"), None)

    def at_start(self, folder: Path, target: str, now: datetime) -> Kept:
        """What to run when the platform comes up: the current release, unless what troth.toml names has
        changed since it was last looked at. The last change wins. Raises PlatformError, UsageError."""
        digest = self._digest(folder, target)
        current = self.current
        if current is not None and digest == self._document.declared:
            return current
        kept = self._copy(folder, target, digest, now)
        self._write(msgspec.structs.replace(self._document, declared=digest))
        self.promote(kept.number)
        return self._find(kept.number)

    def take(self, folder: Path, target: str, now: datetime, *, declared: tuple[Path, str]) -> Kept:
        """Copy a folder as a new release. `declared` is what troth.toml names: what stands there now is
        older than this release. Raises UsageError for a folder that cannot be one, PlatformError."""
        kept = self._copy(folder, target, self._digest(folder, target), now)
        self._write(msgspec.structs.replace(self._document, declared=self._digest(*declared)))
        return kept

    def promote(self, number: int) -> None:
        """Make this release the current one, and the current one the former."""
        releases = tuple(msgspec.structs.replace(one, fate=_fate_after(one, number)) for one in self.releases)
        self._write(msgspec.structs.replace(self._document, releases=releases))
        self._prune()

    def fail(self, number: int, why: str) -> None:
        """This release must not serve; the former is current again, if this one was."""
        back = self.former if (current := self.current) is not None and current.number == number else None
        releases = tuple(
            msgspec.structs.replace(one, fate="failed", why=why)
            if one.number == number
            else msgspec.structs.replace(one, fate="current")
            if one == back
            else one
            for one in self.releases
        )
        self._write(msgspec.structs.replace(self._document, releases=releases))

    def release(self, kept: Kept) -> Release:
        """How an instance is started with it."""
        return Release(name=str(kept.number), target=kept.target, folder=self._folder(kept.number))

    def _copy(self, folder: Path, target: str, digest: str, now: datetime) -> Kept:
        number = max((one.number for one in self.releases), default=0) + 1
        goal, half = self._folder(number), self._root / f"{number}.half"
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for leftover in (goal, half):
                shutil.rmtree(leftover, ignore_errors=True)
            half.mkdir(mode=0o700)
            for file in self._files(folder):
                copy = half / file.relative_to(folder)
                copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.copy2(file, copy)
                copy.chmod(0o700 if copy.stat().st_mode & 0o100 else 0o600)
            half.rename(goal)
        except OSError as error:
            shutil.rmtree(half, ignore_errors=True)
            raise PlatformError(
                f"The release could not be copied from {folder}: {error.strerror}."
            ) from error
        kept = Kept(number=number, target=target, source=str(folder), digest=digest, at=now)
        self._write(msgspec.structs.replace(self._document, releases=(*self.releases, kept)))
        return kept

    def _digest(self, folder: Path, target: str) -> str:
        digest = hashlib.sha256(target.encode())
        try:
            for file in self._files(folder):
                digest.update(b"\0" + os.fsencode(file.relative_to(folder)) + b"\0")
                with file.open("rb") as opened:
                    digest.update(hashlib.file_digest(opened, "sha256").digest())
        except OSError as error:
            raise UsageError(f"{folder} cannot be read: {error.strerror}.") from error
        return digest.hexdigest()

    def _files(self, folder: Path) -> Iterator[Path]:
        """By name, without hidden ones, caches and virtual environments. UsageError beyond the bounds."""
        count = size = 0
        for place, folders, names in os.walk(folder, onerror=_raise):
            folders[:] = sorted(name for name in folders if self._belongs(Path(place, name)))
            for name in sorted(names):
                file = Path(place, name)
                if name.startswith(".") or not file.is_file():
                    continue
                if not file.resolve().is_relative_to(folder.resolve()):
                    raise UsageError(
                        f"{file} leads out of {folder}.",
                        hint="A release is copied whole: copy the file there.",
                    )
                count, size = count + 1, size + file.stat().st_size
                if count > MOST_FILES or size > MOST_BYTES:
                    raise UsageError(
                        f"{folder} holds more than {MOST_FILES} files or {MOST_BYTES >> 20} MiB.",
                        hint="A release is copied whole: keep data and environments out of its folder.",
                    )
                yield file

    def _belongs(self, folder: Path) -> bool:
        hidden = folder.name.startswith(".") or folder.name in _SKIPPED
        environment = (folder / "pyvenv.cfg").exists()
        odd = hidden or environment or folder.is_symlink()
        return not odd and folder.resolve() != self._but.resolve()

    def _prune(self) -> None:
        """Keep the newest, and never lose the two that may be needed."""
        newest = {one.number for one in self.releases[-KEPT:]}
        stay = tuple(
            one for one in self.releases if one.number in newest or one.fate in ("current", "former")
        )
        gone = [one for one in self.releases if one not in stay]
        self._write(msgspec.structs.replace(self._document, releases=stay))
        for one in gone:
            shutil.rmtree(self._folder(one.number), ignore_errors=True)

    def _find(self, number: int) -> Kept:
        return next(one for one in self.releases if one.number == number)

    def _folder(self, number: int) -> Path:
        return self._root / str(number)

    @property
    def _file(self) -> Path:
        return self._root / "releases.json"

    def _read(self) -> _Document:
        if not self._file.exists():
            return _Document()
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=_Document)
        except msgspec.DecodeError as error:
            raise PlatformError(
                f"{self._file} cannot be read.",
                hint=f"Move {self._root} away; the application then starts as troth.toml names it.",
            ) from error

    def _write(self, document: _Document) -> None:
        write_secret(self._file, msgspec.json.format(msgspec.json.encode(document)))
        self._document = document


def _fate_after(one: Kept, promoted: int) -> Fate:
    """What becomes of a release when another, or itself, is made the current one."""
    if one.number == promoted:
        return "current"
    match one.fate:
        case "current":
            return "former"
        case "former":
            return "new"
        case other:
            return other


def _raise(error: OSError) -> None:
    raise error
