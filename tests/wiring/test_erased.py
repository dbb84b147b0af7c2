"""Who was erased stays erased: an old base backup opens everybody's data but theirs once an epoch ended."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from support.backup_site import Site
from support.kept_backups import looking
from support.postgres import new_tenant
from support.restored import backed_up_site, restore
from support.rounds import in_many_rounds
from troth.core.clock import to_wire
from troth.core.db import Database
from troth.core.state import State
from troth.data.backups.drilling import ScratchDatabase
from troth.data.backups.kept_keys import keep, read_kept
from troth.data.backups.turning import Ring, Turned, keep_keys, turn_epoch
from troth.data.epochs import open_epochs
from troth.data.keys import KeyRing, Sealer, wrapping
from troth.data.recovery import kept_keys_key
from troth.data.roles import OWNER
from troth.data.sealing import SealError

CANARY = b"a canary of one customer"


class Erasure(msgspec.Struct, frozen=True):
    """Two customers of an old base backup, one of whom was erased before the epoch turned."""

    site: Site
    erased: UUID
    living: UUID
    sealed: dict[UUID, bytes]
    rows: tuple[Any, ...]
    before: datetime
    turned: Turned


@pytest.fixture(scope="module")
async def erasure() -> AsyncGenerator[Erasure]:
    async with backed_up_site() as site:
        owner = await Database.open(site.server.target(OWNER), max_size=2)
        try:
            yield await erase_one(site, owner)
        finally:
            await owner.close()


async def erase_one(site: Site, owner: Database) -> Erasure:
    erased, living = (await new_tenant(owner)).id, (await new_tenant(owner)).id
    sealer = Sealer(KeyRing(owner, open_epochs(site.root_key)))
    sealed = {who: await sealer.seal(who, "p", CANARY, b"") for who in (erased, living)}
    await owner.execute("update troth.tenant_key set created_at = now() - interval '1 day'")
    rows = await owner.fetch(
        "select tenant_id, version, wrapped from troth.tenant_key where tenant_id = $1", erased
    )
    ring = ring_of(site, owner)
    await keep_keys(ring)
    site.backup = await site.source.back_up()
    before = await owner.fetchval("select clock_timestamp()")
    await owner.execute("delete from troth.tenant_key where tenant_id = $1", erased)
    turned = await turn_epoch(ring)
    await site.record()
    await site.source.ship()
    return Erasure(site, erased, living, sealed, tuple(rows), before, turned)


def ring_of(site: Site, owner: Database) -> Ring:
    return Ring(
        root_key=site.root_key,
        owner=owner,
        store=site.store,
        key=kept_keys_key(site.recovery),
        now=lambda: datetime.now(UTC),
    )


async def test_an_erased_customers_canary_does_not_open_from_an_old_base_backup_and_everybody_elses_does(
    erasure: Erasure, tmp_path: Path
) -> None:
    state = State(tmp_path / "s")
    done = restore(erasure.site, state, "--yes", to=to_wire(erasure.before))
    assert done.status == 0, done.output + done.errors
    assert "1 tenants were erased since then" in done.output
    async with looking(state) as connection:
        assert (
            await connection.fetchval("select count(*) from troth.tenant where id = $1", erasure.erased) == 1
        )
        sealer = Sealer(KeyRing(ScratchDatabase(connection), open_epochs(state.root_key)))
        assert await sealer.open(erasure.living, "p", erasure.sealed[erasure.living], b"") == CANARY
        with pytest.raises(SealError):
            await sealer.open(erasure.erased, "p", erasure.sealed[erasure.erased], b"")


async def test_neither_this_machine_nor_the_newest_keys_open_what_the_old_base_backup_holds_of_the_erased(
    erasure: Erasure,
) -> None:
    kept = await read_kept(erasure.site.store, kept_keys_key(erasure.site.recovery))
    assert kept is not None
    assert erasure.rows
    for row in erasure.rows:
        for epochs in (kept.epochs, open_epochs(erasure.site.root_key)):
            with pytest.raises(SealError):
                epochs.unwrap(bytes(row["wrapped"]), wrapping(row["tenant_id"], row["version"]))


@in_many_rounds
@pytest.mark.chaos
async def test_the_drill_opens_every_tenants_key_and_fails_where_the_store_lacks_an_epoch(
    erasure: Erasure,
) -> None:
    drilled = await erasure.site.drill()
    assert drilled.problem == ""
    assert drilled.tenant_keys == 2, "the canaries' own and the living one's"
    key = kept_keys_key(erasure.site.recovery)
    kept = await read_kept(erasure.site.store, key)
    assert kept is not None
    without = {name: text for name, text in kept.files.items() if not name.startswith("epochs/")}
    await keep(erasure.site.store, key, msgspec.structs.replace(kept, files=without), datetime.now(UTC))
    try:
        spoiled = await erasure.site.drill()
        assert spoiled.problem.startswith("The keys of 2 tenants do not open")
    finally:
        await keep(erasure.site.store, key, kept, datetime.now(UTC))


@in_many_rounds
@pytest.mark.chaos
async def test_a_restore_to_a_time_after_the_turn_opens_everybody_who_is_there(
    erasure: Erasure, tmp_path: Path
) -> None:
    state = State(tmp_path / "s")
    done = restore(erasure.site, state, "--yes")
    assert done.status == 0, done.output + done.errors
    async with looking(state) as connection:
        epochs = open_epochs(state.root_key)
        assert epochs.newest == erasure.turned.epoch
        sealer = Sealer(KeyRing(ScratchDatabase(connection), epochs))
        assert await sealer.open(erasure.living, "p", erasure.sealed[erasure.living], b"") == CANARY
        with pytest.raises(SealError):
            await sealer.open(erasure.erased, "p", erasure.sealed[erasure.erased], b"")
