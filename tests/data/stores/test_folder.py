"""A folder as a store: whole objects or none, for the owner alone, and clear words when it cannot."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.stores import pieces_of, read_all
from troth.data.stores.folder import FolderStore
from troth.data.stores.opening import StoreSettings, open_store
from troth.data.stores.store import PIECE_BYTES, ObjectMissing, StoreError, check_name


@pytest.fixture
async def store(tmp_path: Path) -> FolderStore:
    return await FolderStore.open(tmp_path / "backups")


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_what_was_put_is_listed_and_read_back(store: FolderStore) -> None:
    content = os.urandom(2 * PIECE_BYTES + 17)
    stored = await store.put("base/one/data.tar", pieces_of(content))
    assert (stored.size, stored.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert [(entry.name, entry.size) for entry in await store.list()] == [("base/one/data.tar", len(content))]
    assert await read_all(store.get("base/one/data.tar")) == content
    assert await read_all(store.get("base/one/data.tar", start=PIECE_BYTES)) == content[PIECE_BYTES:]


async def test_pieces_are_bounded(store: FolderStore) -> None:
    await store.put("a", pieces_of(bytes(3 * PIECE_BYTES)))
    assert max([len(piece) async for piece in store.get("a")]) == PIECE_BYTES


async def test_a_list_holds_what_begins_with_the_prefix_in_order(store: FolderStore) -> None:
    for name in ("wal/2", "wal/1", "base/1", "walnut"):
        await store.put(name, pieces_of(b"x"))
    assert [entry.name for entry in await store.list("wal")] == ["wal/1", "wal/2", "walnut"]
    assert [entry.name for entry in await store.list("wal/")] == ["wal/1", "wal/2"]


async def test_a_failed_source_leaves_nothing(store: FolderStore, tmp_path: Path) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("the tool failed")

    with pytest.raises(RuntimeError, match="the tool failed"):
        await store.put("base/1", failing())
    assert await store.list() == ()
    assert not files_below(tmp_path)


async def test_a_cancelled_put_leaves_the_object_of_before(store: FolderStore, tmp_path: Path) -> None:
    await store.put("a", pieces_of(b"before"))
    started = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"half"
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.put("a", endless()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await read_all(store.get("a")) == b"before"
    assert [path.name for path in (tmp_path / "backups").iterdir()] == ["a"]


async def test_a_missing_object_says_so_and_deleting_it_is_no_error(store: FolderStore) -> None:
    with pytest.raises(ObjectMissing):
        await read_all(store.get("nothing"))
    await store.delete("nothing")


async def test_a_deleted_object_is_gone(store: FolderStore) -> None:
    await store.put("a", pieces_of(b"x"))
    await store.delete("a")
    assert await store.list() == ()


async def test_others_can_read_nothing(store: FolderStore, tmp_path: Path) -> None:
    await store.put("base/a", pieces_of(b"x"))
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "backups").rglob("*"))


async def test_only_old_leavings_of_killed_writers_are_swept(tmp_path: Path) -> None:
    old, young = tmp_path / ".a.0011", tmp_path / ".b.2233"
    for path in (old, young):
        path.write_bytes(b"half")
    day_before = time.time() - 90_000
    os.utime(old, (day_before, day_before))
    store = await FolderStore.open(tmp_path)
    assert (old.exists(), young.exists()) == (False, True)
    assert await store.list() == ()


async def test_an_unmounted_folder_is_no_empty_store(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "backups").rmdir()
    with pytest.raises(StoreError, match="is not there"):
        await store.list()


async def test_a_full_disk_is_told_in_words() -> None:
    store = await FolderStore.open(Path("/dev/shm") / f"troth-{os.getpid()}")
    try:
        store._root = Path("/proc")  # pyright: ignore[reportPrivateUsage]  no file can be made there
        with pytest.raises(StoreError, match="did not write") as caught:
            await store.put("a", pieces_of(b"x"))
        assert "disk" in caught.value.hint
    finally:
        (Path("/dev/shm") / f"troth-{os.getpid()}").rmdir()


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.b", ".a", "a b", "a\n", "ä", "a" * 513, "-a"]
)
async def test_a_name_that_could_leave_its_folder_is_refused(store: FolderStore, name: str) -> None:
    with pytest.raises(StoreError, match="no name for an object"):
        await store.put(name, pieces_of(b"x"))
    with pytest.raises(StoreError):
        check_name(name)


@pytest.mark.parametrize("url", ["file://host/a", "file:relative", "file:///", "ftp://host/a", "nonsense"])
async def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        await open_store(StoreSettings(url=url))
    assert caught.value.hint


async def test_a_folder_does_not_claim_to_lock(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot lock"):
        await open_store(StoreSettings(url=f"file://{tmp_path}", lock_days=7))
    store = await open_store(StoreSettings(url=f"file://{tmp_path}/kept"))
    assert store.place == f"folder {tmp_path}/kept"
