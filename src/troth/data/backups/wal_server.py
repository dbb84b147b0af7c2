"""The resident that serves fetched and opened files of the write-ahead log to a recovering PostgreSQL.

It keeps a few segments ahead of the recovery, so that fetching, opening and replaying go on side by side, and
renames each into place. What it cannot fetch stops the recovery: only what is not in the plan is the end.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from troth.core.errors import TrothError
from troth.data.backups import wal_client
from troth.data.backups.wal_client import HERE, NONE

AHEAD = 4
"""Segments of 16 MiB that are fetched before they are asked for."""

_PLACES = frozenset({"pg_wal/RECOVERYXLOG", "pg_wal/RECOVERYHISTORY"})
_LOST = b"lost\n"
_LINE_BYTES = 256

_log = logging.getLogger(__name__)

Fetch = Callable[[str, Path], Awaitable[None]]
"""Puts the file of this name at this path, opened and checked. Raises TrothError."""


def restore_command(socket: Path) -> str:
    """PostgreSQL's setting. Raises ValueError for a path that a shell or PostgreSQL would read
    differently."""
    client = str(Path(wal_client.__file__))
    parts = (sys.executable, "-I", "-S", client, str(socket))
    if any(character in part for part in parts for character in "\"'\\$`%\n"):
        raise ValueError("a path with quotes, dollars, percents or backslashes cannot stand in a setting")
    return " ".join(f'"{part}"' for part in parts) + " %f %p"


class WalServer:
    """Serves `segments`, in their order, and `histories`; `told` hears how much of the log has been handed
    over. `error` is the first reason why a file could not be had, `served` the last segment that was."""

    def __init__(
        self,
        fetch: Fetch,
        segments: Sequence[str],
        histories: frozenset[str],
        *,
        data: Path,
        spool: Path,
        told: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._fetch = fetch
        self._order = {name: number for number, name in enumerate(segments)}
        self._segments = tuple(segments)
        self._histories = histories
        self._data = data
        self._spool = spool
        self._told = told
        self._coming: dict[str, asyncio.Task[Path]] = {}
        self.error: TrothError | None = None
        self.served = ""

    @asynccontextmanager
    async def serve(self, socket: Path) -> AsyncGenerator[None]:
        """Answer on `socket`, whose folder is the owner's alone, inside the block."""
        self._spool.mkdir(mode=0o700, exist_ok=True)
        _remove(socket)
        server = await asyncio.start_unix_server(self._converse, socket, limit=_LINE_BYTES)
        try:
            yield
        finally:
            server.close()
            _remove(socket)
            await self._forget()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            name, _, place = (
                (await reader.readline()).decode("ascii", errors="replace").strip().partition(" ")
            )
            writer.write(await self._answer(name, place))
            await writer.drain()
        except (OSError, ValueError) as error:
            _log.warning("a request for the write-ahead log was dropped: %r", error)
        finally:
            writer.close()

    async def _answer(self, name: str, place: str) -> bytes:
        if place not in _PLACES or (name not in self._order and name not in self._histories):
            return NONE
        try:
            path = await self._get(name)
        except TrothError as error:
            _log.error("%s of the write-ahead log cannot be had: %s %s", name, error.public, error.detail)
            self.error = self.error or error
            return _LOST
        path.replace(self._data / place)
        if name in self._order:
            self.served = name
            self._told((self._order[name] + 1) / len(self._segments))
        return HERE

    async def _get(self, name: str) -> Path:
        """The file, fetched by now; the ones behind it are on their way."""
        task = self._coming.pop(name, None) or self._start(name)
        if name in self._order:
            first = self._order[name] + 1
            for other in self._segments[first : first + AHEAD]:
                if other not in self._coming:
                    self._coming[other] = self._start(other)
        return await asyncio.shield(task)

    def _start(self, name: str) -> asyncio.Task[Path]:
        task = asyncio.create_task(self._bring(name), name=f"fetch {name}")
        task.add_done_callback(_look_at)
        return task

    async def _bring(self, name: str) -> Path:
        path = self._spool / name
        await self._fetch(name, path)
        return path

    async def _forget(self) -> None:
        tasks = tuple(self._coming.values())
        self._coming.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _remove(socket: Path) -> None:
    socket.unlink(missing_ok=True)


def _look_at(task: asyncio.Task[Path]) -> None:
    """An error of a segment that nobody asked for in the end is no error."""
    if not task.cancelled():
        task.exception()
