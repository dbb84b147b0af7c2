"""Objects of a backup store on their way back: fetched, checked, opened, and laid down on the disk.

Memory is the same whatever the size. A download that was cut short goes on where it was: what has arrived
lies sealed in a file until the whole of it has been checked.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from troth.core.errors import PlatformError
from troth.core.secret import Secret, equal
from troth.data.archive import context_of, open_stream
from troth.data.backups.manifest import (
    BASE,
    MANIFEST_BYTES,
    Backup,
    BadManifest,
    Catalogue,
    StoredFile,
    arrange,
    decode_manifest,
    history_object,
    id_in,
    manifest_name,
    segment_object,
)
from troth.data.backups.planning import LogFile
from troth.data.backups.vault import ahead
from troth.data.backups.wal import SEGMENT_BYTES, history_timeline
from troth.data.backups.wal_server import Fetch
from troth.data.sealing import SealError
from troth.data.stores.store import PIECE_BYTES, ObjectMissing, Store, StoreError, Unreachable

HISTORY_BYTES = 256 * 1024
"""A timeline's history has one line for each failover."""

ATTEMPTS = 6
_PAUSE_SECONDS = 2.0

Count = Callable[[int], None]
"""Is told of bytes that have been dealt with."""


def object_context(name: str) -> bytes:
    """What an object is sealed as: the name it bears."""
    return context_of("backup", name)


class Damaged(PlatformError):
    """An object is not what was stored: cut off, replaced or changed. `name` is the object's."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"{name} in the backup store is damaged: {reason}.",
            hint="It was changed or cut off after it had been stored; another backup may be whole: "
            "troth backup list",
        )
        self.name = name


class Objects:
    """What lies in a store, opened with the backup key alone."""

    def __init__(self, store: Store, key: Secret) -> None:
        self._store = store
        self._key = key

    @property
    def place(self) -> str:
        """Where the store is, for a person."""
        return self._store.place

    async def read(self, name: str, limit: int) -> bytes:
        """A small object as a whole. Raises Damaged or StoreError."""
        async with closing(self._open(name, self._store.get(name), limit)) as opened:
            return b"".join([piece async for piece in opened])

    async def catalogue(self) -> Catalogue:
        """Every backup whose manifest opens. Raises Damaged for one that does not: which one it was, and what
        depended on it, must not go unnoticed."""
        names = [entry.name for entry in await self._store.list(BASE)]
        found: list[Backup] = []
        for name in names:
            identifier = id_in(name)
            if identifier is not None and name == manifest_name(identifier):
                found.append(await self._manifest(identifier))
        return arrange(found, names)

    async def history(self, timeline: int, path: Path) -> None:
        """Lay down where a timeline began."""
        _put(path, await self.read(history_object(timeline), HISTORY_BYTES))

    async def segment(self, file: LogFile, path: Path) -> None:
        """Lay down 16 MiB of the log; what was not written yet when its last piece was stored is zeros.

        Pieces that are gone were replaced by the whole segment, where the log is still shipped meanwhile.
        """
        if not file.pieces:
            await self._whole(file, path)
            return
        try:
            await self._pieces(file, path)
        except ObjectMissing as missing:
            try:
                await self._whole(file, path)
            except ObjectMissing:
                raise missing from None

    async def _whole(self, file: LogFile, path: Path) -> None:
        name = segment_object(file.segment)
        with path.open("wb", buffering=0) as out:
            size = await _pour(self._open(name, self._store.get(name), SEGMENT_BYTES), out)
        if size != SEGMENT_BYTES:
            raise Damaged(name, f"it has {size} bytes instead of {SEGMENT_BYTES}")

    async def _pieces(self, file: LogFile, path: Path) -> None:
        with path.open("wb", buffering=0) as out:
            out.truncate(SEGMENT_BYTES)
            for piece in file.pieces:
                out.seek(piece.start)
                wanted = piece.end - piece.start
                size = await _pour(self._open(piece.name, self._store.get(piece.name), wanted), out)
                if size != wanted:
                    raise Damaged(piece.name, f"it has {size} bytes instead of {wanted}")

    async def stream(self, file: StoredFile, kept: Path, count: Count) -> AsyncIterator[bytes]:
        """The opened content of an object of a backup; `kept` holds what has arrived of it, and is removed
        once all of it was found to be what the manifest says. Raises Damaged after the last piece too:
        nothing counts before the iteration has ended.
        """
        digest = hashlib.sha256()
        arriving = self._arriving(file, kept, digest.update, count)
        opened = self._open(file.name, ahead(arriving), file.plain)
        try:
            async with closing(arriving), closing(opened):
                async for piece in opened:
                    yield piece
            if not equal(digest.digest(), bytes.fromhex(file.sha256)):
                raise Damaged(file.name, "its SHA-256 is not that of the manifest")
        except Damaged:
            _drop(kept)  # tried again, it is fetched again
            raise
        _drop(kept)

    async def _manifest(self, identifier: str) -> Backup:
        name = manifest_name(identifier)
        try:
            return decode_manifest(await self.read(name, MANIFEST_BYTES), identifier)
        except BadManifest as error:
            raise Damaged(name, str(error)) from None

    async def _open(self, name: str, sealed: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
        opened = open_stream(self._key, sealed, object_context(name), limit=limit)
        try:
            async with closing(sealed), closing(opened):
                async for piece in opened:
                    yield piece
        except SealError as error:
            raise Damaged(name, error.detail or "it does not open") from None

    async def _arriving(
        self, file: StoredFile, kept: Path, hash_it: Callable[[bytes], None], count: Count
    ) -> AsyncIterator[bytes]:
        """What lies in `kept` first, then the rest from the store, which is added to it as it comes."""
        with kept.open("a+b", buffering=0) as local:
            local.seek(0)
            while piece := await asyncio.to_thread(local.read, PIECE_BYTES):
                await asyncio.to_thread(hash_it, piece)
                count(len(piece))
                yield piece
            failed = 0
            while (have := local.tell()) < file.size:
                try:
                    async with closing(self._store.get(file.name, have)) as coming:
                        async for piece in coming:
                            if local.tell() + len(piece) > file.size:
                                raise Damaged(file.name, "it is longer than the manifest says")
                            await asyncio.to_thread(_keep, local, piece, hash_it)
                            count(len(piece))
                            yield piece
                    if local.tell() < file.size:
                        raise Damaged(file.name, f"it ends after {local.tell()} of {file.size} bytes")
                except Unreachable:
                    failed = 1 if local.tell() > have else failed + 1
                    if failed >= ATTEMPTS:
                        raise
                    await asyncio.sleep(_PAUSE_SECONDS)


@asynccontextmanager
async def closing(pieces: AsyncIterator[bytes]) -> AsyncGenerator[AsyncIterator[bytes]]:
    """Whoever stops early in the middle of a stream leaves no file and no connection open behind it."""
    try:
        yield pieces
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _drop(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _pour(pieces: AsyncIterator[bytes], out: BinaryIO) -> int:
    size = 0
    async with closing(pieces):
        async for piece in pieces:
            await asyncio.to_thread(_write_all, out, piece)
            size += len(piece)
    return size


def _write_all(out: BinaryIO, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[out.write(view) :]


def _keep(out: BinaryIO, piece: bytes, hash_it: Callable[[bytes], None]) -> None:
    _write_all(out, piece)
    hash_it(piece)


def log_fetcher(objects: Objects, files: tuple[LogFile, ...]) -> Fetch:
    """For the resident that serves the log: lays down the segment or history of this name."""
    segments = {file.segment.name: file for file in files}

    async def fetch(name: str, path: Path) -> None:
        timeline = history_timeline(name)
        try:
            if timeline is not None:
                await objects.history(timeline, path)
            else:
                await objects.segment(segments[name], path)
        except OSError as error:
            raise StoreError(
                f"The write-ahead log cannot be laid down: {os.strerror(error.errno or 0)}.",
                hint="Free some space on the disk of the state folder.",
            ) from error

    return fetch
