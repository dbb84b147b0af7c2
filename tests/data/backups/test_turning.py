"""Turning the epoch of the keys: cut short anywhere, everything opens; nothing is lost with the old one."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import msgspec
import pytest
from asyncpg import InsufficientPrivilegeError

from support.postgres import Tenant, new_tenant
from support.stores import LyingStore
from support.waiting import until_answered
from troth.core.db import Database
from troth.core.errors import PlatformError
from troth.core.secret import Secret, write_secret
from troth.data.backups.drilling import ScratchDatabase
from troth.data.backups.kept_keys import KEYS, KeptKeys, gather, keep, lay_down, read_kept
from troth.data.backups.replacing import replace_keys
from troth.data.backups.turning import Ring, drop_outlived, end_older, keep_keys, turn_epoch
from troth.data.epochs import (
    FIRST,
    EpochFolder,
    Epochs,
    begin_first,
    ended,
    folder_beside,
    held,
    newest_in,
    numbers,
    open_epochs,
)
from troth.data.keys import KeyRing, Sealer, Wraps, read_root_key, wrapping
from troth.data.sealing import SealError, read_header
from troth.data.stores.folder import FolderStore
from troth.data.stores.store import Entry, Store, Stored, StoreError

KEY = Secret(b"k" * 32)
STEPS = ("prepared", "kept", "used", "refused", "wrapped", "destroyed")


class CutShort(Exception):
    """The keeper was killed."""


class Undone(Exception):
    """What was done to the copy is forgotten."""


@pytest.fixture
async def store(tmp_path: Path) -> FolderStore:
    return await FolderStore.open(tmp_path / "store")


@pytest.fixture
def root_key(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "root.key"
    path.parent.mkdir(mode=0o700)
    write_secret(path, os.urandom(32))
    begin_first(folder_beside(path))
    return path


@pytest.fixture
async def ring(owner_database: Database, root_key: Path, store: FolderStore) -> AsyncIterator[Ring]:
    yield Ring(root_key=root_key, owner=owner_database, store=store, key=KEY, now=lambda: datetime.now(UTC))
    # The database is that of other tests too, whose keys are of the first epoch.
    await owner_database.execute("update troth.key_epoch set oldest = 1")


def sealer(database: Database, root_key: Path) -> Sealer:
    """A process that has just started."""
    return Sealer(KeyRing(database, open_epochs(root_key)))


async def epochs_of(owner: Database, tenant: Tenant) -> set[int]:
    rows = await owner.fetch("select wrapped from troth.tenant_key where tenant_id = $1", tenant.id)
    return {read_header(bytes(row["wrapped"])).key_version for row in rows}


@asynccontextmanager
async def restored(ring: Ring, database: Database, folder: Path) -> AsyncGenerator[Sealer]:
    """What an empty machine has: the newest keys in the store, and the database as it is now."""
    kept = await read_kept(ring.store, ring.key)
    assert kept is not None
    await asyncio.to_thread(folder.mkdir, mode=0o700)
    lay_down(kept, folder)
    with pytest.raises(Undone):
        async with database.transaction() as connection:
            copy = ScratchDatabase(cast("Any", connection))
            await replace_keys(copy, kept)
            yield Sealer(KeyRing(copy, open_epochs(folder / "root.key")))
            raise Undone


async def test_a_new_platform_wraps_under_an_epoch_and_the_root_key_alone_opens_nothing(
    database: Database, owner_database: Database, tenant: Tenant, root_key: Path
) -> None:
    sealed = await sealer(database, root_key).seal(tenant.id, "p", b"data", b"")
    assert await epochs_of(owner_database, tenant) == {FIRST}
    assert await sealer(database, root_key).open(tenant.id, "p", sealed, b"") == b"data"
    with pytest.raises(SealError):
        await Sealer(KeyRing(database, read_root_key(root_key))).open(tenant.id, "p", sealed, b"")


async def test_keys_of_before_there_were_epochs_open_and_move(
    database: Database, owner_database: Database, tenant: Tenant, ring: Ring
) -> None:
    alone = Sealer(KeyRing(database, read_root_key(ring.root_key)))
    sealed = await alone.seal(tenant.id, "p", b"data", b"")
    assert await epochs_of(owner_database, tenant) == {1}
    turned = await turn_epoch(ring)
    assert await epochs_of(owner_database, tenant) == {turned.epoch}
    assert turned.destroyed == (FIRST,)
    assert await sealer(database, ring.root_key).open(tenant.id, "p", sealed, b"") == b"data"


@pytest.mark.parametrize("step", STEPS)
async def test_a_turn_killed_after_any_step_leaves_everything_readable_and_goes_on(
    database: Database, owner_database: Database, tenant: Tenant, ring: Ring, tmp_path: Path, step: str
) -> None:
    running = sealer(database, ring.root_key)
    sealed = await running.seal(tenant.id, "p", b"data", b"")
    await keep_keys(ring)

    def cut(reached: str) -> None:
        if reached == step:
            raise CutShort(reached)

    with pytest.raises(CutShort):
        await turn_epoch(msgspec.structs.replace(ring, reached=cut))
    young = await new_tenant(owner_database)
    youngs = await sealer(database, ring.root_key).seal(young.id, "p", b"young", b"")
    for reader in (running, sealer(database, ring.root_key)):
        assert await reader.open(tenant.id, "p", sealed, b"") == b"data"
        assert await reader.open(young.id, "p", youngs, b"") == b"young"
    async with restored(ring, owner_database, tmp_path / "lost-now") as machine:
        assert await machine.open(tenant.id, "p", sealed, b"") == b"data"
        assert await machine.open(young.id, "p", youngs, b"") == b"young"

    turned = await (end_older(ring) if ended(folder_beside(ring.root_key)) else turn_epoch(ring))
    assert not ended(folder_beside(ring.root_key))
    assert (
        await epochs_of(owner_database, tenant) == {turned.epoch} == {newest_in(folder_beside(ring.root_key))}
    )
    async with restored(ring, owner_database, tmp_path / "lost-later") as machine:
        for reader in (sealer(database, ring.root_key), machine):
            assert await reader.open(tenant.id, "p", sealed, b"") == b"data"
            assert await reader.open(young.id, "p", youngs, b"") == b"young"


async def test_an_old_backup_does_not_open_the_data_of_an_erased_tenant(
    database: Database, owner_database: Database, ring: Ring, tmp_path: Path
) -> None:
    erased, living = await new_tenant(owner_database), await new_tenant(owner_database)
    running = sealer(database, ring.root_key)
    canaries = {who.id: await running.seal(who.id, "p", b"canary", b"") for who in (erased, living)}
    both = [erased.id, living.id]
    backup = await owner_database.fetch(
        "select tenant_id, version, wrapped from troth.tenant_key where tenant_id = any($1)", both
    )
    await owner_database.execute("delete from troth.tenant_key where tenant_id = $1", erased.id)
    await turn_epoch(ring)
    await take_back(owner_database, both, backup)
    kept = await read_kept(ring.store, ring.key)
    assert kept is not None
    for row in backup:  # what a thief of old backup, recovery key and all files of now tries
        with pytest.raises(SealError):
            kept.epochs.unwrap(bytes(row["wrapped"]), wrapping(row["tenant_id"], row["version"]))
    async with restored(ring, owner_database, tmp_path / "machine") as machine:
        assert await machine.open(living.id, "p", canaries[living.id], b"") == b"canary"
        with pytest.raises(SealError):
            await machine.open(erased.id, "p", canaries[erased.id], b"")


async def take_back(owner: Database, tenants: list[UUID], rows: list[Any]) -> None:
    """The rows as a restored backup of yesterday has them."""
    await owner.execute("delete from troth.tenant_key where tenant_id = any($1)", tenants)
    await owner.execute("update troth.key_epoch set oldest = 1")
    for row in rows:
        await owner.execute(
            "insert into troth.tenant_key (tenant_id, version, wrapped, created_at)"
            " values ($1, $2, $3, now() - interval '1 day')",
            *tuple(row),
        )


async def test_a_restore_tells_who_was_erased_and_who_is_closed(
    database: Database, owner_database: Database, ring: Ring
) -> None:
    erased, closed, young = [await new_tenant(owner_database) for _ in range(3)]
    running = sealer(database, ring.root_key)
    for who in (erased, closed, young):
        await running.seal(who.id, "p", b"x", b"")
    rows = await owner_database.fetch(
        "select tenant_id, version, wrapped from troth.tenant_key where tenant_id = $1", erased.id
    )
    await owner_database.execute("delete from troth.tenant_key where tenant_id = $1", erased.id)
    kept = await keep_keys(ring)
    await take_back(owner_database, [erased.id], rows)
    broken = b"TR\x01\x01" + (999).to_bytes(4, "big") + bytes(56)
    await owner_database.execute(
        "update troth.tenant_key set wrapped = $2 where tenant_id = $1", closed.id, broken
    )
    others = tuple(key for key in kept.tenants if key.tenant not in (closed.id, young.id))
    replaced = await replace_keys(owner_database, msgspec.structs.replace(kept, tenants=others))
    assert replaced.erased == (erased.id,)
    assert closed.id in replaced.closed
    assert young.id not in replaced.closed, "made after the keys were kept, and opens under their epoch"
    assert replaced.opened > 0
    again = await replace_keys(owner_database, msgspec.structs.replace(kept, tenants=others))
    assert (again.erased, again.renewed) == ((), 0)


async def test_an_epoch_is_not_used_before_the_store_shows_its_key(ring: Ring, store: FolderStore) -> None:
    class Broken(LyingStore):
        async def put(self, name: str, pieces: AsyncIterator[bytes]) -> Stored:
            raise StoreError("the store is gone")

    class Forgetful(LyingStore):
        async def list(self, prefix: str = "") -> tuple[Entry, ...]:
            return (await super().list(prefix))[:1]

    await keep_keys(ring)
    folder = folder_beside(ring.root_key)
    for bad in (Broken(store), Forgetful(store)):
        with pytest.raises(PlatformError):
            await turn_epoch(msgspec.structs.replace(ring, store=bad))
        assert numbers(folder) == ((FIRST, True), (FIRST + 1, False))
    turned = await turn_epoch(ring)
    assert turned.epoch == FIRST + 1, "the key that was made before, not another one"


async def test_an_instance_that_runs_on_opens_and_wraps_under_an_epoch_that_began_after_it(
    database: Database, owner_database: Database, ring: Ring
) -> None:
    one, other = await new_tenant(owner_database), await new_tenant(owner_database)
    wraps = open_epochs(ring.root_key)
    sealed = await Sealer(KeyRing(database, wraps)).seal(one.id, "p", b"x", b"")
    turned = await turn_epoch(ring)
    again = Sealer(
        KeyRing(database, wraps)
    )  # its kept keys have had their seconds, its epochs are the old ones
    assert await again.open(one.id, "p", sealed, b"") == b"x"
    await again.seal(other.id, "p", b"x", b"")
    assert await epochs_of(owner_database, other) == {turned.epoch}


class Stale(Wraps):
    """An instance that looked at the epochs before the turn and was stopped until after it."""

    def __init__(self, root_key: Path, *, wakes: bool) -> None:
        self._now, self._before = open_epochs(root_key), Epochs(read_root_key(root_key), Frozen(root_key))
        self._before.wrap(b"", b"")
        self._wakes = wakes

    def wrap(self, key: bytes, binding: bytes) -> bytes:
        wrapped = self._before.wrap(key, binding)
        if self._wakes:
            self._before = self._now
        return wrapped

    def unwrap(self, wrapped: bytes, binding: bytes) -> bytes:
        return self._now.unwrap(wrapped, binding)


class Frozen(EpochFolder):
    def __init__(self, root_key: Path) -> None:
        super().__init__(folder_beside(root_key))
        self._newest = super().newest()

    def newest(self) -> int:
        return self._newest


async def test_a_key_that_was_wrapped_before_the_turn_and_is_stored_after_it_is_refused_and_made_again(
    database: Database, owner_database: Database, tenant: Tenant, ring: Ring
) -> None:
    other = await new_tenant(owner_database)
    slow, never = Stale(ring.root_key, wakes=True), Stale(ring.root_key, wakes=False)
    turned = await turn_epoch(ring)
    sealed = await Sealer(KeyRing(database, slow)).seal(tenant.id, "p", b"x", b"")
    assert await epochs_of(owner_database, tenant) == {turned.epoch}
    assert await sealer(database, ring.root_key).open(tenant.id, "p", sealed, b"") == b"x"
    with pytest.raises(PlatformError, match="a later one is in use"):
        await KeyRing(database, never).keys(other.id)
    assert await epochs_of(owner_database, other) == set()


async def test_a_key_that_is_being_stored_holds_the_turn_up_and_moves_with_the_others(
    database: Database, owner_database: Database, tenant: Tenant, ring: Ring
) -> None:
    wrapped = open_epochs(ring.root_key).wrap(b"k" * 32, wrapping(tenant.id, 1))
    steps: list[str] = []
    async with database.transaction() as connection:
        await connection.fetch("select * from troth.tenant_key_add($1, 1, $2)", tenant.id, wrapped)
        turning = asyncio.create_task(turn_epoch(msgspec.structs.replace(ring, reached=steps.append)))
        waiting = "select count(*) > 0 from pg_locks where not granted"
        await until_answered(lambda: owner_database.fetchval(waiting), 60)
        assert "refused" not in steps
    turned = await turning
    assert await epochs_of(owner_database, tenant) == {turned.epoch}


async def test_two_keepers_do_not_turn_at_once(ring: Ring) -> None:
    with held(folder_beside(ring.root_key)), pytest.raises(PlatformError, match="Another process"):
        await turn_epoch(ring)
    assert numbers(folder_beside(ring.root_key)) == ((FIRST, True),)


async def test_a_missing_epoch_that_the_store_has_is_told_and_not_forgotten_there(
    database: Database, tenant: Tenant, ring: Ring
) -> None:
    await sealer(database, ring.root_key).seal(tenant.id, "p", b"x", b"")
    before = await keep_keys(ring)
    (folder_beside(ring.root_key) / f"{FIRST}.key").unlink()
    begin_first(folder_beside(ring.root_key))
    (folder_beside(ring.root_key) / f"{FIRST}.key").rename(folder_beside(ring.root_key) / f"{FIRST + 5}.key")
    for work in (keep_keys, turn_epoch):
        with pytest.raises(PlatformError, match=f"epoch {FIRST} is missing"):
            await work(ring)
    kept = await read_kept(ring.store, ring.key)
    assert kept is not None
    assert kept.same_as(before)


async def test_tenants_whose_keys_do_not_open_are_told_and_left_as_they_are(
    owner_database: Database, tenant: Tenant, ring: Ring
) -> None:
    wrapped = Epochs(Secret(b"x" * 32), EpochFolder(folder_beside(ring.root_key))).wrap(
        b"k" * 32, wrapping(tenant.id, 1)
    )
    await owner_database.execute(
        "insert into troth.tenant_key (tenant_id, version, wrapped) values ($1, 1, $2)", tenant.id, wrapped
    )
    turned = await turn_epoch(ring)
    assert tenant.id in turned.lost
    assert await epochs_of(owner_database, tenant) == {FIRST}


async def test_the_web_role_can_neither_see_nor_move_the_bound_of_epochs(database: Database) -> None:
    for statement in ("select * from troth.key_epoch", "update troth.key_epoch set oldest = 1"):
        with pytest.raises(InsufficientPrivilegeError):
            await database.fetch(statement)


async def test_kept_keys_go_when_their_days_are_over_and_the_newest_never(ring: Ring) -> None:
    start = datetime.now(UTC)
    names: list[str] = []
    for day in (0, 10, 20):
        then = msgspec.structs.replace(ring, now=lambda day=day: start + timedelta(days=day))
        await turn_epoch(then)
        names = [entry.name for entry in await ring.store.list(KEYS)]
    late = msgspec.structs.replace(ring, now=lambda: start + timedelta(days=400))
    assert await drop_outlived(late, 30) == ()
    assert [entry.name for entry in await ring.store.list(KEYS)] == [max(names)]


async def test_keys_kept_by_a_clock_that_was_set_back_are_the_newest_all_the_same(
    root_key: Path, store: FolderStore
) -> None:
    now = datetime.now(UTC)
    await keep(store, KEY, gather(root_key.parent), now)
    write_secret(root_key.parent / "more", b"more")
    await keep(store, KEY, gather(root_key.parent), now - timedelta(hours=3))
    kept = await read_kept(store, KEY)
    assert kept is not None
    assert "more" in kept.files


async def test_files_that_are_none_of_the_kept_keys_are_refused(tmp_path: Path, root_key: Path) -> None:
    good = gather(root_key.parent)
    for name in ("../root.key", "epochs/2.next", "epochs/x.key", "other/2.key", "recovery.key"):
        with pytest.raises(PlatformError, match="no file of theirs"):
            lay_down(KeptKeys({**good.files, name: "AAAA"}), tmp_path)


def test_an_epoch_that_was_not_kept_is_gone_after_a_restore(root_key: Path) -> None:
    folder = folder_beside(root_key)
    kept = gather(root_key.parent)
    write_secret(folder / f"{FIRST + 7}.key", os.urandom(32))
    write_secret(folder / f"{FIRST + 8}.next", os.urandom(32))
    lay_down(kept, root_key.parent)
    assert numbers(folder) == ((FIRST, True),)
    assert gather(root_key.parent) == kept


async def test_kept_keys_show_no_key(ring: Ring, store: Store) -> None:
    kept = await keep_keys(ring)
    for shown in (repr(kept), repr(kept.epochs), repr(kept.tenants[:1]), repr(ring)):
        assert read_root_key(ring.root_key).reveal().hex() not in shown
        assert "\\x" not in shown
