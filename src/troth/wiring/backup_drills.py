"""After each backup, and on request: a restore into a scratch server from the store alone."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from troth.core.clock import Clock
from troth.core.errors import PlatformError, TrothError
from troth.core.promise import Drill, Probe
from troth.core.secret import Secret, write_public
from troth.core.settings import BackupSettings
from troth.core.state import State
from troth.data.backups.digests import Digests
from troth.data.backups.drilling import Drilled, Ground, drill, remember
from troth.data.backups.fetching import Objects
from troth.data.backups.manifest import Backup
from troth.data.backups.promise import BackupsView, Rereading, drills, probe
from troth.data.backups.restoring import Workplace
from troth.data.backups.wal import read_lsn
from troth.data.receipt_log import read_log, read_public_key, verify_receipts
from troth.data.receipts import KEPT_ROWS, Receipt
from troth.data.recovery import backup_key, read_recovery_key
from troth.data.stores.store import Store
from troth.hosting import isolation
from troth.hosting.plan import Action
from troth.hosting.programs import Programs
from troth.wiring.backup_bounds import Members
from troth.wiring.backup_digests import record
from troth.wiring.backup_store import open_part, store_settings

_log = logging.getLogger(__name__)


_REMEMBERED = 8
"""How many drills' progress is kept for who asked for one: the next may have begun meanwhile."""


class Progress(msgspec.Struct):
    """How far a drill has come."""

    number: int = 0
    step: str = ""
    done: float = 0.0
    finished: bool = True
    result: Drilled | None = None


class BackupDrills:
    """One drill at a time. `shipped` returns once the log up to a position is in the store, `keep_keys` once
    the store holds the keys of now."""

    def __init__(
        self,
        settings: BackupSettings | None,
        state: State,
        database: Members,
        clock: Clock,
        shipped: Callable[[int], Awaitable[None]],
        keep_keys: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings, self._state, self._database = settings, state, database
        self._clock, self._shipped, self._keep_keys = clock, shipped, keep_keys
        self._one_at_a_time = asyncio.Lock()
        self._progress = Progress()
        """The drill that is going on, or the last one."""
        self._lately: deque[Progress] = deque(maxlen=_REMEMBERED)
        self._rereading = Rereading()
        self._task: asyncio.Task[None] | None = None

    def follow(self, settings: BackupSettings | None) -> None:
        """How often and how long from now on; the store is the one that it was."""
        self._settings = settings

    # --- for the plan ---------------------------------------------------------------------------------------

    async def after_backup(self, backup: Backup) -> None:
        """The drill of a backup that was just taken, against the digests that it brought. Raises
        PlatformError when it failed: whoever runs this says so, and the next status shows it until a drill
        has passed again."""
        drilled = await self._run(backup.id, recorded=backup.digests)
        if not drilled.passed:
            raise PlatformError(f"The drill of backup {backup.id} failed: {drilled.problem}")

    def actions(self) -> dict[str, Action]:
        """For the command line."""
        return {"backup.drill": self._start, "backup.drilling": self._tell_progress}

    async def stop(self) -> None:
        """Cut short what is going on; the scratch goes with it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def troubles(self) -> tuple[str, ...]:
        """A sentence while the last drill is one that failed."""
        history = self.history()
        if self._settings is None or not history or history[-1].passed:
            return ()
        return (f"the last drill of a backup failed: {history[-1].problem}",)

    async def report(self) -> dict[str, object]:
        """For `troth status`."""
        history = self.history()
        last = msgspec.to_builtins(history[-1]) if history else None
        return {"last": last, "running": "" if self._progress.finished else self._progress.step}

    def probe(self) -> Probe:
        """For the factsheet."""
        return probe(self._view(), self._rereading)

    def drills(self) -> tuple[Drill, ...]:
        """For `troth drill`; none without [backup]."""
        return drills(self._view()) if self._settings is not None else ()

    def history(self) -> tuple[Drilled, ...]:
        """The drills that are remembered, the newest last."""
        file = self._state.backup_drills
        return msgspec.json.decode(file.read_bytes(), type=tuple[Drilled, ...]) if file.exists() else ()

    # --- the work -------------------------------------------------------------------------------------------

    async def _start(self, _: dict[str, object]) -> dict[str, object]:
        if self._settings is None:
            raise PlatformError("There are no backups.", hint="Write a [backup] table into troth.toml.")
        if not self._progress.finished:
            return {"number": self._progress.number}
        backup = await self._newest()
        progress = self._next()
        self._task = asyncio.create_task(self._on_request(backup, progress), name="backup drill")
        return {"number": progress.number}

    def _next(self) -> Progress:
        """The one that is shown from now on."""
        self._progress = Progress(number=self._progress.number + 1, step="waiting", finished=False)
        self._lately.append(self._progress)
        return self._progress

    async def _on_request(self, backup: str, progress: Progress) -> None:
        try:
            await self._run(backup, progress)
        except TrothError as error:
            _log.error("the drill was given up: %s", error.public)
        finally:
            progress.finished = True

    async def _tell_progress(self, asked: dict[str, object]) -> dict[str, object]:
        """Of the drill with this number, while it is remembered; else of the last one."""
        number = asked.get("number")
        return msgspec.to_builtins(
            next((one for one in self._lately if one.number == number), self._progress)
        )

    async def _run(
        self, backup: str, progress: Progress | None = None, *, recorded: Digests | None = None
    ) -> Drilled:
        async with self._one_at_a_time:
            progress = progress or self._next()
            try:
                drilled = await self._drill(backup, progress, recorded)
            finally:
                progress.finished = True
            progress.result = drilled
            write_public(self._state.backup_drills, msgspec.json.encode(remember(self.history(), drilled)))
            if not drilled.passed:
                _log.error("the drill of backup %s failed: %s", backup, drilled.problem)
            return drilled

    async def _drill(self, backup: str, progress: Progress, recorded: Digests | None) -> Drilled:
        def tell(step: str, done: float) -> None:
            progress.step, progress.done = step, done

        recovery = self._recovery()
        store = await self._store()
        try:
            await self._keep_keys()
            if recorded is None:
                tell("recording what every table holds", 0.0)
                recorded = await self._record(backup)
            ground = Ground(
                start=Programs(self._state.root, isolation.inside(contained=True)).start,
                store=store,
                recovery=recovery,
                workplace=self._workplace(),
                clock=self._clock,
                tell=tell,
                receipts=self._receipts,
            )
            return await drill(ground, backup, recorded)
        finally:
            await store.close()

    async def _record(self, backup: str) -> Digests:
        """The digests of the leader's tables, once the log up to them is in the store."""
        recorded = await record(self._database, backup)
        await self._shipped(read_lsn(recorded.lsn))
        return recorded

    async def _receipts(self) -> Sequence[Receipt]:
        """The newest receipts, their signatures checked."""
        folder = self._state.receipts
        if not (folder / "key.json").exists():
            return ()
        return await asyncio.to_thread(
            lambda: verify_receipts(read_log(folder)[-KEPT_ROWS:], read_public_key(folder / "key.json"))
        )

    async def _newest(self) -> str:
        store = await self._store()
        try:
            catalogue = await self._objects(store).catalogue()
        finally:
            await store.close()
        if not catalogue.restorable:
            raise PlatformError("There is no backup to drill yet.", hint="Take one: troth backup now")
        return max(catalogue.restorable, key=lambda one: one.ended).id

    def _view(self) -> BackupsView:
        store = self._settings.store if self._settings is not None else ""
        return BackupsView(
            settings=self._settings,
            store=self._store,
            objects=self._objects,
            drilled=self.history,
            now=self._clock.now,
            here=not store.startswith(("s3:", "sftp:")),
        )

    def _objects(self, store: Store) -> Objects:
        return Objects(store, backup_key(self._recovery()))

    async def _store(self) -> Store:
        assert self._settings is not None, "only with [backup]"
        return await open_part(store_settings(self._settings, self._state), self._recovery())

    def _recovery(self) -> Secret:
        return read_recovery_key(self._state.recovery_key)

    def _workplace(self) -> Workplace:
        return Workplace(
            root=self._state.root / "scratch",
            sockets=self._state.run,
            log=self._state.logs / "backup-drill.log",
            binaries=self._database.replicas.binaries,
            durable=False,
        )
