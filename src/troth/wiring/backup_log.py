"""The write-ahead log as a part of the platform: received all the time, shipped every few seconds.

The receiver runs under the supervisor. It writes into a spool, from which one round after the other ships;
while the store is away the spool grows to `Bounds.spool_bytes`, then the receiver stops, and PostgreSQL keeps
the log by itself up to `max_slot_wal_keep_size`. The database goes on in any case: past that, the log has a
gap, which the next backup closes and everybody is told of.
"""

import asyncio
import logging
import time
from datetime import datetime

import msgspec

from troth.core.clock import Clock, to_wire
from troth.core.db import Database
from troth.core.errors import PlatformError, TrothError
from troth.core.state import State
from troth.data.backups.shipping import Coverage, Look, Seam, Shipper
from troth.data.backups.slot import make_slot
from troth.data.backups.spool import Spool
from troth.data.backups.tool import RECEIVER, SLOT, Access, receiver
from troth.data.backups.vault import Vault
from troth.data.backups.wal import read_lsn
from troth.data.roles import REPLICATOR
from troth.data.stores.store import StoreError
from troth.hosting.backoff import Restart
from troth.hosting.crashes import Exit
from troth.hosting.supervisor import Supervised, Supervisor
from troth.wiring.backup_bounds import Bounds, Members
from troth.wiring.replicating import access_of

EVERY_SECONDS = 1.0
"""Between two looks at the leader: each is an instant up to which the log may turn out to be shipped."""

LIMIT_SECONDS = 60.0
"""For one look."""

ROUND_SECONDS = 600.0
"""For one round of shipping; what it has shipped by then is not shipped again."""

SHIP_SECONDS = 3.0
"""Between two rounds of shipping. The newest recoverable write is as old as this, one look, the receiver's
report of a second and the upload: less than ten seconds with a store that takes some of them."""

_RESTART = Restart(longest=2.0)
_WAIT_SECONDS = 300.0
_POLL_SECONDS = 0.2

_LOOK = """
select pg_current_wal_flush_lsn()::text as flushed,
    (select write_lsn::text from pg_stat_replication where application_name = $1) as received,
    slot.wal_status as slot, slot.restart_lsn::text as kept
from (select) as nothing
left join pg_replication_slots slot on slot.slot_name = $2
"""
"""Nothing is said of a slot that is not there."""

_log = logging.getLogger(__name__)


class LogPart:
    """The receiver and the shipper. `problem` says why the last round of shipping failed, and is empty once
    one came to its end."""

    def __init__(
        self, state: State, database: Members, supervisor: Supervisor, clock: Clock, bounds: Bounds
    ) -> None:
        self.problem = ""
        self._bounds = bounds
        self._database = database
        self._supervisor = supervisor
        self._clock = clock
        self._spool = Spool(state.spool)
        self._file = state.logs / "backup-log.log"
        self._coverage = Coverage()
        self._receiver: Supervised | None = None
        self._replicator: Database | None = None
        self._shipper: Shipper | None = None
        self._vault: Vault | None = None
        self._round: asyncio.Task[None] | None = None
        self._shipped_at = 0.0
        self._receivers = 0
        self._since = clock.now()
        self._full = self._lost = False
        self._seam = Seam()
        self._reached = 0
        self._slotless = ""

    async def start(self) -> None:
        """Begin to receive."""
        self._since = self._clock.now()
        # One that an earlier keeper started writes into the spool that is about to be tidied.
        await self._supervisor.end_kept(lambda spec: spec.folder == self._spool.folder)
        await asyncio.to_thread(self._spool.prepare)
        self._receive()

    async def stop(self) -> None:
        """End the receiver. What was not shipped stays in the spool, for the next start."""
        shipping, self._round = self._round, None
        if shipping is not None:
            shipping.cancel()
            await asyncio.gather(shipping, return_exceptions=True)
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            await receiver.stop()
        replicator, self._replicator = self._replicator, None
        if replicator is not None:
            await replicator.close()

    async def work(self, vault: Vault | None) -> str:
        """One look. Where it is time, a round of shipping begins beside it: a store that does not answer
        holds up no look, and the spool keeps its bound. Without a store what is received waits.

        Raises what the last round failed with, unless it was the store: that is a `problem`.
        """
        said = await self._look()
        await self._bound()
        if self._round is not None and self._round.done():
            ended, self._round = self._round, None
            ended.result()
        is_time = time.monotonic() - self._shipped_at >= SHIP_SECONDS
        if vault is not None and self._round is None and is_time:
            self._round = asyncio.create_task(self._ship(vault), name="backup log to the store")
        return said

    async def shipped(self, lsn: int) -> None:
        """Return once the store has the log up to `lsn`. Raises PlatformError when that takes too long."""
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                while self._coverage.shipped < lsn:  # noqa: ASYNC110 - a duty of its own ships
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise PlatformError(
                "The log that the backup needs did not reach the store.", hint="See: troth logs backup-log"
            ) from None

    @property
    def until(self) -> datetime | None:
        """The instant up to which every acknowledged write can be recovered from the store."""
        return self._coverage.until

    def age(self) -> float:
        """Seconds since then, or since the start where nothing was shipped yet."""
        return (self._clock.now() - (self._coverage.until or self._since)).total_seconds()

    def troubles(self) -> tuple[str, ...]:
        """A sentence for what is wrong."""
        found: list[str] = []
        if self.age() > self._bounds.alarm_seconds:
            since = f"since {to_wire(self._coverage.until)}" if self._coverage.until else "yet"
            found.append(f"no write has reached the backup store {since}")
        if self._full:
            found.append("the log waits for the backup store; PostgreSQL keeps it until its own limit")
        if self._slotless:
            found.append(f"the log is not kept for the backups: {self._slotless}")
        if self.gap:
            found.append("the shipped log has a gap, until the next backup is made")
        return tuple(found)

    @property
    def gap(self) -> bool:
        """Whether some of the log never arrived, and no backup was begun since."""
        return self._coverage.is_torn

    @property
    def tears(self) -> int:
        """How often that has happened: a backup that was begun after so many closes the gap of each."""
        return self._coverage.tears

    def tear(self) -> None:
        """Some of the log is missing from the store, as it turned out."""
        if not self.gap:
            self._coverage.tear()

    def mend(self, tears: int) -> None:
        """A backup was made that was begun after so many tears."""
        self._coverage.mend(tears)

    async def _look(self) -> str:
        """A leader that is lost is no failure of this duty: the age of the newest write tells of it."""
        try:
            at = self._clock.now()
            (row,) = await (await self._connect()).fetch(_LOOK, RECEIVER, SLOT, idempotent=True)
        except TrothError:
            return ""
        received = read_lsn(row["received"]) if row["received"] else None
        self._coverage.note(Look(at, read_lsn(row["flushed"]), received))
        self._reached = max(self._reached, received or 0)
        if row["kept"] is None and row["slot"] is None:
            return await self._make()
        self._slotless = ""
        if row["slot"] == "lost":
            return await self._mend()
        return await self._compare(received, read_lsn(row["kept"]) if row["kept"] else None)

    async def _compare(self, received: int | None, kept: int | None) -> str:
        """Where the log goes on, held against where it ended. Patroni makes a lost slot anew, often before it
        was seen to be lost: then the leader keeps the log from somewhere behind that on."""
        is_connected = received is not None
        begins = await asyncio.to_thread(self._spool.begin) if is_connected else kept
        if not self._seam.go_on(begins, connected=is_connected):
            return ""
        self.tear()
        _log.error("the shipped log has a gap: its slot was made anew")
        return "the log has a gap; its slot was made anew"

    async def _make(self) -> str:
        """A leader without our slot: a new one, where nobody keeps it on the standbys. The receiver, which is
        started again and again meanwhile, begins where the new slot does."""
        try:
            kept = await make_slot(await self._connect())
        except PlatformError as error:
            self._slotless = error.public
            return ""
        self._slotless = ""
        if kept is None:
            return ""
        return await self._compare(None, kept) or "the leader had no slot for the log; it was made"

    async def _connect(self) -> Database:
        if self._replicator is None:
            self._replicator = await Database.open(self._database.target(REPLICATOR), max_size=1)
        return self._replicator

    async def _mend(self) -> str:
        """PostgreSQL has thrown away what was not received in time. The next look makes the slot anew.

        While the spool is full, nothing could be received: then the lost slot stays, which keeps no log, and
        the disk of the members does not fill either.
        """
        if not self._lost:
            self._lost = True
            self._coverage.tear()
            _log.error("the shipped log has a gap: the store was away for too long")
        if self._full:
            return ""
        await self._pause()
        await asyncio.to_thread(self._spool.prepare)
        replicator = await self._connect()
        await replicator.fetch("select pg_drop_replication_slot($1)", SLOT, idempotent=False)
        self._lost = False
        self._receive()
        return "the log has a gap; it is received anew"

    async def _bound(self) -> None:
        size, bound = await asyncio.to_thread(self._spool.size), self._bounds.spool_bytes
        if not self._full and size > bound:
            self._full = True
            await self._pause()
        elif self._full and size < bound // 2:
            self._full = False
            await asyncio.to_thread(self._spool.prepare)
            self._receive()

    async def _ship(self, vault: Vault) -> None:
        """One round. What the receiver had before it counts as shipped, unless it is another receiver now."""
        if self._shipper is None or self._vault is not vault:
            self._shipper, self._vault = Shipper(self._spool, vault), vault
        looked, receivers = self._coverage.received, self._receivers
        try:
            async with asyncio.timeout(ROUND_SECONDS):
                shipped = await self._shipper.round()
        except StoreError as error:
            self.problem = error.public
        except TimeoutError:
            self.problem = f"The log was not shipped within {ROUND_SECONDS:.0f} s; it is tried again."
        else:
            self.problem = ""
            if receivers == self._receivers and not self._seam.is_open:
                self._coverage.ship(shipped.reach(looked))
        finally:
            self._shipped_at = time.monotonic()

    def _receive(self) -> None:
        replicas = self._database.replicas
        members = [one.postgres for one in replicas.members]
        spec = receiver(self.access, members, self._spool.folder, self._file)
        self._receiver = self._supervisor.start(spec, restart=_RESTART, on_exit=self._begin_anew)

    def _begin_anew(self, end: Exit) -> None:
        """Before it is started again. What another leader never had may have been received, and counted."""
        self._receivers += 1
        self._coverage.shipped = 0
        shipped = self._shipper.reached if self._shipper is not None else 0
        self._seam.end(max(self._reached, shipped, self._spool.end()))
        if not end.asked:
            self._spool.prepare()

    async def _pause(self) -> None:
        self._receivers += 1
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            await receiver.stop()

    @property
    def access(self) -> Access:
        """How PostgreSQL's tools get at the members."""
        return access_of(self._database)


class LogView(msgspec.Struct, frozen=True, kw_only=True):
    """What `troth status` shows of the log."""

    newest_write: str
    age_seconds: float


def view(part: LogPart) -> LogView:
    """The log at this moment."""
    return LogView(newest_write=to_wire(part.until) if part.until else "", age_seconds=round(part.age(), 1))
