"""The sealed archive: what comes back, and everything that must not."""

import os
from collections.abc import AsyncIterator

import pytest

from support.stores import pieces_of, read_all
from troth.core.secret import Secret
from troth.data.archive import (
    CHUNK_BYTES,
    HEADER_BYTES,
    TAG_BYTES,
    context_of,
    open_stream,
    seal_stream,
)
from troth.data.sealing import SealError

KEY = Secret(bytes(range(32)))
CONTEXT = context_of("base", "0190a3c4", "data.tar")


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
