"""Backups as a part of the platform: taken when they are due, kept as long as they should be, and told of."""

import asyncio
import contextlib
import functools
import hashlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import msgspec

from troth import VERSION
from troth.core.clock import Clock, to_wire
from troth.core.db import Database
from troth.core.errors import PlatformError, TrothError
from troth.core.settings import BackupSettings
from troth.core.state import State
from troth.data.backups.manifest import BASE, WAL, Backup, Catalogue, Kind, manifest_name
from troth.data.backups.retention import judge, old_leftovers, old_log
from troth.data.backups.schedule import History, due, newest_chain, overdue
from troth.data.backups.taking import Member, Progress, Source, Surroundings, take
from troth.data.backups.tool import ToolFailed
from troth.data.backups.vault import Vault
from troth.data.receipt_log import read_log
from troth.data.roles import REPLICATOR
from troth.data.stores.store import StoreError
from troth.hosting.plan import Action, Duty, Step, Tell
from troth.hosting.supervisor import Supervisor
from troth.wiring import backup_log
from troth.wiring.backup_bounds import Bounds, Members
from troth.wiring.backup_digests import record_if_possible
from troth.wiring.backup_log import LogPart
from troth.wiring.backup_shelf import Shelf
from troth.wiring.replicating import Guard

EVERY_SECONDS = 5.0
LIMIT_SECONDS = 86_400.0
"""A base backup of some terabytes takes hours; what makes no progress is ended by the store's patience."""

_SIZE = "select coalesce(sum(pg_database_size(oid)), 0)::bigint from pg_database"
_SYSTEM = "select system_identifier::text from pg_control_system()"

_log = logging.getLogger(__name__)

After = Callable[[Backup], Awaitable[None]]
"""Something that is to happen after each backup, such as a drill."""


class Running(msgspec.Struct):
    """The backup that is being taken, or the last one that was asked for."""

    number: int
    kind: Kind
    step: str = "waiting"
    done: int = 0
    total: int = 0
    finished: bool = False
    failure: str = ""
    hint: str = ""
    backup: str = ""


class BackupsPart:
    """The store, the schedule and the log. `after` is called once a backup was made and the old ones removed,
    `before_stop` while the log is still received.

    `settings` is None where troth.toml has no [backup]: then nothing is done, and asking says what to write.
    """

    def __init__(
        self,
        settings: BackupSettings | None,
        state: State,
        database: Members,
        supervisor: Supervisor,
        clock: Clock,
        bounds: Bounds | None = None,
    ) -> None:
        self.settings = settings
        self._bounds = bounds or Bounds()
        self.after: list[After] = []
        self.before_stop: list[Callable[[], Awaitable[None]]] = []
        self.shelf = Shelf(settings or BackupSettings(), state, self._bounds)
        self.log = LogPart(state, database, supervisor, clock, self._bounds)
        self._state, self._database, self._clock = state, database, clock
        self._guard = Guard(state)
        self._since = clock.now()
        self._taking = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._failed: datetime | None = None
        self._last_error = ""
        self.running: Running | None = None

    def follow(self, settings: BackupSettings | None) -> None:
        """How often and how long from now on; the store is the one that it was."""
        self.settings = settings

    # --- for the plan ---------------------------------------------------------------------------------------

    def steps(self) -> tuple[Step, ...]:
        """The receiver of the log; the store itself is opened later, so that nobody waits for it."""
        if self.settings is None:
            return ()
        return (Step(name="backups", title="Backups", start=self._start, after=("schema",), stop=self._stop),)

    def duties(self) -> tuple[Duty, ...]:
        """The log all the time, the schedule every few seconds."""
        if self.settings is None:
            return ()
        return (
            Duty(
                name="backup log",
                every=backup_log.EVERY_SECONDS,
                work=self._ship,
                limit=backup_log.LIMIT_SECONDS,
            ),
            Duty(name="backups", every=EVERY_SECONDS, work=self._keep_schedule, limit=LIMIT_SECONDS),
        )

    def actions(self) -> dict[str, Action]:
        """For the command line."""
        return {
            "backup.now": self.take_now,
            "backup.progress": self.progress,
            "backup.list": self.list_backups,
        }

    async def report(self) -> dict[str, object]:
        """For `troth status`."""
        if self.settings is None:
            return {"store": "none: write [backup] into troth.toml"}
        catalogue = self.shelf.catalogue
        chain = newest_chain(catalogue)
        last = chain[-1] if chain else None
        running = self.running
        return {
            "store": self.shelf.place,
            "last_backup": to_wire(last.ended) if last else "",
            "last_kind": last.kind if last else "",
            "last_bytes": last.size if last else 0,
            "kept": len(catalogue.backups),
            **msgspec.to_builtins(backup_log.view(self.log)),
            "running": running.step if running is not None and not running.finished else "",
            "problem": self.shelf.problem or self.log.problem or self._last_error,
        }

    async def troubles(self) -> tuple[str, ...]:
        """A sentence for each thing that is wrong."""
        if self.settings is None:
            return ()
        found = [*self.log.troubles()]
        if self._last_error:
            found.append(f"the last backup failed: {self._last_error}")
        elif late := overdue(self._clock.now(), self._since, self.shelf.catalogue, self.settings):
            found.append(f"the next backup is overdue by {int(late.total_seconds() // 60)} minutes")
        found += [f"backup {one} is gone from the store or damaged there" for one in self.shelf.lost]
        problem = self.shelf.problem or self.log.problem
        if problem and self.log.age() > self._bounds.alarm_seconds:
            found.append(problem)
        return tuple(found)

    # --- the work -------------------------------------------------------------------------------------------

    async def _start(self, _: Tell) -> str:
        self._since = self._clock.now()
        await self.log.start()
        assert self.settings is not None, "only with [backup]"
        return f"to {self.settings.store or 'a folder on this machine'}"

    async def _stop(self) -> None:
        for end in self.before_stop:
            await end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.log.stop()
        await self.shelf.close()

    async def _ship(self) -> str:
        """A store that is away is no failure yet: what is received waits, and its age tells."""
        vault: Vault | None = None
        with contextlib.suppress(StoreError):
            vault = await self.shelf.vault()
        return await self.log.work(vault)

    async def _keep_schedule(self) -> str:
        assert self.settings is not None, "only with [backup]"
        try:
            inventory = await self.shelf.inventory()
        except StoreError:
            return ""
        if self.shelf.torn:
            self.log.tear()
        kind = due(self._clock.now(), self._history(inventory.catalogue), self.settings)
        if kind is None or self._taking.locked():
            return ""
        backup = await self._take(Running(number=self._number(), kind=kind))
        return f"a {backup.kind} backup was made: {backup.id}" if backup else ""

    def _history(self, catalogue: Catalogue) -> History:
        return History(
            catalogue=catalogue,
            failures=self._failures,
            failed=self._failed,
            gap=self.log.gap,
            lost=bool(self.shelf.lost),
        )

    def _number(self) -> int:
        return (self.running.number if self.running is not None else 0) + 1

    async def take_now(self, asked: dict[str, object]) -> dict[str, object]:
        """Begin a backup; `backup.progress` tells how it goes. Raises PlatformError while there is one."""
        self._need_settings()
        if self._taking.locked():
            raise PlatformError("A backup is being taken already.", hint="See: troth status")
        running = Running(number=self._number(), kind="full" if asked.get("full") else "incremental")
        task = asyncio.create_task(self._take_asked(running), name="backup")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.running = running
        return {"number": running.number}

    async def progress(self, asked: dict[str, object]) -> dict[str, object]:
        """How far the backup of this number has come."""
        running = self.running
        if running is None or running.number != asked.get("number"):
            raise PlatformError("There is no such backup any more.", hint="See: troth backup list")
        return msgspec.to_builtins(running)

    async def list_backups(self, _: dict[str, object]) -> dict[str, object]:
        """Every backup in the store, the oldest first."""
        self._need_settings()
        inventory = await self.shelf.inventory(fresh=True)
        restorable = {one.id for one in inventory.catalogue.restorable}
        rows: list[dict[str, Any]] = [
            {
                "id": one.id,
                "kind": one.kind,
                "parent": one.parent or "",
                "ended": to_wire(one.ended),
                "bytes": one.size,
                "plain_bytes": one.plain,
                "member": one.member,
                "timeline": one.timeline,
                "restorable": one.id in restorable,
            }
            for one in inventory.catalogue.backups
        ]
        store = (await self.shelf.vault()).place
        log = msgspec.to_builtins(backup_log.view(self.log))
        return {"store": store, "backups": rows, "lost": list(self.shelf.lost), **log}

    def _need_settings(self) -> None:
        if self.settings is None:
            raise PlatformError("No backups are made.", hint="Write a [backup] table into troth.toml.")

    async def _take_asked(self, running: Running) -> None:
        try:
            await self._take(running)
        except TrothError as error:
            _log.error("the backup that was asked for failed: %s %s", error.public, error.detail)

    async def _take(self, running: Running) -> Backup | None:
        """One at a time. What fails is remembered, told as a trouble, and raised."""
        async with self._taking:
            self.running = running
            try:
                backup = await self._carry_out(running)
            except BaseException as error:
                running.finished = True
                running.failure = error.public if isinstance(error, TrothError) else repr(error)
                running.hint = str(getattr(error, "hint", ""))
                if isinstance(error, Exception):
                    self._failures += 1
                    self._failed = self._clock.now()
                    self._last_error = running.failure
                raise
            running.backup, running.finished = backup.id, True
            self._failures, self._failed, self._last_error = 0, None, ""
        for work in self.after:
            await work(backup)
        return backup

    async def _carry_out(self, running: Running) -> Backup:
        vault = await self.shelf.vault()
        inventory = await self.shelf.inventory(fresh=True)
        replicator = await Database.open(self._database.target(REPLICATOR), max_size=1)
        try:
            system: str = await replicator.fetchval(_SYSTEM, idempotent=True)
            _check_system(inventory.catalogue, system)
            tears = self.log.tears
            chain = newest_chain(inventory.catalogue)
            parent = chain[-1] if chain and running.kind == "incremental" and not self.shelf.lost else None
            backup = await self._take_from(parent, running, vault, replicator, system)
        finally:
            await replicator.close()
        self.log.mend(tears)
        running.step = "removing what is needed no more"
        await self._clean(vault, full=backup.parent is None)
        return backup

    async def _take_from(
        self, parent: Backup | None, running: Running, vault: Vault, replicator: Database, system: str
    ) -> Backup:
        """An increment that no member can give becomes a full backup: better a large one than none."""
        running.kind = "incremental" if parent else "full"

        def tell(progress: Progress) -> None:
            running.step, running.done, running.total = progress.step, progress.done, progress.total

        async def size() -> int:
            return await replicator.fetchval(_SIZE, idempotent=True)

        source = Source(
            members=await self._members(), access=self.log.access, guard=self._guard, system=system
        )
        around = Surroundings(
            vault=vault,
            folder=self._state.run / "backups",
            clock=self._clock,
            version=VERSION,
            tell=tell,
            shipped=self.log.shipped,
            receipts=self._receipts,
            size=size,
            digests=functools.partial(record_if_possible, self._database),
        )
        try:
            return await take(parent, source, around)
        except ToolFailed as error:
            if parent is None:
                raise
            _log.warning("no increment could be taken, so a full backup is: %s", error.public)
            return await self._take_from(None, running, vault, replicator, system)

    async def _members(self) -> list[Member]:
        """Those that run, standbys first: a backup should not cost the leader anything."""
        seen = {one.name: one for one in await self._database.report() if one.is_running}
        members = [one for one in self._database.replicas.members if one.name in seen]
        members.sort(key=lambda one: (seen[one.name].role == "leader", seen[one.name].lag or 0))
        return [Member(one.name, one.postgres) for one in members]

    async def _receipts(self) -> str:
        """A digest of the receipts that there are now: a restore is held against them."""

        def digest() -> str:
            lines = read_log(self._state.receipts)
            return hashlib.sha256(b"\n".join(lines)).hexdigest() if lines else ""

        return await asyncio.to_thread(digest)

    async def _clean(self, vault: Vault, *, full: bool) -> None:
        """Remove what nobody needs. What the store refuses to delete, because it is locked, goes later."""
        assert self.settings is not None, "only with [backup]"
        now = self._clock.now()
        inventory = await self.shelf.inventory(fresh=True)
        verdict = judge(inventory.catalogue, self.settings, now)
        entries = await vault.list(BASE)
        for identifier in verdict.drop:
            names = sorted((one.name for one in entries if f"/{identifier}/" in one.name), reverse=True)
            for name in names:  # the manifest first: half a backup must not count as one
                await vault.delete_if_free(name)
        kept = [one for one in inventory.catalogue.backups if one.id in verdict.keep]
        log = [one.name for one in await vault.list(WAL)]
        for identifier in self.shelf.ruins():  # what remains of them is a leftover then
            await vault.delete_if_free(manifest_name(identifier))
        for name in (*old_leftovers(entries, inventory.catalogue, now), *old_log(log, kept)):
            await vault.delete_if_free(name)
        self.shelf.remember(Catalogue(tuple(kept)), full=full)
        await self.shelf.inventory(fresh=True)
        await self.shelf.sweep()


def _check_system(catalogue: Catalogue, system: str) -> None:
    others = {one.system for one in catalogue.backups} - {system}
    if others:
        raise PlatformError(
            "The backup store holds backups of another database.",
            hint="Name another folder or prefix in [backup] store, or restore from these first.",
        )
