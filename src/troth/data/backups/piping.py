"""Reading a pipe in large pieces, in a thread: what goes through it is copied once, out of the kernel.

An event loop's own stream takes a pipe in pieces of at most 256 KiB and copies each three times more.
"""

import asyncio
import os
import select

PIECE_BYTES = 4 * 1024 * 1024
"""What is read at once: worth handing to another thread, and as much as the archive seals at once."""

_PAUSE_MILLISECONDS = 50
"""What has come is handed over when no more comes for so long."""


class PipeReader:
    """Reads a pipe to its end; `descriptor` is its own from then on, and closed by `close`."""

    def __init__(self, descriptor: int) -> None:
        self._pipe = descriptor
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._buffer = bytearray(PIECE_BYTES)
        self._reading: asyncio.Future[bytes] | None = None

    async def read(self) -> bytes:
        """The next bytes, at most PIECE_BYTES; empty at the end."""
        self._reading = asyncio.ensure_future(asyncio.to_thread(self._read))
        return await asyncio.shield(self._reading)

    async def close(self) -> None:
        """Read no more. The thread is woken and waited for first: the number of a descriptor that is closed
        could be another's by the time it reads."""
        os.eventfd_write(self._wake, 1)
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
        os.close(self._pipe)
        os.close(self._wake)

    def _read(self) -> bytes:
        view, size, poll = memoryview(self._buffer), 0, select.poll()
        for descriptor in (self._pipe, self._wake):
            poll.register(descriptor, select.POLLIN)
        while size < PIECE_BYTES:
            ready = [descriptor for descriptor, _ in poll.poll(_PAUSE_MILLISECONDS if size else None)]
            if not ready or self._wake in ready:
                break
            read = os.readv(self._pipe, [view[size:]])
            if read == 0:
                break
            size += read
        return bytes(view[:size])
