"""data.backups: the last backup, the drill that restored it, and what lies in the store this very moment.

The drill tells that a restore works; each look of the probe tells that what it restored is still there. It
lists every object, opens every manifest, and reads sealed bytes again and holds them against their SHA-256:
as many as it is allowed, going on at the next look where it ended.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import msgspec

from troth.core.errors import TrothError
from troth.core.promise import Drill, Finding, Probe
from troth.core.secret import equal
from troth.core.settings import BackupSettings
from troth.data.backups.drilling import Drilled
from troth.data.backups.fetching import Damaged, Objects, closing
from troth.data.backups.manifest import WAL, Backup, Catalogue, StoredFile
from troth.data.backups.planning import NotRestorable, Plan, plan_restore
from troth.data.stores.store import Entry, Store, Stored

LOOK_BYTES = 256 * 1024 * 1024
"""Sealed bytes that one look reads again."""

STALE_LOG = timedelta(minutes=5)
"""The log is stored every few seconds; the newest of it must never be as old as this."""

GRACE = timedelta(minutes=30)
"""For a backup and its drill to be done, behind the time at which they were due."""


class BackupsView(msgspec.Struct, frozen=True, kw_only=True):
    """What the probe needs to see. `settings` is None without [backup]; `store` opens the store as the drill
    and the restore do; `drilled` reads the drills, the newest last; `here` says that the store is on this
    machine."""

    settings: BackupSettings | None
    store: Callable[[], Awaitable[Store]]
    objects: Callable[[Store], Objects]
    drilled: Callable[[], tuple[Drilled, ...]]
    now: Callable[[], datetime]
    here: bool


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at the store showed: the plan of a restore now, the sealed bytes that were read again out
    of how many, and what is wrong."""

    place: str
    plan: Plan | None
    read: int
    whole: int
    faults: tuple[str, ...]


class Rereading:
    """Reads the objects of the newest chain again, a share at each look, and remembers where it was."""

    def __init__(self, limit: int = LOOK_BYTES) -> None:
        self._limit = limit
        self._next = 0

    async def look(self, store: Store, objects: Objects) -> Look:
        """One look. Raises StoreError when the store cannot be reached: what was not seen is not proved."""
        try:
            catalogue = await objects.catalogue()
            if not catalogue.backups:
                return Look(place=store.place, plan=None, read=0, whole=0, faults=())
            plan = plan_restore(catalogue, await store.list(WAL), None)
        except (Damaged, NotRestorable) as error:
            return Look(place=store.place, plan=None, read=0, whole=0, faults=(error.public.rstrip("."),))
        files = [file for backup in plan.chain for file in backup.files]
        present = {entry.name: entry.size for entry in await store.list("base/")}
        faults = [*_missing(catalogue, present)]
        share = self._share(files)
        faults += [fault for file in share if (fault := await _reread(store, file))]
        return Look(
            place=store.place,
            plan=plan,
            read=sum(file.size for file in share),
            whole=sum(file.size for file in files),
            faults=tuple(dict.fromkeys(faults)),
        )

    def _share(self, files: list[StoredFile]) -> list[StoredFile]:
        """From where the last look ended, around the end, until it is enough; at least one."""
        share: list[StoredFile] = []
        start = self._next % len(files)
        for file in (*files[start:], *files[:start]):
            if share and sum(one.size for one in share) + file.size > self._limit:
                break
            share.append(file)
        self._next = (start + len(share)) % len(files)
        return share


def _missing(catalogue: Catalogue, present: dict[str, int]) -> tuple[str, ...]:
    """Objects of any backup that are gone or of another size, and backups whose parent is gone."""
    gone = [
        f"{file.name} is gone from the store or of another size"
        for backup in catalogue.backups
        for file in backup.files
        if present.get(file.name) != file.size
    ]
    orphans = [
        f"backup {backup.id} builds on one that is gone"
        for backup in catalogue.backups
        if catalogue.chain(backup) is None
    ]
    return (*gone, *orphans)


async def _reread(store: Store, file: StoredFile) -> str:
    digest = hashlib.sha256()
    try:
        async with closing(store.get(file.name)) as pieces:
            async for piece in pieces:
                digest.update(piece)
    except TrothError as error:
        return f"{file.name} cannot be read: {error.public}"
    if equal(digest.digest(), bytes.fromhex(file.sha256)):
        return ""
    return f"{file.name} is not what was stored: its SHA-256 differs"


def probe(view: BackupsView, rereading: Rereading) -> Probe:
    """The probe of this promise."""
    return Probe("data.backups", lambda: look_at(view, rereading))


async def look_at(view: BackupsView, rereading: Rereading) -> Finding:
    """Look at the store and the drills, and judge them."""
    if view.settings is None:
        return Finding("unknown", "There are no backups: write a [backup] table into troth.toml.")
    store = await view.store()
    try:
        seen = await rereading.look(store, view.objects(store))
    finally:
        await store.close()
    return judge_backups(view.settings, seen, view.drilled(), view.now(), here=view.here)


def judge_backups(
    settings: BackupSettings, seen: Look, drilled: tuple[Drilled, ...], now: datetime, *, here: bool
) -> Finding:
    """The verdict on what lies in the store and on the last drill."""
    raw: dict[str, object] = {
        "faults": list(seen.faults),
        "read": seen.read,
        "whole": seen.whole,
        "drill": msgspec.to_builtins(drilled[-1]) if drilled else None,
    }
    if seen.faults:
        return Finding("broken", f"In the store: {'; '.join(seen.faults[:3])}.", raw)
    if seen.plan is None and drilled:
        return Finding("broken", f"The backups that were in {seen.place} are gone.", raw)
    if seen.plan is None or not drilled:
        return Finding("unknown", f"No backup in {seen.place} has been restored by a drill yet.", raw)
    last, newest = drilled[-1], seen.plan.backup
    if not last.passed:
        return Finding("broken", f"The drill of {_minute(last.at)} UTC failed: {last.problem}", raw)
    if now - newest.ended > period(settings) + GRACE:
        return Finding("broken", f"The last backup ended at {_minute(newest.ended.isoformat())} UTC.", raw)
    if last.backup != newest.id and now - newest.ended > GRACE:
        return Finding("broken", f"Backup {newest.id} has not been drilled.", raw)
    if now - seen.plan.log.shipped > STALE_LOG:
        old = int((now - seen.plan.log.shipped).total_seconds() // 60)
        return Finding("broken", f"The newest write in the store is {old} minutes old.", raw)
    return Finding("proved", _told(seen, seen.plan, last, newest, now, here=here), raw)


def period(settings: BackupSettings) -> timedelta:
    """Between two backups at most."""
    return timedelta(minutes=settings.incremental_minutes) or timedelta(hours=settings.every_hours)


def _told(seen: Look, plan: Plan, last: Drilled, newest: Backup, now: datetime, *, here: bool) -> str:
    age = max(0.0, (now - plan.log.shipped).total_seconds())
    lost = last.acknowledged - last.survived
    place = "in a folder on this same machine, so not off-site" if here else f"in {seen.place}"
    return (
        f"Last backup {newest.ended:%Y-%m-%d %H:%M} UTC ({newest.kind}, {newest.size / 1e6:.1f} MB sealed"
        f" with AES-256), {place}. Last drill {_minute(last.at)} UTC: restored from the store alone in"
        f" {last.seconds:.0f} s, {last.rows:,} rows of {last.tables} tables compared, {last.canaries}"
        f" canaries and {last.tenant_keys} tenants' keys opened, {lost} of {last.acknowledged} acknowledged"
        f" writes lost. Newest recoverable write {age:.0f} s old. {seen.read / 1e6:.1f} of"
        f" {seen.whole / 1e6:.1f} MB read again just now."
    )


def _minute(instant: str) -> str:
    return instant[:16].replace("T", " ")


def drills(view: BackupsView) -> tuple[Drill, ...]:
    """A bit of a stored object flips on its way back: the store itself is not touched, so that nobody's
    backup is in danger if the drill is cut short."""
    return (Drill("data.backups", "a bit of a backup in the store was flipped", lambda: _flipped(view)),)


@asynccontextmanager
async def _flipped(view: BackupsView) -> AsyncGenerator[Probe]:
    async def lying() -> Store:
        return FlippingStore(await view.store())

    yield probe(msgspec.structs.replace(view, store=lying), Rereading())


class FlippingStore:
    """A store that flips one bit of every base backup that is read from it, and nothing else."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def place(self) -> str:
        return self._store.place

    async def put(self, name: str, pieces: AsyncIterator[bytes]) -> Stored:
        return await self._store.put(name, pieces)

    async def get(self, name: str, start: int = 0) -> AsyncGenerator[bytes]:
        flipped = not name.endswith("/data")
        async with closing(self._store.get(name, start)) as pieces:
            async for piece in pieces:
                yield piece if flipped else bytes([piece[0] ^ 1]) + piece[1:]
                flipped = True

    async def list(self, prefix: str = "") -> tuple[Entry, ...]:
        return await self._store.list(prefix)

    async def delete(self, name: str) -> None:
        await self._store.delete(name)

    async def close(self) -> None:
        await self._store.close()
