"""A base backup's tar, unpacked as it arrives: nothing but files and folders, inside the folder alone.

Headers are read and judged by `tarfile`; content goes from the pieces to the disk as it is. (tarfile's own
stream copies what is left of its buffer at each read of 16 KiB, thirty times what it is to write.)
"""

import asyncio
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

from troth.core.errors import PlatformError
from troth.data.backups.fetching import closing
from troth.data.backups.vault import ahead

_BLOCK = tarfile.BLOCKSIZE
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_NOBODY = -1


class BadTar(PlatformError):
    """The opened content of a base backup is no tar of files and folders."""


async def unpack(pieces: AsyncIterator[bytes], folder: Path) -> None:
    """Unpack into `folder`, in a thread, while the next pieces are fetched. Nothing counts before this
    returns: an error of `pieces` comes out as it is, and what was unpacked by then is to be removed.

    Raises BadTar, and PlatformError when the disk does not take it.
    """
    unpacker = _Unpacker(folder)
    try:
        async with closing(pieces), closing(ahead(pieces)) as coming:
            async for piece in coming:
                await _in_thread(unpacker, piece)
        unpacker.check_end()
    finally:
        unpacker.close()


async def _in_thread(unpacker: "_Unpacker", piece: bytes) -> None:
    """Whoever is stopped here waits for the piece: no thread writes into a folder that is being removed."""
    work = asyncio.ensure_future(asyncio.to_thread(_feed, unpacker, piece))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.gather(work, return_exceptions=True)
        raise


def _feed(unpacker: "_Unpacker", piece: bytes) -> None:
    try:
        unpacker.feed(piece)
    except tarfile.TarError as error:
        raise BadTar("The base backup cannot be unpacked.", detail=repr(error)) from error
    except OSError as error:
        raise PlatformError(
            f"The base backup cannot be unpacked: {os.strerror(error.errno or 0)}.",
            hint="Look whether the disk of the state folder has space left and may be written.",
        ) from error


class _Unpacker:
    """Lays down what is fed. Keeps one header."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._root = folder, str(folder)
        self._made: set[tuple[str, ...]] = set()
        self._header = bytearray()
        self._file = _NOBODY
        self._content = 0
        self._padding = 0
        self._ended = False

    def feed(self, piece: bytes) -> None:
        """Take the next bytes. Raises TarError, BadTar or OSError."""
        view = memoryview(piece)
        while view and not self._ended:  # what stands behind the end of a tar is read and left alone
            if self._content:
                view = self._write(view)
            elif self._padding:
                taken = min(self._padding, len(view))
                self._padding -= taken
                view = view[taken:]
            else:
                view = self._read_header(view)

    def check_end(self) -> None:
        """Raises BadTar unless the tar came to its end."""
        if not self._ended:
            raise BadTar("The base backup cannot be unpacked: its tar is cut off.")

    def close(self) -> None:
        """Close the file that is being written."""
        if self._file != _NOBODY:
            os.close(self._file)
            self._file = _NOBODY

    def _write(self, view: memoryview) -> memoryview:
        written = os.write(self._file, view[: self._content])
        self._content -= written
        if not self._content:
            self.close()
        return view[written:]

    def _read_header(self, view: memoryview) -> memoryview:
        taken = view[: _BLOCK - len(self._header)]
        self._header += taken
        if len(self._header) == _BLOCK:
            header = bytes(self._header)
            self._header.clear()
            if any(header):
                self._begin(tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape"))
            else:
                self._ended = True
        return view[len(taken) :]

    def _begin(self, member: tarfile.TarInfo) -> None:
        """The rights are PostgreSQL's own (0700, 0600)."""
        if not (member.isreg() or member.isdir()):
            raise BadTar(f"The base backup holds {member.name[:80]!r}, which is no file or folder.")
        names = _names(member)
        if member.isdir():
            self._make(names)
            return
        self._make(names[:-1])
        path = os.path.join(self._root, *names)  # noqa: PTH118 - of a thousand files
        self._file = os.open(path, _CREATE, 0o600)
        self._content, self._padding = member.size, -member.size % _BLOCK
        if not member.size:
            self.close()

    def _make(self, names: tuple[str, ...]) -> None:
        """A folder and those above it, each once."""
        if names not in self._made:
            self._folder.joinpath(*names).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._made.add(names)


def _names(member: tarfile.TarInfo) -> tuple[str, ...]:
    """Where it goes, below the folder. That has no links, as none are unpacked: what names nothing above
    itself cannot leave it."""
    names = tuple(name for name in member.name.split("/") if name not in ("", "."))
    if ".." in names or not (names or member.isdir()):
        raise BadTar(f"The base backup holds {member.name[:80]!r}, which would leave its folder.")
    return names
