"""The backup store as backups use it: every object sealed to its name, every backup known by its manifest."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from troth.core.secret import Secret
from troth.data.archive import batches, context_of, open_stream, seal_stream
from troth.data.backups.manifest import (
    BASE,
    MANIFEST_BYTES,
    Backup,
    BadManifest,
    Catalogue,
    StoredFile,
    arrange,
    decode_manifest,
    encode_manifest,
    id_in,
    manifest_name,
)
from troth.data.sealing import SealError
from troth.data.stores.store import Entry, ObjectMissing, Store, Stored, StoreError, Unreachable

_AHEAD = 4
"""Pieces that wait between two stages, so that reading, sealing and sending overlap: of 4 MiB before they are
sealed (a pipe gives them in much smaller ones, of which four would be no supply), of 1 MiB behind."""


class PartOfStore:
    """A store in which every name begins with `prefix`: one platform's part of it.

    The prefix is the public fingerprint of the recovery key. Whoever begins anew with another key cannot
    overwrite, or trip over, what was sealed under the one before.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = f"{prefix}/"

    @property
    def place(self) -> str:
        return self._store.place

    async def put(self, name: str, pieces: AsyncIterator[bytes]) -> Stored:
        return await self._store.put(self._prefix + name, pieces)

    def get(self, name: str, start: int = 0) -> AsyncIterator[bytes]:
        return self._store.get(self._prefix + name, start)

    async def list(self, prefix: str = "") -> tuple[Entry, ...]:
        entries = await self._store.list(self._prefix + prefix)
        return tuple(
            msgspec.structs.replace(entry, name=entry.name.removeprefix(self._prefix)) for entry in entries
        )

    async def delete(self, name: str) -> None:
        await self._store.delete(self._prefix + name)

    async def close(self) -> None:
        await self._store.close()


class Inventory(msgspec.Struct, frozen=True):
    """What lies in the store. `damaged` are backups whose manifest does not open or whose objects are gone or
    of another size: they count as none, and whatever builds on them does not either."""

    catalogue: Catalogue
    damaged: tuple[str, ...] = ()


class Vault:
    """Puts and reads sealed objects. Raises StoreError for the store and SealError for what does not open."""

    def __init__(self, store: Store, key: Secret) -> None:
        self._store = store
        self._key = key
        self._known: dict[str, Backup] = {}

    @property
    def place(self) -> str:
        """Where the store is, for a person."""
        return self._store.place

    async def put(self, name: str, pieces: AsyncIterator[bytes]) -> StoredFile:
        """Seal and store: complete or not at all. An error of `pieces` comes out as it is, and then there is
        no object."""
        plain = 0

        async def counted() -> AsyncGenerator[bytes]:
            nonlocal plain
            async for piece in pieces:
                plain += len(piece)
                yield piece

        async with (
            contextlib.aclosing(ahead(batches(counted()))) as read,
            contextlib.aclosing(ahead(seal_stream(self._key, read, context_of("backup", name)))) as sealed,
        ):
            stored = await self._store.put(name, sealed)
        return StoredFile(name=name, size=stored.size, sha256=stored.sha256, plain=plain)

    async def put_bytes(self, name: str, body: bytes) -> StoredFile:
        """Seal and store what is at hand."""
        return await self.put(name, _once(body))

    async def put_manifest(self, backup: Backup) -> None:
        """From now on it is a backup."""
        await self.put_bytes(manifest_name(backup.id), encode_manifest(backup))
        self._known[backup.id] = backup

    def pieces(self, name: str, *, limit: int) -> AsyncIterator[bytes]:
        """An object, opened; it counts once the iteration has come to its end."""
        return open_stream(self._key, self._store.get(name), context_of("backup", name), limit=limit)

    async def read(self, name: str, *, limit: int) -> bytes:
        """A small object as a whole."""
        return b"".join([piece async for piece in self.pieces(name, limit=limit)])

    async def list(self, prefix: str) -> tuple[Entry, ...]:
        """The objects below `prefix`, in the order of their names."""
        return await self._store.list(prefix)

    async def delete(self, name: str) -> None:
        """Delete an object; raises StoreError while the store has locked it."""
        await self._store.delete(name)

    async def delete_if_free(self, name: str) -> bool:
        """Delete an object unless the store refuses, as it does while it is locked; whether it is gone."""
        try:
            await self._store.delete(name)
        except Unreachable:
            raise
        except StoreError:
            return False
        return True

    async def inventory(self) -> Inventory:
        """Every backup there is. Each manifest is read once; whether its objects are there is looked at
        every time."""
        entries = {entry.name: entry.size for entry in await self._store.list(BASE)}
        found: list[Backup] = []
        damaged: list[str] = []
        for name in entries:
            identifier = id_in(name)
            if identifier is None or name != manifest_name(identifier):
                continue
            backup = await self._manifest(identifier)
            if backup is None or any(entries.get(file.name) != file.size for file in backup.files):
                damaged.append(identifier)
            else:
                found.append(backup)
        catalogue = arrange(found, [name for name in entries if id_in(name) not in damaged])
        return Inventory(catalogue, tuple(damaged))

    async def _manifest(self, identifier: str) -> Backup | None:
        if identifier not in self._known:
            try:
                body = await self.read(manifest_name(identifier), limit=MANIFEST_BYTES)
                self._known[identifier] = decode_manifest(body, identifier)
            except (SealError, BadManifest, ObjectMissing):
                return None
        return self._known[identifier]


async def ahead(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """The same pieces, fetched while those before are being dealt with; a few at most wait."""
    queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(_AHEAD)

    async def fetch() -> None:
        try:
            async for piece in pieces:
                await queue.put(piece)
        except Exception as error:  # noqa: BLE001 - raised where the pieces are used
            await queue.put(error)
        else:
            await queue.put(None)

    task = asyncio.create_task(fetch())
    try:
        while (got := await queue.get()) is not None:
            if isinstance(got, BaseException):
                raise got
            yield got
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _once(body: bytes) -> AsyncGenerator[bytes]:
    yield body
