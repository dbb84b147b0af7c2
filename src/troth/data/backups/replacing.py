"""After a restore: the tenants' keys in the form in which they were kept last, and none of who was erased."""

from datetime import timedelta
from uuid import UUID

import msgspec

from troth.data.backups.kept_keys import KeptKeys
from troth.data.epochs import TenantKey, pages, replace
from troth.data.keys import KeyDatabase

GRACE = timedelta(minutes=15)
"""A key that was made so shortly before the others were read may belong to a transaction that was not through
yet, and clocks differ: it is not taken for one that was erased."""


class Replaced(msgspec.Struct, frozen=True):
    """What became of the tenants' keys in a restored database: how many open now and how many of them were
    put in the form of today; the tenants that were erased since, and those whose keys should open and do
    not."""

    opened: int = 0
    renewed: int = 0
    erased: tuple[UUID, ...] = ()
    closed: tuple[UUID, ...] = ()


async def replace_keys(restored: KeyDatabase, kept: KeptKeys) -> Replaced:
    """Put the kept form of each tenant key into a database that was restored from an older backup. Done
    again, it does the same again.

    A tenant key that was there before the keys were kept and is not among them has been erased: a backup must
    not bring it back, and its row goes. Keys that were kept before there were epochs name no tenants: then
    nothing is replaced.
    """
    epochs = kept.epochs
    known = {(key.tenant, key.version): key for key in kept.tenants}
    bound = (kept.at - GRACE).timestamp() if kept.at is not None else float("-inf")
    opened = renewed = 0
    erased, closed = set[UUID](), set[UUID]()
    async for page in pages(restored):
        fresh: list[tuple[TenantKey, bytes]] = []
        gone: list[TenantKey] = []
        for key, made in page:
            today = known.get((key.tenant, key.version))
            if today is None and made < bound:
                gone.append(key)
                continue
            if today is not None and today.wrapped != key.wrapped:
                fresh.append((key, today.wrapped))
            if epochs.opens(today or key):
                opened += 1
            else:
                closed.add(key.tenant)
        renewed += await replace(restored, fresh) if fresh else 0
        await _remove(restored, gone)
        erased |= {key.tenant for key in gone}
    return Replaced(opened, renewed, tuple(sorted(erased)), tuple(sorted(closed)))


async def _remove(restored: KeyDatabase, gone: list[TenantKey]) -> None:
    if gone:
        await restored.fetch(
            "delete from troth.tenant_key k using unnest($1::uuid[], $2::integer[]) as g(tenant, version)"
            " where k.tenant_id = g.tenant and k.version = g.version",
            [key.tenant for key in gone],
            [key.version for key in gone],
            idempotent=True,
        )
