"""`troth backup restore`: a new replica set from nothing but the store and the recovery key."""

import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from troth.core.clock import SystemClock, to_wire
from troth.core.errors import PlatformError, UsageError
from troth.core.secret import Secret, write_public, write_secret
from troth.core.state import State
from troth.data.backups.digests import Connection, differences, read_digests
from troth.data.backups.drilling import ScratchDatabase, open_canaries
from troth.data.backups.fetching import Objects
from troth.data.backups.installing import holds_members, install, note_file
from troth.data.backups.kept_keys import KeptKeys, read_kept
from troth.data.backups.manifest import WAL, Backup
from troth.data.backups.planning import Plan, plan_restore
from troth.data.backups.recovering import Recovery, TargetNotReached
from troth.data.backups.replacing import replace_keys
from troth.data.backups.restoring import Restoring, Tell, Workplace
from troth.data.backups.scratch import Target
from troth.data.postgres import Binaries
from troth.data.recovery import backup_key, kept_keys_key
from troth.data.stores.store import Store
from troth.hosting import isolation
from troth.hosting.programs import Programs

_TOLD = 5
_NEWEST = "select coalesce(pg_last_xact_replay_timestamp(), (select max(at) from troth.canary_row))"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of the restored data: its newest write, its place in the log, how many canaries and
    tenants' keys opened with the recovered keys, how many tenants had been erased since and stay so, of how
    many the keys should have opened and did not, and how many rows of how many tables were held against the
    backup's digests. `differences` are sentences for tables that were not alike, and were taken all the same.
    """

    backup: str
    newest: str
    lsn: str
    canaries: int
    tenant_keys: int = 0
    erased: int = 0
    closed: int = 0
    rows: int = 0
    tables: int = 0
    differences: tuple[str, ...] = ()


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """The restored tables held against the digests in the manifest, where it has some."""

    rows: int = 0
    tables: int = 0
    differences: tuple[str, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a restore ended. `aside` is where the replica set of before lies now."""

    facts: Facts
    seconds: float
    aside: Path | None


def read_moment(text: str) -> datetime | None:
    """The moment of `--to`: None for `latest`. Raises UsageError for what names no single moment."""
    if text == "latest":
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UsageError(
            f"{text[:60]!r} is no moment in time.",
            hint="Write it with its offset, like 2026-11-25T09:30:00Z, or: --to latest",
        )
    return moment.astimezone(UTC)


class Restore:
    """One restore into one state folder. Hold the folder's lock. `even_different` takes tables that are not
    what they were when the backup was made."""

    def __init__(
        self,
        state: State,
        store: Store,
        recovery: Secret,
        binaries: Binaries,
        *,
        even_different: bool = False,
    ) -> None:
        self._even_different = even_different
        self._state = state
        self._store = store
        self._recovery = recovery
        self._binaries = binaries

    async def plan(self, moment: datetime | None, *, until_gap: bool) -> Plan:
        """What would be done. Raises PlatformError when it cannot be."""
        objects = self._objects()
        return plan_restore(
            await objects.catalogue(), await self._store.list(WAL), moment, until_gap=until_gap
        )

    @property
    def replaces(self) -> bool:
        """Whether there is a replica set that would be moved aside."""
        return holds_members(self._state) and not note_file(self._state).exists()

    async def carry_out(self, plan: Plan, tell: Tell) -> Outcome:
        """Do it. Raises PlatformError; called again after whatever cut it short, it goes on."""
        began = time.monotonic()
        keys = await read_kept(self._store, kept_keys_key(self._recovery))
        if keys is None:
            raise PlatformError(
                "There are no keys in the store: nothing that was restored could be read.",
                hint="Is this the store of this platform? See: troth backup list",
            )
        facts = await self._recovered(plan, keys, tell)
        tell("putting it in place", 0.0)
        stamp = f"{SystemClock().now():%Y%m%dT%H%M%S}"
        aside = install(self._state, self._workplace().data, keys, stamp=stamp)
        write_secret(self._state.recovery_key, self._recovery.reveal())
        shutil.rmtree(self._workplace().root)
        return Outcome(facts=facts, seconds=round(time.monotonic() - began, 1), aside=aside)

    async def _recovered(self, plan: Plan, keys: KeptKeys, tell: Tell) -> Facts:
        """Once the data folder stands as it was asked for, in order and on the disk."""
        place = self._workplace()
        done = place.root / "recovered"
        if done.exists():
            return msgspec.json.decode(done.read_bytes(), type=Facts)
        programs = Programs(self._state.root, isolation.inside(False))
        restoring = Restoring(programs.start, self._objects(), place, tell)
        await restoring.bring(plan)
        recovery, _ = restoring.recovery(plan)
        await recovery.prepare()
        compared = await self._compare(recovery, plan.backup, tell)
        facts = await _reach(recovery, plan, lambda connection: look(connection, plan, keys, compared))
        write_public(done, msgspec.json.encode(facts))
        return facts

    async def _compare(self, recovery: Recovery, backup: Backup, tell: Tell) -> Compared:
        """At the point of the backup's digests, which lies before every moment that it restores to. Raises
        PlatformError when the tables differ."""
        if backup.digests is None:
            return Compared()
        tell("comparing every table", 0.0)
        async with recovery.at(Target(point=backup.digests.point)) as connection:
            found = await read_digests(connection)
        told = differences(backup.digests.tables, found)
        if told and not self._even_different:
            raise PlatformError(
                f"The restored tables are not those of the backup: {'; '.join(told[:_TOLD])}.",
                hint="Restore to a moment before this backup, or take them as they are: --even-different",
            )
        return Compared(rows=sum(one.rows for one in found), tables=len(found), differences=told)

    def _objects(self) -> Objects:
        return Objects(self._store, backup_key(self._recovery))

    def _workplace(self) -> Workplace:
        return Workplace(
            root=self._state.root / "restore",
            sockets=self._state.run,
            log=self._state.logs / "restore.log",
            binaries=self._binaries,
            durable=True,
        )


async def _reach(recovery: Recovery, plan: Plan, see: "Callable[[Connection], Any]") -> Facts:
    try:
        async with recovery.at(Target(moment=plan.moment)) as connection:
            return await see(connection)
    except TargetNotReached:
        # The log was shipped after the moment, or there would be no plan: nothing was committed since.
        async with recovery.at(Target()) as connection:
            return await see(connection)


async def look(connection: Connection, plan: Plan, keys: KeptKeys, compared: Compared) -> Facts:
    """Put the tenants' keys in place and see what there is. Raises SealError when a canary does not open:
    then keys and data do not belong together."""
    replaced = await replace_keys(ScratchDatabase(connection), keys)
    newest: datetime | None = await connection.fetchval(_NEWEST)
    return Facts(
        backup=plan.backup.id,
        newest=to_wire(newest) if newest is not None else "",
        lsn=await connection.fetchval("select pg_current_wal_lsn()::text"),
        canaries=await open_canaries(connection, keys),
        rows=compared.rows,
        tables=compared.tables,
        differences=compared.differences,
        tenant_keys=replaced.opened,
        erased=len(replaced.erased),
        closed=len(replaced.closed),
    )
