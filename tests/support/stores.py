"""Stores for tests: pieces of bytes to put and read."""

from collections.abc import AsyncIterator


async def pieces_of(content: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    """The bytes in pieces, as a tool would write them."""
    for at in range(0, len(content), size):
        yield content[at : at + size]


async def read_all(pieces: AsyncIterator[bytes]) -> bytes:
    """Everything that comes, in one."""
    return b"".join([piece async for piece in pieces])
