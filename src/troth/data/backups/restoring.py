"""From a plan to a data folder that has been checked, and on to the state that was asked for.

    fetch and open   each base backup of the chain, from the store alone; SHA-256 of the whole object, then
    every
                     chunk's own seal, then the tar
    combine          pg_combinebackup, when there are increments
    verify           pg_verifybackup: every file against PostgreSQL's own list
    recover          replay the write-ahead log, served by a resident, to the target

Each step's result appears under its name complete or not at all, so that a restore that was killed goes on
with the step it was in; what had arrived of an object by then is not fetched again.
"""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from troth.core.errors import PlatformError
from troth.data.backups.fetching import Objects, log_fetcher
from troth.data.backups.manifest import Backup, StoredFile, data_name, file_list_name
from troth.data.backups.planning import Plan
from troth.data.backups.recovering import Recovery, Start, program, run_program
from troth.data.backups.scratch import Scratch
from troth.data.backups.unpacking import unpack
from troth.data.backups.wal_server import WalServer
from troth.data.postgres import Binaries

FILE_LIST = "backup_manifest"
"""PostgreSQL's list of a backup's files with their checksums."""

_LIST_BYTES = 1 << 30
_MEBIBYTE = 1024 * 1024

Tell = Callable[[str, float], None]
"""Is told what is being done, and how much of it is done: 0 to 1."""


class Workplace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a restore works. `root` is its own folder; `sockets` that of short names, the owner's alone."""

    root: Path
    sockets: Path
    log: Path
    binaries: Binaries
    durable: bool

    @property
    def data(self) -> Path:
        """PostgreSQL's folder, once it is complete."""
        return self.root / "data"

    def opened(self, backup: Backup) -> Path:
        """A base backup, once all of it was opened."""
        return self.root / f"opened-{backup.id}"

    def arriving(self, file: StoredFile) -> Path:
        """What has arrived of an object, sealed."""
        return self.root / f"arriving-{file.name.replace('/', '-')}"

    @property
    def verified(self) -> Path:
        """There once `data` was verified."""
        return self.root / "verified"

    @property
    def scratch(self) -> Scratch:
        """The server on `data`."""
        return Scratch(
            binaries=self.binaries,
            data=self.data,
            folder=self.root / "server",
            sockets=self.sockets,
            log=self.log,
            durable=self.durable,
        )


def check_space(plan: Plan, folder: Path, free: int) -> None:
    """Raises PlatformError when the disk of `folder`, which has `free` bytes left, is too small for the
    plan."""
    if free < plan.disk:
        raise PlatformError(
            f"The disk of {folder} has {free // _MEBIBYTE} MiB left; this restore needs "
            f"{-(-plan.disk // _MEBIBYTE)} MiB.",
            hint="Free some space, or restore into a folder on another disk: --state FOLDER",
        )


class Restoring:
    """One restore in one workplace."""

    def __init__(self, start: Start, objects: Objects, workplace: Workplace, tell: Tell) -> None:
        self._start = start
        self._objects = objects
        self._place = workplace
        self._tell = tell

    async def bring(self, plan: Plan) -> None:
        """Have `workplace.data` there and verified. Raises Damaged, StoreError or PlatformError; called
        again, it goes on where it was."""
        place = self._place
        self._begin(plan)
        if not place.data.exists():
            present = sum(_size(place.opened(one)) for one in plan.chain)
            check_space(plan, place.root, shutil.disk_usage(place.root).free + present)
            for number, backup in enumerate(plan.chain, start=1):
                await self._open(backup, f"base backup {number} of {len(plan.chain)}")
            await self._combine(plan)
        if not place.verified.exists():
            await self._verify()

    def recovery(self, plan: Plan) -> tuple[Recovery, WalServer]:
        """The recovery of what `bring` brought, and the resident that serves the log to it."""
        place = self._place
        server = WalServer(
            log_fetcher(self._objects, plan.log.files),
            [file.segment.name for file in plan.log.files],
            frozenset(f"{timeline:08X}.history" for timeline in plan.log.histories),
            data=place.data,
            spool=place.root / "wal",
            told=lambda done: self._tell("replaying the log", done),
        )
        return Recovery(self._start, place.scratch, server), server

    def _begin(self, plan: Plan) -> None:
        """Go on with what belongs to this plan; anything else that lies here is of another restore."""
        note = self._place.root / "plan"
        wanted = msgspec.json.encode({"chain": [one.id for one in plan.chain], "moment": plan.moment})
        if self._place.root.exists() and (not note.exists() or note.read_bytes() != wanted):
            shutil.rmtree(self._place.root)
        self._place.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        note.write_bytes(wanted)

    async def _open(self, backup: Backup, title: str) -> None:
        opened = self._place.opened(backup)
        if opened.exists():
            return
        partial = opened.with_name(f"partial-{backup.id}")
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(mode=0o700)
        files = {file.name: file for file in backup.files}
        await self._unpack(files[data_name(backup.id)], partial, f"fetching {title}")
        if not (partial / FILE_LIST).exists():
            await self._lay_down(files[file_list_name(backup.id)], partial / FILE_LIST)
        partial.replace(opened)

    async def _unpack(self, file: StoredFile, folder: Path, title: str) -> None:
        done = 0

        def count(size: int) -> None:
            nonlocal done
            done += size
            self._tell(title, done / file.size)

        await unpack(self._objects.stream(file, self._place.arriving(file), count), folder)

    async def _lay_down(self, file: StoredFile, path: Path) -> None:
        with path.open("wb") as out:
            async for piece in self._objects.stream(file, self._place.arriving(file), lambda _: None):
                out.write(piece)

    async def _combine(self, plan: Plan) -> None:
        place = self._place
        folders = [place.opened(one) for one in plan.chain]
        if len(folders) == 1:
            folders[0].replace(place.data)
            return
        self._tell("combining the increments", 0.0)
        combining = place.root / "combining"
        if combining.exists():
            shutil.rmtree(combining)
        # Synced once, after verifying, when it has to be.
        await self._program("pg_combinebackup", "--no-sync", "-o", str(combining), *map(str, folders))
        combining.replace(place.data)
        for folder in folders:
            shutil.rmtree(folder)

    async def _verify(self) -> None:
        """Every file against PostgreSQL's list, while what was unpacked goes to the disk."""
        place = self._place
        self._tell("verifying every file", 0.0)
        _refuse_tablespaces(place.data)
        # The log is not among the files of a base backup; it is checked as it is replayed.
        for name in ("pg_wal", "pg_wal/archive_status"):
            (place.data / name).mkdir(mode=0o700, exist_ok=True)
        place.data.chmod(0o700)
        syncing = asyncio.create_task(self._sync())
        try:
            await self._program(
                "pg_verifybackup", "--no-parse-wal", "--exit-on-error", "--quiet", str(place.data)
            )
            await syncing
        finally:
            syncing.cancel()
            await asyncio.gather(syncing, return_exceptions=True)
        place.verified.write_bytes(b"")

    async def _sync(self) -> None:
        """By the file system as a whole: a thousand files one after the other take longer than all else."""
        if self._place.durable:
            await self._program("initdb", "--sync-only", "--sync-method=syncfs", "-D", str(self._place.data))

    async def _program(self, name: str, *arguments: str) -> None:
        place = self._place
        spec = program(place.binaries, name, *arguments, folder=place.root, log=place.log)
        await run_program(self._start, spec)


def _refuse_tablespaces(data: Path) -> None:
    """A link out of the folder would have the server write there."""
    if any((data / "pg_tblspc").iterdir()):
        raise PlatformError(
            "The base backup has tablespaces outside its folder, which a restore cannot place."
        )


def _size(folder: Path) -> int:
    """Bytes on the disk below a folder; 0 when there is none."""
    return sum(
        os.lstat(Path(place, name)).st_blocks * 512 for place, _, names in os.walk(folder) for name in names
    )
