"""A store in a folder: another disk, or a mounted network file system."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from troth.data.stores.bandwidth import Throttle
from troth.data.stores.store import PIECE_BYTES, Entry, ObjectMissing, Stored, StoreError, Tally, check_name
from troth.data.stores.waiting import Patience, within

T = TypeVar("T")

ABANDONED_SECONDS: Final = 86_400.0
"""A temporary file that nobody has written to for so long was left by a process that is gone."""


class FolderStore:
    """Objects as files, readable by their owner alone. A name appears by rename(2), after fsync(2)."""

    def __init__(
        self, root: Path, *, patience: Patience | None = None, throttle: Throttle | None = None
    ) -> None:
        self._root = root.absolute()
        self._patience = patience or Patience()
        self._throttle = throttle or Throttle(0)

    @classmethod
    async def open(
        cls, root: Path, *, patience: Patience | None = None, throttle: Throttle | None = None
    ) -> "FolderStore":
        """Make the folder where it is missing and sweep what killed writers have left. Raises StoreError."""
        store = cls(root, patience=patience, throttle=throttle)
        await store._run("open", store._prepare, time.time())
        return store

    @property
    def place(self) -> str:
        return f"folder {self._root}"

    async def put(self, name: str, pieces: AsyncIterator[bytes]) -> Stored:
        path = self._path(name)
        temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}")
        file = await self._run("write", self._create, temporary)
        try:
            stored = await self._fill(file, pieces)
            await self._run("write", _commit, file, temporary, path)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(_discard, file, temporary))
            raise
        return stored

    async def get(self, name: str, start: int = 0) -> AsyncIterator[bytes]:
        file = await self._run("read", self._open, self._path(name), start)
        try:
            while piece := await self._run("read", file.read, PIECE_BYTES):
                yield piece
        finally:
            file.close()

    async def list(self, prefix: str = "") -> tuple[Entry, ...]:
        return await self._run("list", self._walk, prefix)

    async def delete(self, name: str) -> None:
        await self._run("delete", _remove, self._path(name))

    async def close(self) -> None:
        """Nothing is held between two operations."""

    def _path(self, name: str) -> Path:
        return self._root / check_name(name)

    async def _run(self, verb: str, work: Callable[..., T], *args: object) -> T:
        """Do `work` in a thread: a network file system may block for as long as it likes, and the event loop
        must not."""
        what = f"The backup folder {self._root} did not {verb}"
        try:
            return await within(self._patience, what, asyncio.to_thread(work, *args))
        except OSError as error:
            raise StoreError(
                f"{what}: {os.strerror(error.errno or 0)}.",
                hint="Look whether its disk is there, has space left and may be written.",
            ) from error

    async def _fill(self, file: BinaryIO, pieces: AsyncIterator[bytes]) -> Stored:
        tally = Tally()
        async for piece in pieces:
            await self._throttle.passing(len(piece))
            await self._run("write", _append, file, tally, piece)
        return tally.stored()

    def _prepare(self, now: float) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder, name)
                if name.startswith(".") and now - path.lstat().st_mtime > ABANDONED_SECONDS:
                    path.unlink(missing_ok=True)

    def _create(self, temporary: Path) -> BinaryIO:
        missing = [parent for parent in (temporary.parent, *temporary.parents) if not parent.exists()]
        temporary.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in missing:
            _sync_folder(folder.parent)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        return os.fdopen(handle, "wb", buffering=0)

    def _open(self, path: Path, start: int) -> BinaryIO:
        try:
            file = path.open("rb", buffering=0)
        except (FileNotFoundError, IsADirectoryError):
            raise ObjectMissing(
                f"There is no {path.relative_to(self._root)} in the backup folder {self._root}.",
                hint="Look with: troth backup list",
            ) from None
        file.seek(start)
        return file

    def _walk(self, prefix: str) -> tuple[Entry, ...]:
        if not self._root.is_dir():  # an unmounted disk must not look like an empty store
            raise StoreError(
                f"The backup folder {self._root} is not there.", hint="Mount its disk, or make the folder."
            )
        entries: list[Entry] = []
        for folder, _, names in os.walk(self._root, onerror=_raise):
            for name in names:
                path = Path(folder, name)
                full = path.relative_to(self._root).as_posix()
                if name.startswith(".") or not full.startswith(prefix):
                    continue
                try:
                    status = path.stat()
                except FileNotFoundError:  # deleted meanwhile
                    continue
                entries.append(Entry(full, status.st_size, status.st_mtime))
        return tuple(sorted(entries))


def _append(file: BinaryIO, tally: Tally, piece: bytes) -> None:
    tally.add(piece)
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]


def _commit(file: BinaryIO, temporary: Path, path: Path) -> None:
    os.fsync(file.fileno())
    file.close()
    temporary.replace(path)
    _sync_folder(path.parent)


def _discard(file: BinaryIO, temporary: Path) -> None:
    file.close()
    temporary.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except FileNotFoundError:
        return
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _raise(error: OSError) -> None:
    raise error
