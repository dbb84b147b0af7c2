"""Turning the epoch of the keys: the next one goes to the store, comes into use, takes every tenant's key
over, and those of before are destroyed.

1. make the next epoch's key, as one that is not used yet
2. store it with all other keys, and read that back
3. use it
4. have the database refuse keys of earlier epochs
5. wrap every tenant key under it
6. destroy the keys of earlier epochs
7. store the keys without them

Cut short anywhere, everything opens: the newest keys in the store hold whatever epoch is in use, and an epoch
is destroyed only when nothing is wrapped under it and nothing can be any more. The next look goes on.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec

from troth.core.errors import PlatformError
from troth.core.secret import Secret
from troth.data.backups.kept_keys import KEYS, KeptKeys, gather, keep, outlived, read_kept
from troth.data.epochs import (
    TenantKey,
    destroy,
    ended,
    folder_beside,
    held,
    open_epochs,
    pages,
    prepare_next,
    rewrap,
    use_next,
)
from troth.data.keys import KeyDatabase
from troth.data.stores.store import Store, StoreError

Now = Callable[[], datetime]


def _nothing(step: str) -> None:
    """Nobody follows."""


class Ring(msgspec.Struct, frozen=True, kw_only=True):
    """Where all keys are: the root key's file with what lies beside it, the database as its owner, and the
    store with the key of kept keys. `reached` is called after each step of a turn with its name."""

    root_key: Path
    owner: KeyDatabase
    store: Store
    key: Secret
    now: Now
    reached: Callable[[str], None] = _nothing


class Turned(msgspec.Struct, frozen=True):
    """The epoch in use, how many tenant keys were wrapped anew, which epochs were destroyed, and the tenants
    whose keys do not open any more."""

    epoch: int
    moved: int = 0
    destroyed: tuple[int, ...] = ()
    lost: tuple[UUID, ...] = ()


async def keep_keys(ring: Ring) -> KeptKeys:
    """Have the store hold the keys as they are now. Returns them. Raises StoreError, and PlatformError when
    the key of an epoch is missing here that the store has and tenants' keys need: the store must not forget
    it."""
    keys = await _all_keys(ring)
    _refuse_loss(keys, await read_kept(ring.store, ring.key))
    await keep(ring.store, ring.key, keys, ring.now())
    return keys


async def turn_epoch(ring: Ring) -> Turned:
    """Begin the next epoch and end those of before. Raises PlatformError when it is cut short."""
    folder = folder_beside(ring.root_key)
    with held(folder):
        number = prepare_next(folder)
        ring.reached("prepared")
        keys = await keep_keys(ring)
        if not keys.same_as(await read_kept(ring.store, ring.key)):
            raise PlatformError("The backup store does not show the keys that were just put into it.")
        ring.reached("kept")
        use_next(folder, number)
        ring.reached("used")
        return await _end_older(ring)


async def end_older(ring: Ring) -> Turned:
    """Go on with a turn that was cut short after the next epoch had come into use."""
    with held(folder_beside(ring.root_key)):
        return await _end_older(ring)


async def drop_outlived(ring: Ring, days: int) -> tuple[str, ...]:
    """Delete kept keys that have had their days. Returns those that the store does not let go yet."""
    stay: list[str] = []
    for name in outlived([entry.name for entry in await ring.store.list(KEYS)], ring.now(), days):
        try:
            await ring.store.delete(name)
        except StoreError:
            stay.append(name)
    return tuple(stay)


async def _end_older(ring: Ring) -> Turned:
    folder = folder_beside(ring.root_key)
    epochs = open_epochs(ring.root_key)
    await ring.owner.fetch(
        "update troth.key_epoch set oldest = $1 where oldest < $1", epochs.newest, idempotent=True
    )
    ring.reached("refused")
    done = await rewrap(ring.owner, epochs)
    ring.reached("wrapped")
    older = ended(folder)
    await _check_unused(ring, older, done.lost)
    destroy(folder, older)
    ring.reached("destroyed")
    await keep_keys(ring)
    return Turned(epochs.newest, done.moved, older, done.lost)


async def _check_unused(ring: Ring, older: tuple[int, ...], lost: tuple[UUID, ...]) -> None:
    """Raises PlatformError when a key that opens is still wrapped under an epoch that is to be destroyed."""
    async for page in pages(ring.owner):
        if any(key.epoch in older and key.tenant not in lost for key, _ in page):
            raise PlatformError("A tenant's key is still wrapped under an epoch that is to end.")


def _refuse_loss(keys: KeptKeys, kept: KeptKeys | None) -> None:
    """Pure."""
    here = keys.epochs.numbers
    missing = [key for key in keys.tenants if key.epoch not in here]
    if kept is None or not missing:
        return
    there = kept.epochs
    if gone := sorted({key.epoch for key in missing if there.opens(key)}):
        raise PlatformError(
            f"The key of epoch {gone[0]} is missing here, and keys of tenants are wrapped under it.",
            hint="The backup store has it still: stop the platform, and restore with troth backup restore.",
        )


async def _all_keys(ring: Ring) -> KeptKeys:
    at = ring.now()
    tenants: list[TenantKey] = []
    async for page in pages(ring.owner):
        tenants += (key for key, _ in page)
    return gather(ring.root_key.parent, tuple(tenants), at)
