"""Runs a PostgreSQL on a restored data folder until it stands where it should.

Whoever starts processes is supplied from outside; whatever was started has ended when a block here is left.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from troth.core.errors import PlatformError
from troth.core.process import ProcessSpec
from troth.data.backups.digests import Connection
from troth.data.backups.scratch import (
    ADMISSION,
    ENVIRONMENT,
    PORT,
    Scratch,
    Target,
    read_limits,
    scratch_process,
    scratch_settings,
)
from troth.data.backups.wal_server import WalServer, restore_command
from troth.data.postgres import Binaries
from troth.data.roles import SUPERUSER

RECOVERY_SECONDS = 6 * 3600.0
"""A bound for a recovery that hangs: days of log are replayed in less."""

STOP_SECONDS = 600.0
"""For the last checkpoint of a server that is left in order."""

_AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)
_POLL_SECONDS = 0.05
_NOT_REACHED = "recovery ended before configured recovery target was reached"
_TAIL_BYTES = 16_384

_STANDING = "select case when not pg_is_in_recovery() then 'leads' else pg_get_wal_replay_pause_state() end"


class Running(Protocol):
    """A process that was started."""

    def interrupt(self) -> None:
        """SIGINT: PostgreSQL's fast shutdown."""
        ...

    async def wait(self) -> int:
        """Its exit status, once nothing of it is left."""
        ...

    async def stop(self) -> None:
        """End it whatever it does, and return once nothing of it is left."""
        ...


Start = Callable[[ProcessSpec], Running]
"""Starts a process once; it ends with this process. Raises TrothError when it cannot be started."""


class TargetNotReached(PlatformError):
    """The log ended before the moment: nothing was committed at or after it."""


async def run_program(start: Start, spec: ProcessSpec) -> None:
    """Run one of PostgreSQL's programs to its end. Raises PlatformError when it fails."""
    running = start(spec)
    try:
        status = await running.wait()
    except BaseException:
        await running.stop()
        raise
    if status != 0:
        raise PlatformError(
            f"{spec.name} failed with status {status}.", hint=f"Its last words are in {spec.log}."
        )


def program(binaries: Binaries, name: str, *arguments: str, folder: Path, log: Path) -> ProcessSpec:
    """One of PostgreSQL's programs, to be run to its end in `folder`."""
    return ProcessSpec(
        name=name,
        argv=(binaries.program(name), *arguments),
        environment=ENVIRONMENT,
        folder=folder,
        log=log,
        as_other_user=True,
    )


async def read_control(start: Start, scratch: Scratch) -> str:
    """What pg_controldata prints of the data folder. Raises PlatformError."""
    output = scratch.folder / "control"
    output.unlink(missing_ok=True)
    spec = program(scratch.binaries, "pg_controldata", str(scratch.data), folder=scratch.folder, log=output)
    await run_program(start, spec)
    return output.read_text()


class Recovery:
    """One restored data folder on its way to a target, by the log that `server` serves."""

    def __init__(self, start: Start, scratch: Scratch, server: WalServer) -> None:
        self._start = start
        self._scratch = scratch
        self._server = server
        self._limits: dict[str, str] = {}

    async def prepare(self) -> None:
        """Put the configuration beside the data folder and disarm the one inside it. Raises PlatformError."""
        scratch = self._scratch
        scratch.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What somebody set by ALTER SYSTEM, where to follow whom included, must not reach into the scratch.
        (scratch.data / "postgresql.auto.conf").write_bytes(b"")
        (scratch.data / "standby.signal").unlink(missing_ok=True)
        scratch.admission.write_text(ADMISSION)
        (scratch.folder / "pg_ident.conf").write_text("")
        self._limits = read_limits(await read_control(self._start, scratch))

    @asynccontextmanager
    async def at(self, target: Target | None) -> AsyncGenerator[Connection]:
        """The server at the target, a connection of the superuser's to it, and its end in order.

        Raises TargetNotReached when the log ends before a moment, PlatformError when it cannot be recovered.
        """
        scratch = self._scratch
        target = self._arm(target)
        command = restore_command(scratch.wal_socket)
        scratch.configuration.write_text(scratch_settings(scratch, self._limits, command, target))
        offset = scratch.log.stat().st_size if scratch.log.exists() else 0
        async with self._server.serve(scratch.wal_socket):
            running = self._start(scratch_process(scratch))
            try:
                connection = await self._standing(running, offset)
                try:
                    yield connection
                finally:
                    await connection.close(timeout=5)
                running.interrupt()
                async with asyncio.timeout(STOP_SECONDS):
                    await running.wait()
            finally:
                await running.stop()

    def _arm(self, target: Target | None) -> Target | None:
        """The target, unless the server was promoted at it before: PostgreSQL takes the signal away then, and
        a second recovery of what has gone on since would fail."""
        signal, started = self._scratch.data / "recovery.signal", self._scratch.folder / "started"
        if target is None or (started.exists() and not signal.exists()):
            return None
        signal.touch(mode=0o600)
        started.touch(mode=0o600)
        return target

    async def _standing(self, running: Running, offset: int) -> Connection:
        """A connection, once the server leads or waits at a restore point."""
        ended = asyncio.ensure_future(running.wait())
        standing = asyncio.ensure_future(self._until_standing())
        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                await asyncio.wait((ended, standing), return_when=asyncio.FIRST_COMPLETED)
            if standing.done():
                return standing.result()
        finally:
            for task in (ended, standing):
                task.cancel()
            await asyncio.gather(ended, standing, return_exceptions=True)
        raise self._failure(offset)

    async def _until_standing(self) -> Connection:
        """Tries until it is cancelled. A server that cannot recover ends under a connection as well: why it
        did is told by its end."""
        while True:
            connection: Connection | None = None
            try:
                connection = await connect(self._scratch)
                while await connection.fetchval(_STANDING) not in ("leads", "paused"):  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_SECONDS)
            except BaseException as error:
                if connection is not None:
                    connection.terminate()
                if not isinstance(error, _AWAY):
                    raise
                await asyncio.sleep(_POLL_SECONDS)
            else:
                return connection

    def _failure(self, offset: int) -> PlatformError:
        """Why the server ended: an error of the log's source before all, else its own last words."""
        if self._server.error is not None:
            error = self._server.error
            return PlatformError(error.public, hint=getattr(error, "hint", ""), detail=error.detail)
        with self._scratch.log.open("rb") as file:
            file.seek(max(offset, self._scratch.log.stat().st_size - _TAIL_BYTES))
            words = file.read().decode(errors="replace")
        if _NOT_REACHED in words:
            return TargetNotReached("The log ends before the moment that was asked for.")
        return PlatformError(
            "PostgreSQL could not recover the restored data.",
            hint=f"Its last words are in {self._scratch.log}.",
            detail=words[-2000:],
        )


async def connect(scratch: Scratch, database: str = "troth") -> Connection:
    """A connection of the superuser's through the socket. Raises what asyncpg raises."""
    connection: Any = await asyncpg.connect(
        host=str(scratch.sockets),
        port=PORT,
        user=SUPERUSER,
        database=database,
        ssl=False,
        timeout=5.0,
        passfile=None,
    )
    return connection
