"""Sealing a backup against bare zstd and AES-GCM one after the other: `python -m bench.archive`.

The text is like a table's pages: half of it repeats, half does not. Ours is the whole stream with its thread,
chunks, counters and checks; against it stand `zstd` and `AESGCM` on the same pieces of 1 MiB, nothing else.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.results import entry, record
from troth.core.secret import Secret
from troth.data.archive import CHUNK_BYTES, LEVEL, context_of, open_stream, seal_stream

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROUNDS = 9
MEBIBYTES = 64
KEY = Secret(os.urandom(32))
CONTEXT = context_of("bench")


async def each(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def ours(text: list[bytes]) -> tuple[float, float]:
    """Mebibytes of plaintext a second, sealed and opened."""
    started = time.perf_counter()
    archive = [piece async for piece in seal_stream(KEY, each(text), CONTEXT)]
    sealed = time.perf_counter()
    count = 0
    async for piece in open_stream(KEY, each(archive), CONTEXT, limit=1 << 40):
        count += len(piece)
    assert count == MEBIBYTES * CHUNK_BYTES
    return MEBIBYTES / (sealed - started), MEBIBYTES / (time.perf_counter() - sealed)


def bare(text: list[bytes]) -> tuple[float, float]:
    """The same of the two parts by themselves."""
    cipher, nonce = AESGCM(os.urandom(32)), bytes(12)
    compressor, decompressor = zstd.ZstdCompressor(level=LEVEL), zstd.ZstdDecompressor()
    started = time.perf_counter()
    sealed = [cipher.encrypt(nonce, compressor.compress(piece), None) for piece in text]
    sealed.append(cipher.encrypt(nonce, compressor.flush(), None))
    between = time.perf_counter()
    for piece in sealed:
        decompressor.decompress(cipher.decrypt(nonce, piece, None))
    return MEBIBYTES / (between - started), MEBIBYTES / (time.perf_counter() - between)


def main() -> None:
    """Measure, print, and note the result."""
    row = os.urandom(512)
    text = [b"".join(os.urandom(512) + row for _ in range(CHUNK_BYTES // 1024)) for _ in range(MEBIBYTES)]
    pairs = [(asyncio.run(ours(text)), bare(text)) for _ in range(ROUNDS)]
    record(
        entry("archive.sealed", [(one[0], other[0]) for one, other in pairs], aim=0.8, unit="MiB/s"),
        entry("archive.opened", [(one[1], other[1]) for one, other in pairs], aim=0.8, unit="MiB/s"),
    )


if __name__ == "__main__":
    main()
