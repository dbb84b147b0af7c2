"""The drill after a backup: a restore into a scratch server from the store alone, held against what was
recorded.

1. fetch and open the newest backup, which has to be the one that was just taken
2. recover to the restore point of the recorded digests: the same rows in every table
3. recover to the end of the log: how many acknowledged writes are there, and how old is the newest
4. put the tenants' keys in place as they were kept last, open each of them, and every canary with them
5. destroy the scratch
"""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from troth.core.clock import Clock, to_wire
from troth.core.errors import TrothError
from troth.core.secret import Secret
from troth.data.backups.digests import Connection, Digests, differences, read_digests
from troth.data.backups.fetching import Objects
from troth.data.backups.kept_keys import KeptKeys, read_kept
from troth.data.backups.manifest import WAL
from troth.data.backups.planning import NotRestorable, Plan, plan_restore
from troth.data.backups.recovering import Recovery, Start
from troth.data.backups.replacing import replace_keys
from troth.data.backups.restoring import Restoring, Tell, Workplace
from troth.data.backups.scratch import Target
from troth.data.keys import KeyRing
from troth.data.receipts import Receipt, count_survivors, open_rows, read_rows
from troth.data.recovery import backup_key, kept_keys_key
from troth.data.stores.store import Store

HISTORY = 50
"""Drills that are remembered."""

_TOLD = 5
_REACHED = "select pg_last_wal_replay_lsn()::text"
_NEWEST = "select coalesce(pg_last_xact_replay_timestamp(), (select max(at) from troth.canary_row))"


class Drilled(msgspec.Struct, frozen=True, kw_only=True):
    """What a drill showed. Times are RFC 3339; `bytes` are those of the base backups, opened; `age_seconds`
    is that of the newest write that could be recovered, when the drill began. `tenant_keys` opened with the
    keys in the store. `problem` is empty when all is well, else a sentence."""

    backup: str
    at: str
    seconds: float
    bytes: int = 0
    tables: int = 0
    rows: int = 0
    canaries: int = 0
    tenant_keys: int = 0
    acknowledged: int = 0
    survived: int = 0
    newest: str = ""
    age_seconds: float = 0.0
    problem: str = ""

    @property
    def passed(self) -> bool:
        return not self.problem


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """Where a drill takes place, and what it may use: the store and the recovery key, and nothing else of the
    platform. `receipts` reads those that were given out by now."""

    start: Start
    store: Store
    recovery: Secret
    workplace: Workplace
    clock: Clock
    tell: Tell
    receipts: Callable[[], Awaitable[Sequence[Receipt]]]


class Seen(msgspec.Struct, kw_only=True):
    """What was seen so far, kept also when something fails in the end."""

    bytes: int = 0
    tables: int = 0
    rows: int = 0
    canaries: int = 0
    tenant_keys: int = 0
    acknowledged: int = 0
    survived: int = 0
    newest: datetime | None = None


async def drill(ground: Ground, backup: str, recorded: Digests | None) -> Drilled:
    """Restore `backup` into a scratch server and judge it; `recorded` are the digests taken on the leader
    after it, None when there are none. Never raises for what is wrong with the backup: that is the result."""
    began, at = time.monotonic(), ground.clock.now()
    seen = Seen()
    try:
        problem = await _drill(ground, backup, recorded, seen)
    except TrothError as error:
        problem = error.public
    finally:
        await asyncio.to_thread(shutil.rmtree, ground.workplace.root, ignore_errors=True)
    return Drilled(
        backup=backup,
        at=to_wire(at),
        seconds=round(time.monotonic() - began, 1),
        bytes=seen.bytes,
        tables=seen.tables,
        rows=seen.rows,
        canaries=seen.canaries,
        tenant_keys=seen.tenant_keys,
        acknowledged=seen.acknowledged,
        survived=seen.survived,
        newest=to_wire(seen.newest) if seen.newest else "",
        age_seconds=round(max(0.0, (at - seen.newest).total_seconds()), 1) if seen.newest else 0.0,
        problem=problem,
    )


async def _drill(ground: Ground, backup: str, recorded: Digests | None, seen: Seen) -> str:
    await asyncio.to_thread(shutil.rmtree, ground.workplace.root, ignore_errors=True)
    objects = Objects(ground.store, backup_key(ground.recovery))
    plan = await _plan(ground, objects, backup)
    seen.bytes = sum(one.plain for one in plan.chain)
    restoring = Restoring(ground.start, objects, ground.workplace, ground.tell)
    await restoring.bring(plan)
    recovery, _ = restoring.recovery(plan)
    await recovery.prepare()
    return await _compare(recovery, recorded, seen) or await _reach_the_end(ground, recovery, seen)


async def _plan(ground: Ground, objects: Objects, backup: str) -> Plan:
    """Raises NotRestorable when the newest backup in the store is not the one that should be there."""
    plan = plan_restore(await objects.catalogue(), await ground.store.list(WAL), None)
    if plan.backup.id != backup:
        raise NotRestorable(f"The store does not show backup {backup}; its newest one is {plan.backup.id}.")
    return plan


async def _compare(recovery: Recovery, recorded: Digests | None, seen: Seen) -> str:
    """The tables at the restore point. Without recorded digests nothing was compared, and that is a
    problem."""
    if recorded is None:
        return "No digests were recorded for this backup: its rows could not be compared."
    async with recovery.at(Target(point=recorded.point)) as connection:
        found = await read_digests(connection)
    seen.tables, seen.rows = len(found), sum(table.rows for table in found)
    told = differences(recorded.tables, found)
    if not told:
        return ""
    more = f", and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return f"The restored tables are not those of before: {'; '.join(told[:_TOLD])}{more}."


async def _reach_the_end(ground: Ground, recovery: Recovery, seen: Seen) -> str:
    """Keys, canaries and receipts at the end of the log."""
    receipts = await ground.receipts()  # before the rows: what comes later has no row to be missed
    async with recovery.at(Target()) as connection:
        seen.newest = await connection.fetchval(_NEWEST)
        reached: str | None = await connection.fetchval(_REACHED)
        rows = await read_rows(connection)
        # Only now: whatever epoch the log speaks of was in the store before it was used.
        keys = await read_kept(ground.store, kept_keys_key(ground.recovery))
        if keys is None:
            return "There are no keys in the store: nothing that is restored could be read."
        replaced = await replace_keys(ScratchDatabase(connection), keys)
        seen.tenant_keys = replaced.opened
        if replaced.closed:
            return f"The keys of {len(replaced.closed)} tenants do not open: nothing of theirs could be read."
        seen.canaries = await open_canaries(connection, keys)
    survival = count_survivors(receipts, rows, until=reached or "")
    seen.acknowledged, seen.survived = survival.acknowledged, survival.survived
    if not seen.canaries:
        return "There was no canary in the restored data to open."
    return "" if survival.is_whole else f"Of the receipts only {survival}."


class ScratchDatabase:
    """A restored database as keys are read from it and replaced in it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def fetch(self, query: str, *args: object, idempotent: bool | None = None) -> list[Any]:
        return await self._connection.fetch(query, *args)


async def open_canaries(connection: Connection, keys: KeptKeys) -> int:
    """Open every canary with the recovered keys; returns how many there were. Raises SealError."""
    rows = await read_rows(connection)
    if not rows:
        return 0
    tenant = await connection.fetchval("select tenant_id from troth.canary_row limit 1")
    ring = KeyRing(ScratchDatabase(connection), keys.epochs)
    return open_rows(await ring.keys(tenant), rows)


def remember(history: Sequence[Drilled], drilled: Drilled) -> tuple[Drilled, ...]:
    """The history with this one at its end."""
    return (*history, drilled)[-HISTORY:]
