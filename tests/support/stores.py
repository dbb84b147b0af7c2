"""Stores for tests: an SFTP server, a store that lies, and a place where nobody answers."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import asyncssh

from troth.data.stores.sftp import SftpPlace
from troth.data.stores.store import Entry, Store, Stored

PASSWORD = "correct horse"


async def pieces_of(content: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    """The bytes in pieces, as a tool would write them."""
    for at in range(0, len(content), size):
        yield content[at : at + size]


async def read_all(pieces: AsyncIterator[bytes]) -> bytes:
    """Everything that comes, in one."""
    return b"".join([piece async for piece in pieces])


class LyingStore:
    """A store that keeps what it was given, and tells something else about the names in its lists.

    `truncated` ends an object in its middle, `flipped` changes one bit of it, `stale` names an object to
    answer with what it held before its last `put`, `hidden` are neither listed nor read. Nothing of it shows
    in an error: whoever reads has to find out.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._before: dict[str, bytes] = {}
        self.truncated: set[str] = set()
        self.flipped: set[str] = set()
        self.stale: set[str] = set()
        self.hidden: set[str] = set()
        self.swapped: dict[str, str] = {}

    @property
    def place(self) -> str:
        return self._store.place

    async def put(self, name: str, pieces: AsyncIterator[bytes]) -> Stored:
        if any(entry.name == name for entry in await self._store.list(name)):
            self._before[name] = await read_all(self._store.get(name))
        return await self._store.put(name, pieces)

    async def get(self, name: str, start: int = 0) -> AsyncIterator[bytes]:
        content = await read_all(self._store.get(self.swapped.get(name, name)))
        if name in self.hidden:
            content = await read_all(self._store.get("hidden"))  # the store's own words for what is missing
        if name in self.stale:
            content = self._before.get(name, content)
        if name in self.truncated:
            content = content[: len(content) // 2]
        if name in self.flipped and content:
            at = len(content) // 2
            content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        async for piece in pieces_of(content[start:]):
            yield piece

    async def list(self, prefix: str = "") -> tuple[Entry, ...]:
        return tuple(entry for entry in await self._store.list(prefix) if entry.name not in self.hidden)

    async def delete(self, name: str) -> None:
        await self._store.delete(name)

    async def close(self) -> None:
        await self._store.close()


@asynccontextmanager
async def black_hole() -> AsyncGenerator[int]:
    """A port of loopback that takes connections and never answers."""
    writers: list[asyncio.StreamWriter] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while await reader.read(65_536):
            pass

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


def ssh_key() -> asyncssh.SSHKey:
    """A new Ed25519 key."""
    return cast("Any", asyncssh).generate_private_key("ssh-ed25519")


class SftpServer:
    """asyncssh's own server on loopback, over a folder. `known_hosts` pins its key. While it `is_full` it
    takes no byte more, and says so as a server on a full disk does."""

    def __init__(self, folder: Path) -> None:
        self.is_full = False
        self.root = folder / "served"
        self.root.mkdir()
        self.known_hosts = folder / "known_hosts"
        self.client_key = ssh_key()
        self._host_key = ssh_key()
        self._server: asyncssh.SSHAcceptor | None = None
        self._public = ""
        self.port = 0

    async def start(self) -> SftpPlace:
        def serve(channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
            return _Disk(self, channel)

        self._server = await asyncssh.create_server(
            self._guard(),
            "127.0.0.1",
            self.port,
            server_host_keys=[self._host_key],
            sftp_factory=serve,
        )
        self.port = self._server.get_port()
        public = self._host_key.export_public_key().decode().strip()
        self._public = public
        self.known_hosts.write_text(self.known_as(self.port))
        return SftpPlace("troth", "127.0.0.1", self.port, "/backups")

    def known_as(self, port: int) -> str:
        """The line of known_hosts for whoever reaches it through this port of loopback."""
        return f"[127.0.0.1]:{port} {self._public}\n"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def _guard(self) -> Callable[[], asyncssh.SSHServer]:
        known = self.client_key.export_public_key()

        class Guard(asyncssh.SSHServer):
            def begin_auth(self, username: str) -> bool:
                return True

            def password_auth_supported(self) -> bool:
                return True

            def validate_password(self, username: str, password: str) -> bool:
                return password == PASSWORD

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
                return key.export_public_key() == known

        return Guard


class _Disk(asyncssh.SFTPServer):
    """What the server writes to."""

    def __init__(self, server: SftpServer, channel: Any) -> None:
        cast("Any", super()).__init__(channel, chroot=str(server.root).encode())
        self._of = server

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        if self._of.is_full:
            raise asyncssh.SFTPFailure("No space left on device")
        return cast("int", super().write(file_obj, offset, data))
