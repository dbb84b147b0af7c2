"""Taking one base backup: from the member through the sealed archive into the store, with bounded memory.

data              the tar of pg_basebackup, as it comes; stored only if the tool's exit status was 0
backup_manifest   PostgreSQL's list of the files, cut out of the tar while it went by
the log           waited for: up to where the backup is consistent, and to the point at which every table
                  was digested, it has to be in the store
manifest          last; whatever stops the work before leaves nothing that counts as a backup
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from troth.core.clock import Clock
from troth.core.errors import PlatformError, TrothError
from troth.core.process import Endpoint
from troth.data.backups.digests import Digests
from troth.data.backups.manifest import WAL, Backup, StoredFile, data_name, file_list_name, new_id
from troth.data.backups.planning import choose_log
from troth.data.backups.tar import BadTar, TarWatch
from troth.data.backups.tool import Access, Guard, ToolFailed, base_backup, output
from troth.data.backups.vault import Vault
from troth.data.backups.wal import read_lsn
from troth.data.stores.store import Unreachable

FILE_LIST = "backup_manifest"
FILE_LIST_BYTES = 1 << 30
"""PostgreSQL writes some 150 bytes for each file of at most 1 GiB."""

_PIECE = 1024 * 1024


class Member(msgspec.Struct, frozen=True):
    """A member that a backup can be taken from."""

    name: str
    endpoint: Endpoint


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The members, the one to be asked first at the beginning, and how to get at them."""

    members: Sequence[Member]
    access: Access
    guard: Guard
    system: str


class Progress(msgspec.Struct, frozen=True):
    """How far a backup has come: what is being done, and bytes of about how many in all (0: not known)."""

    step: str
    done: int = 0
    total: int = 0


Tell = Callable[[Progress], None]


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup needs besides its source. `shipped` returns once the log up to a position is in the
    store, and raises PlatformError when that takes too long; `receipts` is the digest of the receipts there
    are now; `size` the bytes that a full backup has, about; `digests` what every table holds, None when that
    cannot be had."""

    vault: Vault
    folder: Path
    clock: Clock
    version: str
    tell: Tell
    shipped: Callable[[int], Awaitable[None]]
    receipts: Callable[[], Awaitable[str]]
    size: Callable[[], Awaitable[int]]
    digests: Callable[[str], Awaitable[Digests | None]]


class _Range(
    msgspec.Struct, frozen=True, rename={"timeline": "Timeline", "start": "Start-LSN", "end": "End-LSN"}
):
    timeline: int
    start: str
    end: str


class FileList(msgspec.Struct, frozen=True):
    """What we read of PostgreSQL's `backup_manifest`, version 2."""

    system: int = msgspec.field(name="System-Identifier")
    ranges: tuple[_Range, ...] = msgspec.field(name="WAL-Ranges")


async def take(parent: Backup | None, source: Source, around: Surroundings) -> Backup:
    """Take a backup: a full one, or with `parent` an incremental one.

    One member after the other is asked: a standby may lack what an increment needs. Raises the last
    ToolFailed, StoreError, or PlatformError when the log does not arrive or has a gap; then nothing is left
    in the store that counts, and nothing at all if it can be deleted.
    """
    if not source.members:
        raise PlatformError("There is no member to take a backup from.")
    failure: ToolFailed | None = None
    for member in source.members:
        try:
            return await _take(parent, member, source, around)
        except ToolFailed as error:
            failure = error
    assert failure is not None
    raise failure


async def _take(parent: Backup | None, member: Member, source: Source, around: Surroundings) -> Backup:
    began = around.clock.now()
    identifier = new_id(began, os.urandom(4))
    folder = around.folder / identifier
    folder.mkdir(mode=0o700, parents=True)
    stored: list[str] = []
    try:
        receipts = await around.receipts()
        files = [await _store_data(identifier, parent, member, source, around, folder, stored)]
        around.tell(Progress("the list of its files"))
        stored.append(file_list_name(identifier))
        files.append(await around.vault.put(stored[-1], _read_file(folder / FILE_LIST)))
        listed = await asyncio.to_thread(_read_list, folder / FILE_LIST, source.system)
        last = listed.ranges[-1]
        around.tell(Progress("what every table holds"))
        digests = await around.digests(identifier)
        around.tell(Progress("the log up to its end"))
        stop = read_lsn(last.end)
        await around.shipped(max(stop, read_lsn(digests.lsn)) if digests else stop)
        backup = Backup(
            id=identifier,
            kind="incremental" if parent else "full",
            parent=parent.id if parent else None,
            system=source.system,
            timeline=last.timeline,
            start_lsn=min(read_lsn(one.start) for one in listed.ranges),
            stop_lsn=stop,
            began=began,
            ended=around.clock.now(),
            member=member.name,
            postgres=source.access.binaries.version,
            troth=around.version,
            files=tuple(files),
            receipts=receipts,
            digests=digests,
        )
        choose_log(backup, await around.vault.list(WAL))  # what was torn meanwhile does not count as shipped
        around.tell(Progress("its manifest"))
        await around.vault.put_manifest(backup)
    except BaseException as error:
        # Whoever stops us does not wait for a store, and one that is silent is not asked again.
        if not isinstance(error, asyncio.CancelledError | Unreachable):
            await _forget(around.vault, stored)
        raise
    finally:
        await asyncio.to_thread(_remove, folder)
    return backup


async def _store_data(
    identifier: str,
    parent: Backup | None,
    member: Member,
    source: Source,
    around: Surroundings,
    folder: Path,
    stored: list[str],
) -> StoredFile:
    before = folder / "parent"
    if parent is not None:
        await _fetch(around.vault, file_list_name(parent.id), before)
    command = base_backup(source.access, member.endpoint, before if parent else None)
    total = 0 if parent else await around.size()
    stored.append(data_name(identifier))
    with (folder / FILE_LIST).open("wb") as out:
        watch = TarWatch(FILE_LIST, out)
        tar = output(command, source.access.environment, source.guard)
        async with contextlib.aclosing(_watched(tar, watch, around.tell, total)) as pieces:
            return await around.vault.put(stored[-1], pieces)


async def _watched(
    tar: AsyncGenerator[bytes], watch: TarWatch, tell: Tell, total: int
) -> AsyncGenerator[bytes]:
    """The tar as it comes. Raises ToolFailed behind the last piece when it has no end, whatever the exit
    status said."""
    done = 0
    async with contextlib.aclosing(tar):
        async for piece in tar:
            try:
                watch.feed(piece)
            except BadTar as error:
                raise ToolFailed("pg_basebackup wrote something else than a tar.") from error
            done += len(piece)
            tell(Progress("the data", done, max(total, done) if total else 0))
            yield piece
    if not (watch.found and watch.complete):
        raise ToolFailed("pg_basebackup ended early: its tar has no end or no backup_manifest.")


async def _fetch(vault: Vault, name: str, path: Path) -> None:
    with path.open("wb") as out:
        async for piece in vault.pieces(name, limit=FILE_LIST_BYTES):
            await asyncio.to_thread(out.write, piece)


async def _read_file(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece


def _read_list(path: Path, system: str) -> FileList:
    try:
        listed = msgspec.json.decode(path.read_bytes(), type=FileList)
    except msgspec.MsgspecError as error:
        raise ToolFailed("The backup_manifest of pg_basebackup cannot be read.", detail=str(error)) from None
    if not listed.ranges or str(listed.system) != system:
        raise ToolFailed("pg_basebackup has copied another database than ours.")
    return msgspec.structs.replace(listed, ranges=tuple(sorted(listed.ranges, key=lambda one: one.timeline)))


async def _forget(vault: Vault, names: list[str]) -> None:
    """What cannot be deleted now is found later: without a manifest it is a leftover."""
    with contextlib.suppress(TrothError):
        for name in names:
            await vault.delete(name)


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
