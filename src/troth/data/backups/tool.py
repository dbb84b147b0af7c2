"""PostgreSQL's own tools for backups, told where to connect to; never with a secret in their arguments."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import msgspec

from troth.core.ca import LeafFiles
from troth.core.errors import PlatformError
from troth.core.process import Endpoint, ProcessSpec
from troth.data.backups.piping import PipeReader
from troth.data.postgres import Binaries
from troth.data.roles import REPLICATOR

SLOT = "troth_backup"
"""The replication slot of the shipped log: no member removes what was not received yet."""

RECEIVER = "troth_backup_log"
BASE = "troth_backup_base"
"""How the tools appear in `pg_stat_replication`."""

_PIPE_BYTES = 1024 * 1024
_SAID_BYTES = 16 * 1024
_GRACE_SECONDS = 5.0
_QUIET = ("NOTICE:", "pg_basebackup: hint:")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How the tools get at the members: over TLS, as the role that may replicate and nothing else."""

    binaries: Binaries
    authority: Path
    replicator: LeafFiles

    def connection(self, hosts: Sequence[Endpoint], application: str, *, leader: bool = False) -> str:
        """A libpq connection string; with `leader` it settles for the member that takes writes."""
        values = {
            "host": ",".join(one.host for one in hosts),
            "port": ",".join(str(one.port) for one in hosts),
            "user": REPLICATOR,
            "application_name": application,
            "sslmode": "verify-full",
            "sslcert": str(self.replicator.certificate),
            "sslkey": str(self.replicator.key),
            "sslrootcert": str(self.authority),
            "gssencmode": "disable",
            "connect_timeout": "5",
            "tcp_user_timeout": "5000",
            **({"target_session_attrs": "primary"} if leader else {}),
        }
        return " ".join(f"{name}={_quoted(value)}" for name, value in values.items())

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of a tool. HOME has no certificate that could be shown instead."""
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}


def base_backup(access: Access, member: Endpoint, parent: Path | None) -> tuple[str, ...]:
    """`pg_basebackup` of one member as one tar on standard output, its `backup_manifest` the last file in it.

    `parent` is the `backup_manifest` of the backup that an incremental one builds on.
    """
    return (
        access.binaries.program("pg_basebackup"),
        *("-D", "-", "--format=tar", "--wal-method=none", "--checkpoint=fast", "--no-password"),
        *((f"--incremental={parent}",) if parent else ()),
        *("-d", access.connection((member,), BASE)),
    )


def receiver(access: Access, members: Sequence[Endpoint], spool: Path, log: Path) -> ProcessSpec:
    """`pg_receivewal`, which writes what the leader writes into `spool`. It ends whenever the leader does;
    the supervisor starts it again, and it finds the next leader."""
    return ProcessSpec(
        name="backup-log",
        argv=(
            access.binaries.program("pg_receivewal"),
            *("-D", str(spool), f"--slot={SLOT}", "--no-loop", "--status-interval=1", "--no-password"),
            *("-d", access.connection(members, RECEIVER, leader=True)),
        ),
        environment=access.environment,
        folder=spool,
        log=log,
        stop_seconds=5.0,
    )


async def find_out_whether_it_replicates(access: Access, members: Sequence[Endpoint], guard: "Guard") -> None:
    """Speak the replication protocol to the leader, about a slot that is there. Raises ToolFailed."""
    argv = (
        access.binaries.program("pg_receivewal"),
        *(f"--slot={SLOT}", "--create-slot", "--if-not-exists", "--no-password"),
        *("-d", access.connection(members, RECEIVER, leader=True)),
    )
    async for _ in output(argv, access.environment, guard):
        pass


class ToolFailed(PlatformError):
    """A tool of PostgreSQL's ended with an error."""


Guard = Callable[[tuple[str, ...]], tuple[str, ...]]
"""Makes a command die with its parent."""


async def output(argv: tuple[str, ...], environment: dict[str, str], guard: Guard) -> AsyncGenerator[bytes]:
    """What a tool writes to standard output, in pieces.

    Raises ToolFailed after the last piece unless its exit status is 0: whoever stores the pieces must have
    them all fail, or half a backup would look like one. Ends the tool when it is closed early.
    """
    reading, writing = os.pipe()
    with contextlib.suppress(OSError):  # wider, so that the tool goes on while the last piece is dealt with
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    reader = PipeReader(reading)
    try:
        try:
            process = await asyncio.create_subprocess_exec(
                *guard(argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
            )
        except OSError as error:
            raise ToolFailed(f"{Path(argv[0]).name} does not run.", detail=str(error)) from error
        finally:
            os.close(writing)
        assert process.stderr is not None
        said = asyncio.create_task(_last_words(process.stderr))
        try:
            while piece := await reader.read():
                yield piece
            status = await process.wait()
            words = await said
        finally:
            await _end(process, said)
    finally:
        await reader.close()
    if status != 0:
        raise ToolFailed(f"{Path(argv[0]).name} failed: {_told(words)}", detail=words)


async def _last_words(stream: asyncio.StreamReader) -> str:
    kept = b""
    while piece := await stream.read(4096):
        kept = (kept + piece)[-_SAID_BYTES:]
    return kept.decode(errors="replace").strip()


async def _end(process: asyncio.subprocess.Process, said: asyncio.Task[str]) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    said.cancel()
    await asyncio.gather(said, return_exceptions=True)


def _told(words: str) -> str:
    lines = [line for line in words.splitlines() if line and not line.startswith(_QUIET)]
    return lines[-1][:300] if lines else "it did not say why"


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
