"""The sealed archive: what comes back, and everything that must not."""

import hmac
import json
import os
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from support.stores import pieces_of, read_all
from troth.core.secret import Secret
from troth.data.archive import (
    CHUNK_BYTES,
    HEADER_BYTES,
    TAG_BYTES,
    ArchiveReader,
    ArchiveWriter,
    context_of,
    open_stream,
    seal_stream,
)
from troth.data.sealing import SealError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "archive.json").read_text())
KEY = Secret(bytes(range(32)))
CONTEXT = context_of("base", "0190a3c4", "data.tar")


def in_one(key: bytes, plain: bytes, context: bytes) -> bytes:
    writer = ArchiveWriter(Secret(key), context)
    return writer.header + b"".join([*writer.add(plain), *writer.finish()])


def open_now(archive: bytes) -> bytes:
    reader = ArchiveReader(KEY, CONTEXT, limit=1 << 30)
    reader.feed(archive)
    reader.end()
    plain = bytearray()
    while piece := reader.read():
        plain += piece
    reader.check_end()
    return bytes(plain)


def derive_again(key: bytes, salt: bytes, info: bytes) -> tuple[bytes, bytes]:
    """HKDF-SHA-256 from the text of RFC 5869."""
    secret = hmac.digest(salt, key, "sha256")
    first = hmac.digest(secret, info + b"\x01", "sha256")
    return first, hmac.digest(secret, first + info + b"\x02", "sha256")


def read_again(key: bytes, archive: bytes, context: bytes) -> bytes:
    """A second reader, from the text of docs/archive-format.md; it trusts and opens a whole archive."""
    header, body = archive[:72], archive[72:]
    assert header[:8] == b"TRAR\x01\x01\x01\x14"
    derived, commitment = derive_again(key, header[8:40], b"troth archive 1\0" + header[:8] + context)
    assert commitment == header[40:]
    size = (1 << 20) + 16
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    frame = b"".join(
        AESGCM(derived).decrypt(
            number.to_bytes(11, "big") + bytes([number == len(chunks) - 1]), chunk, header + context
        )
        for number, chunk in enumerate(chunks)
    )
    return zstd.decompress(frame)


def sealed_frame(frame: bytes) -> bytes:
    """An archive whose maker has the key and puts anything into its one chunk."""
    header = in_one(KEY.reveal(), b"", CONTEXT)[:HEADER_BYTES]
    derived, _ = derive_again(KEY.reveal(), header[8:40], b"troth archive 1\0" + header[:8] + CONTEXT)
    return header + AESGCM(derived).encrypt(bytes(11) + b"\1", frame, header + CONTEXT)


SMALL = in_one(KEY.reveal(), b"some plaintext of a backup", CONTEXT)


async def sealed(plain: bytes, *, key: Secret = KEY, context: bytes = CONTEXT) -> bytes:
    return await read_all(seal_stream(key, pieces_of(plain), context))


async def opened(
    archive: bytes, *, key: Secret = KEY, context: bytes = CONTEXT, limit: int = 1 << 40, size: int = 65_536
) -> bytes:
    return await read_all(open_stream(key, pieces_of(archive, size), context, limit=limit))


@pytest.mark.parametrize(
    "size", [0, 1, 1000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 5]
)
async def test_what_was_sealed_comes_back(size: int) -> None:
    plain = os.urandom(size)
    assert await opened(await sealed(plain)) == plain


async def test_what_repeats_is_compressed() -> None:
    plain = b"the same again " * 300_000
    archive = await sealed(plain)
    assert len(archive) < len(plain) // 100
    assert await opened(archive) == plain


async def test_two_seals_of_one_text_differ() -> None:
    assert await sealed(b"same") != await sealed(b"same")


async def test_nothing_opens_under_another_key_or_as_another_object() -> None:
    archive = await sealed(b"secret")
    with pytest.raises(SealError):
        await opened(archive, key=Secret(b"k" * 32))
    with pytest.raises(SealError):
        await opened(archive, context=context_of("base", "0190a3c4", "other.tar"))


async def test_a_truncated_archive_does_not_end_well() -> None:
    archive = await sealed(os.urandom(2 * CHUNK_BYTES))
    chunk = CHUNK_BYTES + TAG_BYTES
    for length in (0, 10, HEADER_BYTES, HEADER_BYTES + 1, HEADER_BYTES + chunk, len(archive) - 1):
        with pytest.raises(SealError):
            await opened(archive[:length])


async def test_an_error_of_the_source_comes_out_as_it_is() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("the tool failed")

    with pytest.raises(RuntimeError, match="the tool failed"):
        await read_all(seal_stream(KEY, failing(), CONTEXT))


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["note"])
async def test_the_vectors_open_and_a_second_reader_agrees(vector: dict[str, Any]) -> None:
    key, context = bytes.fromhex(vector["key"]), bytes.fromhex(vector["context"])
    archive, plain = bytes.fromhex(vector["archive"]), bytes.fromhex(vector["plaintext"])
    assert context_of(*vector["context_parts"]) == context
    assert await opened(archive, key=Secret(key), context=context) == plain
    assert read_again(key, archive, context) == plain
    writer = ArchiveWriter(Secret(key), context, salt=bytes.fromhex(vector["salt"]))
    assert writer.header == archive[:HEADER_BYTES]
    assert vector["commitment"] == archive[40:72].hex()


@given(
    st.binary(max_size=3000), st.binary(min_size=32, max_size=32), st.lists(st.text(max_size=9), max_size=3)
)
@settings(deadline=None)
def test_a_second_reader_opens_whatever_is_sealed(plain: bytes, key: bytes, parts: list[str]) -> None:
    context = context_of(*parts)
    assert read_again(key, in_one(key, plain, context), context) == plain


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
@settings(deadline=None)
def test_no_changed_byte_opens(at: int, flip: int) -> None:
    archive = bytearray(SMALL)
    archive[at % len(archive)] ^= flip
    with pytest.raises(SealError):
        open_now(bytes(archive))


@given(st.integers(min_value=0, max_value=len(SMALL) - 1))
@settings(deadline=None)
def test_no_shortened_archive_opens(length: int) -> None:
    with pytest.raises(SealError):
        open_now(SMALL[:length])


@given(st.binary(min_size=1, max_size=100))
@settings(deadline=None)
def test_nothing_may_follow_the_last_chunk(more: bytes) -> None:
    with pytest.raises(SealError):
        open_now(SMALL + more)


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 0, 1, 2), (0, 2), (2,), (0, 1), (0, 1, 2, 2), (0, 1, 1, 2)])
def test_chunks_that_were_moved_doubled_or_left_out_do_not_open(order: tuple[int, ...]) -> None:
    plain = os.urandom(2 * CHUNK_BYTES + 100_000)
    archive = in_one(KEY.reveal(), plain, CONTEXT)
    size = CHUNK_BYTES + TAG_BYTES
    chunks = [archive[at : at + size] for at in range(HEADER_BYTES, len(archive), size)]
    assert len(chunks) == 3
    reader = ArchiveReader(KEY, CONTEXT, limit=1 << 30)
    released = bytearray()
    with pytest.raises(SealError):
        reader.feed(archive[:HEADER_BYTES] + b"".join(chunks[number] for number in order))
        reader.end()
        while piece := reader.read():
            released += piece
        reader.check_end()
    assert plain.startswith(released), "whatever came out before the fault is a true beginning"


def test_a_chunk_of_another_archive_does_not_open() -> None:
    one, other = (in_one(KEY.reveal(), os.urandom(CHUNK_BYTES + 9), CONTEXT) for _ in range(2))
    with pytest.raises(SealError):
        open_now(
            one[: HEADER_BYTES + CHUNK_BYTES + TAG_BYTES] + other[HEADER_BYTES + CHUNK_BYTES + TAG_BYTES :]
        )


async def test_a_bomb_is_bounded_in_length_and_in_memory() -> None:
    archive = await sealed(bytes(64 * CHUNK_BYTES))
    assert len(archive) < 20_000
    reader = ArchiveReader(KEY, CONTEXT, limit=2 * CHUNK_BYTES)
    reader.feed(archive)
    reader.end()
    sizes: list[int] = []
    with pytest.raises(SealError) as caught:
        while piece := reader.read():
            sizes.append(len(piece))
    assert "longer" in caught.value.detail
    assert sum(sizes) <= 2 * CHUNK_BYTES
    assert max(sizes) <= CHUNK_BYTES


def test_a_frame_that_wants_much_memory_is_refused() -> None:
    options = {
        int(zstd.CompressionParameter.window_log): 27,
        int(zstd.CompressionParameter.enable_long_distance_matching): 1,
    }
    compressor = zstd.ZstdCompressor(options=options)
    frame = compressor.compress(os.urandom(1000)) + compressor.flush()
    with pytest.raises(SealError) as caught:
        open_now(sealed_frame(frame))
    assert "memory" in caught.value.detail


@pytest.mark.parametrize(
    "frame", [b"no frame at all", b"", zstd.compress(b"a") + b"more", zstd.compress(b"a")[:-1]]
)
def test_whatever_is_sealed_must_be_one_whole_frame(frame: bytes) -> None:
    with pytest.raises(SealError):
        open_now(sealed_frame(frame))


@pytest.mark.parametrize("at", range(8))
def test_an_unknown_version_cipher_or_chunk_size_is_refused(at: int) -> None:
    with pytest.raises(SealError) as caught:
        open_now(SMALL[:at] + b"\x7f" + SMALL[at + 1 :])
    assert "this version" in caught.value.detail


async def test_memory_is_bounded_however_long_the_archive_is() -> None:
    async def endless(count: int) -> AsyncIterator[bytes]:
        block = os.urandom(CHUNK_BYTES)
        for _ in range(count):
            yield block

    plain = 0
    tracemalloc.start()
    try:
        async for piece in open_stream(KEY, seal_stream(KEY, endless(96), CONTEXT), CONTEXT, limit=1 << 30):
            plain += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert plain == 96 * CHUNK_BYTES
    assert peak < 48 * CHUNK_BYTES, "both ends at once, a few batches each"


def test_no_key_shows_itself() -> None:
    writer, reader = ArchiveWriter(KEY, CONTEXT), ArchiveReader(KEY, CONTEXT, limit=9)
    assert "0001020304" not in f"{writer!r} {reader!r}"
    assert r"\x01\x02" not in f"{writer!r} {reader!r}"
    with pytest.raises(SealError):
        ArchiveWriter(Secret(b"short"), CONTEXT)
