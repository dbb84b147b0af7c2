"""A base backup's tar, unpacked as it arrives: nothing but files and folders, inside the folder alone."""

import asyncio
import queue
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, cast

from troth.core.errors import PlatformError
from troth.data.backups.fetching import closing

_WAITING = 8
"""Pieces of a mebibyte that may wait for the disk."""

_COPY_BYTES = 1024 * 1024


class BadTar(PlatformError):
    """The opened content of a base backup is no tar of files and folders."""


async def unpack(pieces: AsyncIterator[bytes], folder: Path) -> None:
    """Unpack into `folder`, in a thread. Nothing counts before this returns: an error of `pieces` comes out
    as it is, and what was unpacked by then is to be removed."""
    feed = _Feed()
    work = asyncio.create_task(asyncio.to_thread(_unpack, feed, folder))
    try:
        async with closing(pieces):
            async for piece in pieces:
                await asyncio.to_thread(feed.put, piece)
                if work.done():
                    break
        await asyncio.to_thread(feed.put, b"")
    except BaseException:
        feed.give_up()
        await asyncio.gather(work, return_exceptions=True)
        raise
    await work


class _Feed:
    """A file to read from on one side, filled on the other."""

    def __init__(self) -> None:
        self._pieces: queue.Queue[bytes] = queue.Queue(_WAITING)
        self._rest = memoryview(b"")
        self._ended = False
        self._abandoned = False

    def put(self, piece: bytes) -> None:
        """Wait for room. After the reader has left, everything is taken and dropped."""
        while not self._abandoned:
            try:
                self._pieces.put(piece, timeout=0.5)
                return
            except queue.Full:
                continue

    def give_up(self) -> None:
        """No more will come, and what came does not count."""
        self._abandoned = True

    def leave(self) -> None:
        """Nobody reads any more."""
        self._abandoned = True

    def read(self, size: int = -1, /) -> bytes:
        while not self._rest and not self._ended:
            try:
                piece = self._pieces.get(timeout=0.5)
            except queue.Empty:
                if self._abandoned:
                    raise OSError("given up") from None
                continue
            self._rest, self._ended = memoryview(piece), not piece
        taken = self._rest[:size] if size >= 0 else self._rest
        self._rest = self._rest[len(taken) :]
        return bytes(taken)


def _unpack(feed: _Feed, folder: Path) -> None:
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", feed), mode="r|", bufsize=_COPY_BYTES) as tar:
            for member in tar:
                if not (member.isreg() or member.isdir()):
                    raise BadTar(f"The base backup holds {member.name[:80]!r}, which is no file or folder.")
                tar.extract(member, folder, filter=_owner_only)
        while feed.read(_COPY_BYTES):  # what stands behind the end of a tar is read all the same
            continue
    except tarfile.TarError as error:
        raise BadTar("The base backup cannot be unpacked.", detail=repr(error)) from error
    finally:
        feed.leave()


def _owner_only(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """`data_filter` refuses what would leave the folder; the rights are PostgreSQL's own (0700, 0600)."""
    safe = tarfile.data_filter(member, folder)
    return safe.replace(mode=0o700 if member.isdir() else 0o600, deep=False)
