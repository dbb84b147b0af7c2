"""A store on a machine that speaks SFTP: the host's key is pinned, and a name appears by rename."""

import asyncio
import posixpath
import secrets
import stat
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncssh
import msgspec

from troth.core.secret import Secret
from troth.data.stores.bandwidth import Throttle
from troth.data.stores.credentials import is_private_key
from troth.data.stores.store import (
    PIECE_BYTES,
    Entry,
    ObjectMissing,
    Stored,
    StoreError,
    Tally,
    Unreachable,
    check_name,
)
from troth.data.stores.waiting import Patience, retried, unreachable, within

T = TypeVar("T")

ABANDONED_SECONDS: Final = 86_400.0
_BLOCK: Final = 64 * 1024
_DEEPEST: Final = 16
"""Folders in folders; a server that lies about links must not send the list in circles."""


class _Unsupported(StoreError):
    """The server does not have this operation."""


class SftpPlace(msgspec.Struct, frozen=True):
    """Whom to reach, and the folder there."""

    user: str
    host: str
    port: int
    folder: str


class SftpStore:
    """One connection, made anew when it was lost."""

    def __init__(
        self,
        place: SftpPlace,
        credentials: Secret,
        known_hosts: Path,
        *,
        patience: Patience,
        throttle: Throttle,
    ) -> None:
        self._place = place
        self._credentials = credentials
        self._known_hosts = known_hosts
        self._patience = patience
        self._throttle = throttle
        self._connecting = asyncio.Lock()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._client: asyncssh.SFTPClient | None = None

    @classmethod
    async def open(
        cls,
        place: SftpPlace,
        credentials: Secret,
        known_hosts: Path,
        *,
        patience: Patience | None = None,
        throttle: Throttle | None = None,
    ) -> "SftpStore":
        """Reach the folder, make it where it is missing, and sweep what killed writers have left."""
        store = cls(
            place,
            credentials,
            known_hosts,
            patience=patience or Patience(),
            throttle=throttle or Throttle(0),
        )
        try:
            await store._prepare()
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def place(self) -> str:
        return f"SFTP server {self._place.host}, folder {self._place.folder}"

    async def put(self, name: str, pieces: AsyncIterator[bytes]) -> Stored:
        path = self._path(name)
        temporary = posixpath.join(
            posixpath.dirname(path), f".{posixpath.basename(path)[:200]}.{secrets.token_hex(8)}"
        )
        client = await self._connected()
        await self._ask(name, client.makedirs(posixpath.dirname(path), exist_ok=True))
        tally = Tally()
        try:
            attributes = asyncssh.SFTPAttrs(permissions=0o600)
            file = await self._ask(name, client.open(temporary, "xb", attributes, block_size=_BLOCK))
            try:
                async for piece in pieces:
                    tally.add(piece)
                    await self._write(name, file, piece)
                await self._sync(name, file)
            finally:
                await self._close(name, file)
            await self._check_size(name, client, temporary, tally.stored().size)
            await self._ask(name, client.posix_rename(temporary, path))
        except BaseException:
            await asyncio.shield(self._discard(client, temporary))
            raise
        return tally.stored()

    async def get(self, name: str, start: int = 0) -> AsyncIterator[bytes]:
        client = await self._connected()
        file = await self._ask(name, client.open(self._path(name), "rb", block_size=_BLOCK))
        try:
            at = start
            while piece := await self._ask(name, _read_at(file, at)):
                at += len(piece)
                yield piece
        finally:
            await self._close(name, file)

    async def list(self, prefix: str = "") -> tuple[Entry, ...]:
        client = await self._connected()
        return tuple(sorted([entry async for entry in self._walk(client, "", prefix)]))

    async def delete(self, name: str) -> None:
        client = await self._connected()
        with suppress(ObjectMissing):
            await self._ask(name, client.remove(self._path(name)))

    async def close(self) -> None:
        connection, self._connection, self._client = self._connection, None, None
        if connection is not None:
            connection.abort()
            with suppress(Unreachable):
                await within(self._patience, self.place, connection.wait_closed())

    def _path(self, name: str) -> str:
        return posixpath.join(self._place.folder, check_name(name))

    async def _connected(self) -> asyncssh.SFTPClient:
        async with self._connecting:
            if self._client is None or self._connection is None or self._connection.is_closed():
                await self.close()
                await retried(self._patience, self._connect)
            assert self._client is not None
            return self._client

    async def _connect(self) -> None:
        """Only the key in the known_hosts file is taken: whoever stands in the way learns nothing."""
        self._connection = await self._ask("", self._shake_hands())
        self._client = await self._ask("", self._connection.start_sftp_client())

    async def _shake_hands(self) -> asyncssh.SSHClientConnection:
        options: dict[str, Any] = {}
        if is_private_key(self._credentials):
            options["client_keys"] = [asyncssh.import_private_key(self._credentials.reveal())]
        else:
            options["password"] = self._credentials.reveal().decode().strip("\r\n")
            options["client_keys"] = None
        return await asyncssh.connect(
            self._place.host,
            self._place.port,
            username=self._place.user,
            known_hosts=str(self._known_hosts),
            config=None,
            agent_path=None,
            keepalive_interval=self._patience.seconds / 2,
            keepalive_count_max=2,
            connect_timeout=self._patience.seconds,
            login_timeout=self._patience.seconds,
            **options,
        )

    async def _ask(self, name: str, work: Awaitable[T]) -> T:
        """What the server answers, in time, and its errors in words."""
        what = f"The {self.place}"
        try:
            return await within(self._patience, what, work)
        except asyncssh.SFTPNoSuchFile:
            raise ObjectMissing(
                f"There is no {name} in the {self.place}.", hint="See: troth backup list"
            ) from None
        except asyncssh.SFTPOpUnsupported as error:
            raise _Unsupported(f"{what} cannot do this: {error.reason[:200]}.") from None
        except asyncssh.SFTPConnectionLost as error:
            raise unreachable(what, error.reason[:200]) from None
        except asyncssh.SFTPError as error:
            raise StoreError(
                f"{what}: {error.reason[:200]}.", hint="Look at its disk and its rights."
            ) from None
        except asyncssh.HostKeyNotVerifiable:
            raise StoreError(
                f"{what} shows a key that is not in {self._known_hosts}.",
                hint="Compare it with its administrator. Nothing was sent, no password either.",
            ) from None
        except asyncssh.PermissionDenied:
            raise StoreError(
                f"{what} does not let {self._place.user} in.", hint="Correct what [backup] credentials names."
            ) from None
        except asyncssh.KeyImportError:
            raise StoreError(
                "The SSH key in [backup] credentials cannot be read.", hint="Take one without a passphrase."
            ) from None
        except (OSError, asyncssh.Error) as error:
            raise unreachable(what, str(error)[:200] or type(error).__name__) from None

    async def _write(self, name: str, file: asyncssh.SFTPClientFile, piece: bytes) -> None:
        for at in range(0, len(piece), PIECE_BYTES):
            part = piece[at : at + PIECE_BYTES]
            await self._throttle.passing(len(part))
            await self._ask(name, file.write(part))

    async def _sync(self, name: str, file: asyncssh.SFTPClientFile) -> None:
        """fsync@openssh.com, where the server has it."""
        with suppress(_Unsupported):
            await self._ask(name, file.fsync())

    async def _close(self, name: str, file: asyncssh.SFTPClientFile) -> None:
        with suppress(StoreError):
            await self._ask(name, file.close())

    async def _check_size(self, name: str, client: asyncssh.SFTPClient, path: str, size: int) -> None:
        """Before it gets its name: a full disk is not an error to every server."""
        found = (await self._ask(name, client.stat(path))).size
        if found != size:
            raise StoreError(
                f"The {self.place} has {found} of {size} bytes of {name}.",
                hint="Look whether its disk is full.",
            )

    async def _discard(self, client: asyncssh.SFTPClient, path: str) -> None:
        with suppress(StoreError):
            await self._ask(path, client.remove(path))

    async def _prepare(self) -> None:
        client = await self._connected()
        await self._ask("", client.makedirs(self._place.folder, exist_ok=True))
        now = time.time()
        async for folder, entry in self._entries(client, ""):
            name, attributes = _text(entry.filename), entry.attrs
            old = now - (attributes.mtime or now) > ABANDONED_SECONDS
            if name.startswith(".") and old and stat.S_ISREG(attributes.permissions or 0):
                await self._discard(client, posixpath.join(self._place.folder, folder, name))

    async def _walk(self, client: asyncssh.SFTPClient, folder: str, prefix: str) -> AsyncIterator[Entry]:
        async for inner, entry in self._entries(client, folder):
            name = posixpath.join(inner, _text(entry.filename))
            attributes = entry.attrs
            hidden = _text(entry.filename).startswith(".")
            if stat.S_ISREG(attributes.permissions or 0) and not hidden and name.startswith(prefix):
                yield Entry(name, attributes.size or 0, float(attributes.mtime or 0))

    async def _entries(
        self, client: asyncssh.SFTPClient, folder: str, depth: int = 0
    ) -> AsyncIterator[tuple[str, asyncssh.SFTPName]]:
        """Every file below, with the folder it lies in; no link is followed."""
        for entry in await self._ask(folder, client.readdir(posixpath.join(self._place.folder, folder))):
            name = _text(entry.filename)
            if name in (".", "..") or "/" in name:
                continue
            if stat.S_ISDIR(entry.attrs.permissions or 0) and depth < _DEEPEST:
                async for below in self._entries(client, posixpath.join(folder, name), depth + 1):
                    yield below
            else:
                yield folder, entry


async def _read_at(file: Any, at: int) -> bytes:
    return await file.read(PIECE_BYTES, at)


def _text(name: bytes | str) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name
