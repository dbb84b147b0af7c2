"""Root key, tenant keys and the sealing service, against a real database."""

import asyncio
import stat
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from support.postgres import Tenant, new_tenant
from troth.core.db import Database
from troth.core.errors import PlatformError
from troth.core.secret import Secret
from troth.data.keys import KeyRing, Sealer, make_root_key, read_root_key
from troth.data.sealing import SealError, read_header

ROOT = Secret(bytes(range(32)))


class Counting:
    """A database that counts its questions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.asked = 0

    async def fetch(self, query: str, *args: object, idempotent: bool | None = None) -> list[Any]:
        self.asked += 1
        return await self._database.fetch(query, *args, idempotent=idempotent)


def test_the_root_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    make_root_key(path)
    first = read_root_key(path).reveal()
    make_root_key(path)
    assert read_root_key(path).reveal() == first
    assert len(first) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["root.key"]


def test_a_lost_root_key_is_not_replaced_while_there_is_sealed_data(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    with pytest.raises(PlatformError, match="missing") as caught:
        make_root_key(path, sealed=True)
    assert "recovery keys" in caught.value.hint
    assert not path.exists()
    make_root_key(path)
    make_root_key(path, sealed=True)
    assert len(read_root_key(path).reveal()) == 32


async def test_starts_at_once_agree_on_one_root_key(tmp_path: Path) -> None:
    path = tmp_path / "root.key"

    def start() -> bytes:
        make_root_key(path)
        return read_root_key(path).reveal()

    seen = await asyncio.gather(*(asyncio.to_thread(start) for _ in range(20)))
    assert len(set(seen)) == 1


def test_a_root_key_that_is_no_key_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    with pytest.raises(PlatformError):
        read_root_key(path)
    path.touch(mode=0o600)
    with pytest.raises(PlatformError, match="32 bytes"):
        read_root_key(path)
    make_root_key(path)
    assert path.read_bytes() == b"", "a file that is there is never overwritten"


async def test_what_one_process_seals_another_opens(database: Database, tenant: Tenant) -> None:
    one, other = Sealer(KeyRing(database, ROOT)), Sealer(KeyRing(database, ROOT))
    sealed = await one.seal(tenant.id, "profile", b"Ada", b"row 1")
    assert await other.open(tenant.id, "profile", sealed, b"row 1") == b"Ada"


@pytest.mark.parametrize(("purpose", "context"), [("signing-key", b"row 1"), ("profile", b"row 2")])
async def test_a_value_opens_for_its_own_purpose_and_row_alone(
    database: Database, tenant: Tenant, purpose: str, context: bytes
) -> None:
    sealer = Sealer(KeyRing(database, ROOT))
    sealed = await sealer.seal(tenant.id, "profile", b"Ada", b"row 1")
    with pytest.raises(SealError):
        await sealer.open(tenant.id, purpose, sealed, context)


async def test_a_value_of_one_tenant_does_not_open_for_another(
    database: Database, owner_database: Database, tenant: Tenant
) -> None:
    other = await new_tenant(owner_database)
    sealer = Sealer(KeyRing(database, ROOT))
    sealed = await sealer.seal(tenant.id, "profile", b"Ada", b"")
    with pytest.raises(SealError):
        await sealer.open(other.id, "profile", sealed, b"")


async def test_processes_that_meet_a_new_tenant_at_once_agree_on_one_key(
    database: Database, superuser_database: Database, tenant: Tenant
) -> None:
    sealers = [Sealer(KeyRing(database, ROOT)) for _ in range(20)]
    sealed = await asyncio.gather(
        *(sealer.seal(tenant.id, "p", bytes([number]), b"") for number, sealer in enumerate(sealers))
    )
    for number, message in enumerate(sealed):
        assert await sealers[0].open(tenant.id, "p", message, b"") == bytes([number])
    rows = await superuser_database.fetchval(
        "select count(*) from troth.tenant_key where tenant_id = $1", tenant.id
    )
    assert rows == 1


async def test_keys_are_read_once_however_many_callers_wait(database: Database, tenant: Tenant) -> None:
    counting = Counting(database)
    sealer = Sealer(KeyRing(counting, ROOT))
    await asyncio.gather(*(sealer.seal(tenant.id, "p", b"", b"") for _ in range(50)))
    assert counting.asked == 2, "one look, one insertion"


async def test_the_ring_is_bounded(database: Database, owner_database: Database) -> None:
    tenants = [await new_tenant(owner_database) for _ in range(4)]
    ring = KeyRing(database, ROOT, limit=2)
    for each in tenants:
        await ring.keys(each.id)
    assert repr(ring) == "KeyRing(2 tenants)"
    assert ring.cached(tenants[0].id) is None
    assert ring.cached(tenants[3].id) is not None


async def test_after_a_rotation_old_rows_open_and_new_ones_name_the_new_key(
    database: Database, tenant: Tenant
) -> None:
    ring, elsewhere = KeyRing(database, ROOT), KeyRing(database, ROOT)
    sealer, other = Sealer(ring), Sealer(elsewhere)
    old = await sealer.seal(tenant.id, "p", b"old", b"")
    await other.seal(tenant.id, "p", b"warm the other process's cache", b"")
    assert await ring.rotate(tenant.id) == 2
    new = await sealer.seal(tenant.id, "p", b"new", b"")
    assert (read_header(old).key_version, read_header(new).key_version) == (1, 2)
    assert await sealer.open(tenant.id, "p", old, b"") == b"old"
    assert await other.open(tenant.id, "p", new, b"") == b"new", "it reads the keys again by itself"


async def test_a_version_that_was_never_stored_opens_nothing(database: Database, tenant: Tenant) -> None:
    sealer = Sealer(KeyRing(database, ROOT))
    sealed = bytearray(await sealer.seal(tenant.id, "p", b"x", b""))
    sealed[7] = 99
    with pytest.raises(SealError):
        await sealer.open(tenant.id, "p", bytes(sealed), b"")


async def test_another_root_key_opens_no_tenant(database: Database, tenant: Tenant) -> None:
    await Sealer(KeyRing(database, ROOT)).seal(tenant.id, "p", b"x", b"")
    with pytest.raises(SealError, match="could not be opened") as caught:
        await Sealer(KeyRing(database, Secret(b"r" * 32))).seal(tenant.id, "p", b"x", b"")
    assert "root key" in caught.value.detail


async def test_a_wrapped_key_moved_to_another_tenant_does_not_open(
    database: Database, owner_database: Database, superuser_database: Database, tenant: Tenant
) -> None:
    other = await new_tenant(owner_database)
    await KeyRing(database, ROOT).keys(tenant.id)
    await superuser_database.execute(
        "insert into troth.tenant_key (tenant_id, version, wrapped)"
        " select $1, version, wrapped from troth.tenant_key where tenant_id = $2",
        other.id,
        tenant.id,
    )
    with pytest.raises(SealError):
        await KeyRing(database, ROOT).keys(other.id)


async def test_equal_values_share_a_blind_index_within_tenant_and_purpose_alone(
    database: Database, owner_database: Database, tenant: Tenant
) -> None:
    other = await new_tenant(owner_database)
    ring = KeyRing(database, ROOT)
    sealer = Sealer(ring)
    one = await sealer.blind_index(tenant.id, "email", b"ada@example.org")
    assert one == await sealer.blind_index(tenant.id, "email", b"ada@example.org")
    assert len(one) == 32
    assert one != await sealer.blind_index(tenant.id, "email", b"bob@example.org")
    assert one != await sealer.blind_index(tenant.id, "phone", b"ada@example.org")
    assert one != await sealer.blind_index(other.id, "email", b"ada@example.org")
    await ring.rotate(tenant.id)
    assert one == await sealer.blind_index(tenant.id, "email", b"ada@example.org"), (
        "rotation keeps it findable"
    )


async def _keys_seen_by(database: Database, context: UUID | None) -> int:
    async with database.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(context or ""))
        return int(await connection.fetchval("select count(*) from troth.tenant_key"))


async def test_the_database_shows_wrapped_keys_in_their_tenants_context_alone(
    database: Database, owner_database: Database, tenant: Tenant
) -> None:
    other = await new_tenant(owner_database)
    await KeyRing(database, ROOT).keys(tenant.id)
    assert await _keys_seen_by(database, tenant.id) == 1
    assert await _keys_seen_by(database, other.id) == 0
    assert await _keys_seen_by(database, None) == 0


@pytest.mark.parametrize(
    "statement",
    ["update troth.tenant_key set version = 9", "delete from troth.tenant_key", "truncate troth.tenant_key"],
)
async def test_the_web_instances_cannot_change_a_key(database: Database, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.execute(statement)


async def test_the_auditor_cannot_read_a_wrapped_key(auditor_database: Database) -> None:
    await auditor_database.fetch("select tenant_id, version, created_at from troth.tenant_key")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await auditor_database.fetch("select wrapped from troth.tenant_key")


async def test_no_key_shows_in_a_representation(database: Database, tenant: Tenant) -> None:
    ring = KeyRing(database, ROOT)
    keys = await ring.keys(tenant.id)
    shown = f"{ring!r} {keys!r}"
    assert ROOT.reveal().hex() not in shown
    assert "\\x" not in shown
