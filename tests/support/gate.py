"""A way to a server that a test can cut: bytes pass, or are swallowed while everybody is left waiting."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

_BYTES = 65_536


class Gate:
    """A port of loopback in front of another. `silence` is a black hole: connections stand and new ones are
    taken, and not a byte comes through in either direction. `open` lets new connections through again; those
    that were silenced are cut, as a firewall that has forgotten them would."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.passed = 0
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut everything."""
        if self._server is not None:
            self._server.close()
        await self._cut()

    def silence(self) -> None:
        """From now on nothing passes."""
        self._open.clear()

    async def open(self) -> None:
        """From now on everything passes again."""
        await self._cut()
        self._open.set()

    async def _cut(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._open.wait()
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
                try:
                    await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
                finally:
                    far_writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(_BYTES):
            await self._open.wait()
            self.passed += len(piece)
            writer.write(piece)
            await writer.drain()
        writer.write_eof() if writer.can_write_eof() else writer.close()


@asynccontextmanager
async def gate_to(port: int) -> AsyncGenerator[Gate]:
    """A gate that is open at first."""
    gate = Gate(port)
    await gate.start()
    try:
        yield gate
    finally:
        await gate.stop()
