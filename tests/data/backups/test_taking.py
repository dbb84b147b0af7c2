"""Base backups and the log of a real PostgreSQL, into a real store, and back into a running PostgreSQL."""

import itertools
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.replicas import Cluster
from support.vaults import GUARD, SLOT, Backups, running
from troth.data.backups.manifest import Backup, Piece, data_name, manifest_name
from troth.data.backups.tool import ToolFailed, output
from troth.data.backups.vault import Vault
from troth.data.backups.wal import PAGE_BYTES, SEGMENT_BYTES, Segment
from troth.data.stores.folder import FolderStore
from troth.data.stores.store import Stored, StoreError

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backups(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backups]:
    folder = tmp_path_factory.mktemp("backups")
    (folder / "cluster").mkdir()
    cluster = Cluster(folder / "cluster", members=1, slots=(SLOT,))
    store = await FolderStore.open(folder / "store")
    try:
        await cluster.start()
        await cluster.prepare()
        async with running(cluster, store, folder / "spool") as backups:
            await backups.superuser.execute("create table kept (number bigint primary key)")
            yield backups
    finally:
        await cluster.stop()


async def opened(backups: Backups, backup: Backup, folder: Path) -> Path:
    """The files of a backup, as they come out of the store."""
    tar = folder.with_suffix(".tar")
    with tar.open("wb") as out:
        async for piece in backups.vault.pieces(data_name(backup.id), limit=1 << 32):
            out.write(piece)
    with tarfile.open(tar) as archive:
        archive.extractall(folder, filter="data")
    return folder


def run(backups: Backups, program: str, *arguments: str) -> None:
    argv = [backups.access.binaries.program(program), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_a_full_backup_and_its_increment_are_put_together_and_verified(
    backups: Backups, tmp_path: Path
) -> None:
    await backups.superuser.execute("insert into kept select generate_series(1, 1000)")
    full = await backups.take()
    await backups.superuser.execute("insert into kept select generate_series(1001, 1100)")
    increment = await backups.take(full)
    assert (full.kind, increment.kind, increment.parent) == ("full", "incremental", full.id)
    assert increment.plain < full.plain / 2
    inventory = await backups.vault.inventory()
    assert inventory.catalogue.chain(increment) == (full, increment)
    assert not inventory.damaged
    first, second = (
        await opened(backups, full, tmp_path / "1"),
        await opened(backups, increment, tmp_path / "2"),
    )
    run(backups, "pg_combinebackup", "-o", str(tmp_path / "whole"), str(first), str(second))
    run(backups, "pg_verifybackup", "--no-parse-wal", str(tmp_path / "whole"))
    assert {one.step for one in backups.told} >= {"the data", "the log up to its end", "its manifest"}


async def test_nothing_in_the_store_can_be_read_without_the_key(backups: Backups) -> None:
    marker = "a-marker-that-stands-in-no-other-file"
    await backups.superuser.execute("create table marked (a text)")
    await backups.superuser.execute("insert into marked values ($1)", marker)
    await backups.superuser.execute("checkpoint")
    backup = await backups.take()
    await backups.caught_up()
    plain = b"".join([p async for p in backups.vault.pieces(data_name(backup.id), limit=1 << 32)])
    assert marker.encode() in plain
    for entry in await backups.store.list():
        sealed = b"".join([piece async for piece in backups.store.get(entry.name)])
        assert marker.encode() not in sealed


async def test_the_log_up_to_the_last_write_is_in_the_store_before_the_segment_is_whole(
    backups: Backups,
) -> None:
    await backups.superuser.execute("insert into kept values (20000)")
    lsn = await backups.caught_up()
    segment = Segment.at(1, lsn - 1)
    names = [entry.name for entry in await backups.vault.list(f"wal/{segment.name}.partial/")]
    pieces = sorted(piece for name in names if (piece := Piece.read(name)))
    assert pieces[0].start == 0
    assert segment.start + pieces[-1].end > lsn - PAGE_BYTES  # zeros at the end of a record are not stored
    assert all(after.start <= before.end for before, after in itertools.pairwise(pieces))
    member = backups.cluster.replicas.members[0]
    written = (member.data / "pg_wal" / segment.name).read_bytes()
    last = await backups.vault.read(pieces[-1].name, limit=SEGMENT_BYTES)
    assert last == written[pieces[-1].start : pieces[-1].end]
    assert not any(written[pieces[-1].end : lsn - segment.start])


async def test_a_whole_segment_takes_the_place_of_its_pieces(backups: Backups) -> None:
    lsn = await backups.caught_up()
    segment = Segment.at(1, lsn - 1)
    await backups.superuser.fetchval("select pg_switch_wal()::text")
    await backups.superuser.execute("insert into kept values (20001)")
    await backups.caught_up()
    names = {entry.name for entry in await backups.vault.list("wal/")}
    assert f"wal/{segment.name}" in names
    assert not {name for name in names if name.startswith(f"wal/{segment.name}.partial")}


async def test_a_receiver_that_was_killed_begins_anew_without_a_gap(backups: Backups) -> None:
    await backups.superuser.execute("insert into kept values (20002)")
    backups.kill_receiver()
    await backups.superuser.execute("insert into kept values (20003)")
    await backups.superuser.fetchval("select pg_switch_wal()::text")
    lsn = await backups.caught_up()
    names = {entry.name for entry in await backups.vault.list("wal/")}
    whole = sorted(number.number for name in names if (number := Segment.read(name.removeprefix("wal/"))))
    assert whole == list(range(whole[0], whole[-1] + 1))
    assert whole[-1] >= Segment.at(1, lsn - 1).number - 1


class Failing:
    """A store that breaks at the n-th object, after some of its bytes."""

    def __init__(self, store: FolderStore, at: int) -> None:
        self._store, self._left = store, at
        self.place = store.place
        self.get, self.list, self.delete, self.close = store.get, store.list, store.delete, store.close

    async def put(self, name: str, pieces: AsyncIterator[bytes]) -> Stored:
        self._left -= 1
        if self._left:
            return await self._store.put(name, pieces)

        async def broken() -> AsyncIterator[bytes]:
            async for piece in pieces:
                yield piece[:1000]
                break
            raise StoreError("The store is full.")

        return await self._store.put(name, broken())


@pytest.mark.parametrize("at", [1, 2, 3], ids=["data", "list", "manifest"])
async def test_a_backup_that_breaks_off_at_any_object_leaves_nothing(backups: Backups, at: int) -> None:
    assert isinstance(backups.store, FolderStore)
    before = await backups.store.list("base/")
    with pytest.raises(StoreError, match="full"):
        await backups.take(store=Failing(backups.store, at))
    assert await backups.store.list("base/") == before
    assert not [path for path in backups.folder.iterdir() if path.is_dir() and "Z-" in path.name]


async def test_a_tool_that_fails_stores_nothing_however_much_it_wrote(backups: Backups) -> None:
    script = ("/bin/sh", "-c", "head -c 3000000 /dev/zero; echo 'pg_basebackup: error: cut' >&2; exit 1")
    with pytest.raises(ToolFailed, match="error: cut"):
        await backups.vault.put("base/x/data", output(script, backups.access.environment, GUARD))
    assert not await backups.store.list("base/x")


async def test_a_backup_that_is_stopped_ends_its_tool(backups: Backups) -> None:
    script = ("/bin/sh", "-c", "echo $$; exec sleep 600")
    pieces = output(script, backups.access.environment, GUARD)
    pid = int(await anext(pieces))
    await pieces.aclose()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_backup_whose_data_was_deleted_is_none_and_neither_is_what_builds_on_it(
    backups: Backups,
) -> None:
    full = await backups.take()
    increment = await backups.take(full)
    await backups.store.delete(data_name(full.id))
    inventory = await Vault(backups.store, backups.key).inventory()
    assert inventory.damaged == (full.id,)
    assert inventory.catalogue.get(full.id) is None
    assert increment not in inventory.catalogue.restorable
    await backups.store.delete(manifest_name(full.id))
    await backups.store.delete(manifest_name(increment.id))


async def test_memory_does_not_grow_with_the_tar(backups: Backups) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b"x" * (1 << 20)

    before = _resident()
    stored = await backups.vault.put("base/big/data", pieces())
    assert stored.plain == 300 << 20
    assert _resident() - before < 100 << 20
    await backups.store.delete("base/big/data")


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
