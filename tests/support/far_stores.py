"""A real S3 server and a real SFTP server behind a gate, as `[backup]` names them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from support.gate import Gate, gate_to
from support.s3_server import CREDENTIALS, REGION, S3Server
from support.stores import PASSWORD, SftpServer
from troth.core.secret import write_secret
from troth.core.settings import BackupSettings

Kind = Literal["s3", "sftp"]


class Far(msgspec.Struct, frozen=True):
    """A store, the gate in front of it, and the server behind it."""

    settings: BackupSettings
    gate: Gate
    server: S3Server | SftpServer

    def toml(self) -> str:
        """The same as lines of troth.toml."""
        names = ("store", "region", "endpoint", "ca", "credentials")
        named: dict[str, Any] = {name: getattr(self.settings, name) for name in names}
        return "".join(f'{name} = "{value}"\n' for name, value in named.items() if value)


@asynccontextmanager
async def far_store(kind: Kind, folder: Path, *, bandwidth: int = 0) -> AsyncGenerator[Far]:
    """One of the two; `bandwidth` is in bytes a second."""
    opened = _s3(folder, bandwidth) if kind == "s3" else _sftp(folder, bandwidth)
    async with opened as far:
        yield far


@asynccontextmanager
async def _s3(folder: Path, bandwidth: int) -> AsyncGenerator[Far]:
    write_secret(folder / "store.credentials", CREDENTIALS)
    server = S3Server(folder)
    try:
        await server.start()
        await server.make_bucket("backups")
        async with gate_to(int(server.endpoint.rpartition(":")[2])) as gate:
            settings = BackupSettings(
                store="s3://backups/residents",
                region=REGION,
                endpoint=f"https://127.0.0.1:{gate.port}",
                ca=server.ca,
                credentials=folder / "store.credentials",
                bandwidth=bandwidth,
            )
            yield Far(settings, gate, server)
    finally:
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def _sftp(folder: Path, bandwidth: int) -> AsyncGenerator[Far]:
    write_secret(folder / "store.credentials", PASSWORD.encode())
    server = SftpServer(folder)
    try:
        await server.start()
        async with gate_to(server.port) as gate:
            (folder / "through-the-gate").write_text(server.known_as(gate.port))
            settings = BackupSettings(
                store=f"sftp://troth@127.0.0.1:{gate.port}/backups",
                region="IE",
                ca=folder / "through-the-gate",
                credentials=folder / "store.credentials",
                bandwidth=bandwidth,
            )
            yield Far(settings, gate, server)
    finally:
        await server.stop()
