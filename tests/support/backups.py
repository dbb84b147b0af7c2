"""Real backups in a store, made with nothing but PostgreSQL's tools and the documented layout."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from support.platform import Troth
from support.postgres import AS_OTHER_USER, Server
from troth.core.leader import DatabaseTarget
from troth.core.secret import Secret
from troth.data.archive import seal_stream
from troth.data.backups.fetching import object_context
from troth.data.backups.manifest import (
    WAL,
    Backup,
    StoredFile,
    data_name,
    encode_manifest,
    file_list_name,
    manifest_name,
    new_id,
)
from troth.data.backups.wal import SEGMENT_BYTES, read_lsn
from troth.data.postgres import find_binaries
from troth.data.roles import REPLICATOR, SUPERUSER
from troth.data.stores.store import Store

_REPLICATION = "hostssl replication all 127.0.0.1/32 cert clientcert=verify-full\n"
_SETTINGS = """
wal_level = replica
summarize_wal = on
max_wal_senders = 10
wal_keep_size = '2GB'
"""


class Origin(Protocol):
    """A running PostgreSQL as backups are taken from it."""

    @property
    def data(self) -> Path: ...

    @property
    def work(self) -> Path: ...

    def target(self, role: str) -> DatabaseTarget: ...


class OwnServer:
    """A test's own server, not initialised yet."""

    def __init__(self, server: Server) -> None:
        self.server = server

    @property
    def data(self) -> Path:
        return self.server.folder / "data"

    @property
    def work(self) -> Path:
        return self.server.folder

    def target(self, role: str) -> DatabaseTarget:
        return self.server.target(role)

    def start(self, settings: str = "") -> None:
        """Initialise and start the server, ready for base backups."""
        self.server.initialise()
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS + settings)
        with (self.data / "pg_hba.conf").open("a") as file:
            file.write(_REPLICATION)
        self.server.start()


class OnePlatform:
    """A platform with one member, which leads."""

    def __init__(self, running: Troth, work: Path) -> None:
        self._running = running
        self._work = work

    @property
    def data(self) -> Path:
        return self._running.state.members / "member-1" / "data"

    @property
    def work(self) -> Path:
        return self._work

    def target(self, role: str) -> DatabaseTarget:
        return self._running.database(role)


class BackedUp:
    """A server whose backups go to a store."""

    def __init__(self, origin: Origin, store: Store, key: Secret) -> None:
        self.origin, self.store, self.key = origin, store, key
        self._binaries = find_binaries(None)
        self._shipped: set[str] = set()

    @property
    def data(self) -> Path:
        return self.origin.data

    async def put(self, name: str, content: bytes) -> StoredFile:
        """Seal and store an object."""

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(content), 1 << 20):
                yield content[start : start + (1 << 20)]

        stored = await self.store.put(name, seal_stream(self.key, pieces(), object_context(name)))
        return StoredFile(name=name, size=stored.size, sha256=stored.sha256, plain=len(content))

    async def back_up(self, parent: Backup | None = None, digests: object = None) -> Backup:
        """One base backup, its log shipped, its manifest last."""
        now = datetime.now(UTC)
        identifier = new_id(now, os.urandom(4))
        folder = self.origin.work / f"base-{identifier}"
        await asyncio.to_thread(self._base_backup, folder, parent)
        tar, listed = (folder / "base.tar").read_bytes(), (folder / "backup_manifest").read_bytes()
        (described,) = msgspec.json.decode(listed)["WAL-Ranges"]
        files = (
            await self.put(data_name(identifier), tar),
            await self.put(file_list_name(identifier), listed),
        )
        await self.ship()
        backup = Backup(
            id=identifier,
            kind="incremental" if parent else "full",
            parent=parent.id if parent else None,
            system=str(msgspec.json.decode(listed).get("System-Identifier", "")),
            timeline=described["Timeline"],
            start_lsn=read_lsn(described["Start-LSN"]),
            stop_lsn=read_lsn(described["End-LSN"]),
            began=now,
            ended=datetime.now(UTC),
            member="member-1",
            postgres=self._binaries.version,
            troth="test",
            files=files,
        )
        await self.put(manifest_name(identifier), encode_manifest(backup))
        return backup

    async def ship(self) -> None:
        """Close the segment that is being written and store every one that is not in the store yet."""
        self.query("select pg_switch_wal()")
        await self._ship_before(self.query("select pg_walfile_name(pg_current_wal_insert_lsn())"))

    async def _ship_before(self, current: str) -> None:
        names = sorted(one.name for one in (self.data / "pg_wal").iterdir() if len(one.name) == 24)
        for name in names:
            if name < current and name not in self._shipped:
                await self.put(f"{WAL}{name}", (self.data / "pg_wal" / name).read_bytes())
                self._shipped.add(name)

    async def ship_piece(self) -> str:
        """Store what the segment that is being written holds, and those that others have closed meanwhile;
        returns its object."""
        query = "select l || ' ' || pg_walfile_name(l) from (select pg_current_wal_flush_lsn()) as now (l)"
        lsn, name = self.query(query).split()
        end = read_lsn(lsn) % SEGMENT_BYTES
        await self._ship_before(name)
        content = (self.data / "pg_wal" / name).read_bytes()[:end]
        stored = await self.put(f"{WAL}{name}.partial/{0:08x}-{end:08x}", content)
        return stored.name

    def query(self, statement: str, *, database: str = "postgres") -> str:
        """Run one statement with psql as the superuser."""
        return self._run("psql", "-XAtq", "-c", statement, database=database)

    def _base_backup(self, folder: Path, parent: Backup | None) -> None:
        more: tuple[str, ...] = ("--checkpoint=fast", "-X", "none", "-Ft", "-D", str(folder))
        if parent is not None:
            before = self.origin.work / f"base-{parent.id}" / "backup_manifest"
            more = (*more, f"--incremental={before}")
        self._run("pg_basebackup", *more, database="")

    def _run(self, program: str, *arguments: str, database: str) -> str:
        role = SUPERUSER if database else REPLICATOR
        target = self.origin.target(role)
        environment = {
            "PATH": "/usr/bin:/bin",
            "PGHOST": target.hosts[0].host,
            "PGPORT": str(target.hosts[0].port),
            "PGUSER": role,
            "PGSSLMODE": "verify-full",
            "PGSSLCERT": str(target.certificate),
            "PGSSLKEY": str(target.key),
            "PGSSLROOTCERT": str(target.ca),
            **({"PGDATABASE": database} if database else {}),
        }
        argv = [*AS_OTHER_USER, self._binaries.program(program), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()
