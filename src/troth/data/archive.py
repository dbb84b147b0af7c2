"""The sealed archive: the one form in which a backup leaves the machine. docs/archive-format.md is its text.

Compressed with Zstandard (RFC 8878), then sealed in chunks with AES-256-GCM in the STREAM construction
(Hoang, Reyhanitabar, Rogaway, Vizár 2015): a counter and a flag for the last chunk are the nonce, so that no
chunk can be left out, moved, doubled or cut off. Numbers are big-endian.

    offset  0  "TRAR"             magic
            4  1                  version of this layout
            5  1                  cipher: AES-256-GCM, STREAM
            6  1                  compression: Zstandard, one frame
            7  20                 binary logarithm of the size of a chunk
            8  salt               32 bytes, random for each archive
           40  commitment         32 bytes: the archive opens under one key and for one purpose alone
           72  chunks             2^20 + 16 bytes each, the last 17 … 2^20 + 16

The key is used for this archive alone, so that counters as nonces are safe.
"""

import asyncio
import os
import struct
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from troth.core.secret import Secret, equal
from troth.data.sealing import KEY_BYTES, SealError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC: Final = b"TRAR"
LAYOUT: Final = 1
AES_256_GCM_STREAM: Final = 1
ZSTANDARD: Final = 1
CHUNK_POWER: Final = 20
CHUNK_BYTES: Final = 1 << CHUNK_POWER
TAG_BYTES: Final = 16
SALT_BYTES: Final = 32
HEADER_BYTES: Final = 72
LEVEL: Final = 1
"""Level 3 makes a database's pages smaller by 7 % at best, and takes two to five times the time."""

_WINDOW_POWER: Final = 23
"""A reader refuses a frame that asks for more than 8 MiB of memory."""

_BATCH_BYTES: Final = 4 * CHUNK_BYTES
"""Handed to a thread at once: on a busy machine each change of threads may wait for its turn."""

_CHUNKS_LIMIT: Final = 1 << 32
_START: Final = struct.Struct(">4sBBBB")


def context_of(*parts: str | bytes) -> bytes:
    """What an archive is, e.g. `context_of("wal", cluster, name)`: it opens under the same context alone.

    Every part is preceded by its length, so that ("a", "bc") and ("ab", "c") differ.
    """
    raw = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join([len(part).to_bytes(4, "big") + part for part in raw])


async def seal_stream(key: Secret, pieces: AsyncIterator[bytes], context: bytes) -> AsyncIterator[bytes]:
    """The archive of `pieces`, header first. Sealing twice gives different bytes.

    Works in a thread; keeps a few MiB whatever the length. An error of `pieces` comes out as it is.
    """
    writer = ArchiveWriter(key, context)
    yield writer.header
    async for batch in batches(pieces):
        for chunk in await asyncio.to_thread(writer.add, batch):
            yield chunk
    for chunk in await asyncio.to_thread(writer.finish):
        yield chunk


async def open_stream(
    key: Secret, pieces: AsyncIterator[bytes], context: bytes, *, limit: int
) -> AsyncIterator[bytes]:
    """The plaintext of an archive, in pieces of at most CHUNK_BYTES and `limit` bytes in all.

    Raises SealError before anything of a bad chunk is handed over. That the archive was cut off shows at its
    end only: what came out counts once the iteration has ended without an error.
    """
    reader = ArchiveReader(key, context, limit=limit)
    async for batch in _gathered(pieces):
        while plain := await asyncio.to_thread(_read_some, reader, batch):
            for piece in plain:
                yield piece
    reader.end()
    while plain := await asyncio.to_thread(_read_some, reader, []):
        for piece in plain:
            yield piece
    reader.check_end()


class ArchiveWriter:
    """Seals one archive, without waiting for anything. `header` goes first, then all chunks in order."""

    def __init__(self, key: Secret, context: bytes, *, salt: bytes | None = None) -> None:
        """`salt` is for test vectors alone: two archives with one salt and key lose their secrecy."""
        salt = salt if salt is not None else os.urandom(SALT_BYTES)
        start = _START.pack(MAGIC, LAYOUT, AES_256_GCM_STREAM, ZSTANDARD, CHUNK_POWER)
        cipher, commitment = _derive(key, start, salt, context)
        self.header = start + salt + commitment
        self._chunks = _Chunks(cipher, self.header + context)
        self._compressor = zstd.ZstdCompressor(level=LEVEL)
        self._waiting = bytearray()

    def __repr__(self) -> str:
        return "ArchiveWriter(…)"

    def add(self, plain: bytes) -> list[bytes]:
        """Take some plaintext; the chunks that are full by now."""
        self._waiting += self._compressor.compress(plain)
        return list(self._full())

    def finish(self) -> list[bytes]:
        """The remaining chunks, the last one marked as such."""
        self._waiting += self._compressor.flush()
        return [*self._full(), self._chunks.seal(bytes(self._waiting), last=True)]

    def _full(self) -> Iterator[bytes]:
        # What fills the last chunk exactly has to wait: only the end shows that it is the last.
        while len(self._waiting) > CHUNK_BYTES:
            with memoryview(self._waiting) as waiting:
                sealed = self._chunks.seal(waiting[:CHUNK_BYTES], last=False)
            del self._waiting[:CHUNK_BYTES]
            yield sealed


class ArchiveReader:
    """Opens one archive, without waiting for anything: `feed` what arrived, `read` until it is empty; after
    the last, `end`, `read` until it is empty, and `check_end`. Every method raises SealError."""

    def __init__(self, key: Secret, context: bytes, *, limit: int) -> None:
        self._key = key
        self._context = context
        self._left = limit
        self._waiting = bytearray()
        self._ended = False
        self._opened_last = False
        self._chunks: _Chunks | None = None
        self._decompressor = zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: _WINDOW_POWER}
        )

    def __repr__(self) -> str:
        return f"ArchiveReader(left={self._left})"

    def feed(self, sealed: bytes) -> None:
        """Take some bytes of the archive; read them before feeding more, or memory grows."""
        self._waiting += sealed

    def end(self) -> None:
        """Say that there are no more bytes."""
        self._ended = True

    def read(self) -> bytes:
        """The next plaintext, at most CHUNK_BYTES; empty when more has to be fed, or at the end."""
        if self._chunks is None and not self._read_header():
            return b""
        while True:
            if self._decompressor.eof or self._decompressor.needs_input:
                chunk = self._next_chunk()
                if not chunk:
                    return b""
            else:
                chunk = b""
            if plain := self._decompress(chunk):
                return plain

    def check_end(self) -> None:
        """Raises SealError unless the archive was read to its very end."""
        if not (self._ended and self._opened_last and self._decompressor.eof) or self._waiting:
            raise SealError(detail="the archive is cut off")

    def _read_header(self) -> bool:
        if len(self._waiting) < HEADER_BYTES:
            return False
        header = bytes(self._waiting[:HEADER_BYTES])
        del self._waiting[:HEADER_BYTES]
        start = _START.pack(MAGIC, LAYOUT, AES_256_GCM_STREAM, ZSTANDARD, CHUNK_POWER)
        if header[: _START.size] != start:
            raise SealError(detail="not an archive that this version knows")
        salt = header[_START.size : _START.size + SALT_BYTES]
        cipher, commitment = _derive(self._key, start, salt, self._context)
        if not equal(commitment, header[_START.size + SALT_BYTES :]):
            raise SealError(detail="sealed under another key, or as another object")
        self._chunks = _Chunks(cipher, header + self._context)
        return True

    def _next_chunk(self) -> bytes:
        """The next chunk, opened; empty when it has not arrived as a whole."""
        assert self._chunks is not None
        size = CHUNK_BYTES + TAG_BYTES
        last = self._ended and len(self._waiting) <= size
        if (not self._waiting or self._opened_last) if last else len(self._waiting) <= size:
            return b""
        if self._decompressor.eof:
            raise SealError(detail="chunks after the end of the compressed frame")
        with memoryview(self._waiting) as waiting:
            plain = self._chunks.open(waiting[:size], last=last)
        del self._waiting[:size]
        self._opened_last = last
        return plain

    def _decompress(self, chunk: bytes) -> bytes:
        try:
            plain = self._decompressor.decompress(chunk, max_length=CHUNK_BYTES)
        except zstd.ZstdError:
            raise SealError(detail="no Zstandard frame, or one that wants too much memory") from None
        if self._decompressor.eof and self._decompressor.unused_data:
            raise SealError(detail="bytes after the end of the compressed frame")
        self._left -= len(plain)
        if self._left < 0:
            raise SealError(detail="longer than it may be")
        return plain


class _Chunks:
    """One archive's key and the number of the next chunk."""

    __slots__ = ("_associated", "_cipher", "_number")

    def __init__(self, cipher: AESGCM, associated: bytes) -> None:
        self._cipher = cipher
        self._associated = associated
        self._number = 0

    def seal(self, plain: bytes | memoryview, *, last: bool) -> bytes:
        return self._cipher.encrypt(self._nonce(last), plain, self._associated)

    def open(self, sealed: bytes | memoryview, *, last: bool) -> bytes:
        if len(sealed) <= TAG_BYTES:
            raise SealError(detail="an empty chunk")
        try:
            return self._cipher.decrypt(self._nonce(last), sealed, self._associated)
        except InvalidTag:
            raise SealError(detail=f"chunk {self._number - 1} does not fit") from None

    def _nonce(self, last: bool) -> bytes:
        if self._number >= _CHUNKS_LIMIT:
            raise SealError(detail="too long for one archive")
        nonce = self._number.to_bytes(11, "big") + (b"\1" if last else b"\0")
        self._number += 1
        return nonce


def _derive(key: Secret, start: bytes, salt: bytes, context: bytes) -> tuple[AESGCM, bytes]:
    """HKDF-SHA-256 (RFC 5869) of key, salt, header and context: 32 bytes of key, 32 of commitment.

    AES-GCM does not commit to its key: without the commitment one archive could be made that opens under two
    keys, to two different texts.
    """
    if len(key.reveal()) != KEY_BYTES:
        raise SealError(detail="a key has the wrong length")
    info = b"troth archive 1\x00" + start + context
    derived = HKDF(hashes.SHA256(), 2 * KEY_BYTES, salt, info).derive(key.reveal())
    return AESGCM(derived[:KEY_BYTES]), derived[KEY_BYTES:]


async def _gathered(pieces: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """The same pieces, some at a time, so that there is work for a thread; nothing is copied for it."""
    batch: list[bytes] = []
    size = 0
    async for piece in pieces:
        batch.append(piece)
        size += len(piece)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _read_some(reader: ArchiveReader, sealed: list[bytes]) -> list[bytes]:
    """A batch of plaintext, once all of `sealed` was fed; a bad chunk in it keeps back the pieces before it
    too."""
    for piece in sealed:
        reader.feed(piece)
    sealed.clear()
    pieces: list[bytes] = []
    while len(pieces) < _BATCH_BYTES // CHUNK_BYTES and (piece := reader.read()):
        pieces.append(piece)
    return pieces


async def batches(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces worth a thread: _BATCH_BYTES each, the last one shorter."""
    waiting = bytearray()
    async for piece in pieces:
        if not waiting and len(piece) == _BATCH_BYTES:
            yield piece
            continue
        view = memoryview(piece)
        while view:
            taken = view[: _BATCH_BYTES - len(waiting)]
            waiting += taken
            view = view[len(taken) :]
            if len(waiting) == _BATCH_BYTES:
                yield bytes(waiting)
                waiting.clear()
    if waiting:
        yield bytes(waiting)
