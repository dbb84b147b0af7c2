"""The canary writer as a duty of the keeper, and the count after whatever might have lost a write."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from troth.core.clock import SystemClock, to_wire
from troth.core.db import Database, DatabaseTarget
from troth.core.errors import PlatformError, Unavailable
from troth.core.state import State
from troth.data.epochs import open_epochs
from troth.data.keys import KeyRing, TenantKeys
from troth.data.receipt_log import ReceiptFault, ReceiptLog, set_aside
from troth.data.receipts import CanaryWriter, Receipt, count_survivors, read_rows
from troth.data.roles import APP, OWNER
from troth.data.survivals import Event, Survived, keep_survived, read_survivals, survived
from troth.hosting.plan import Tell
from troth.wiring.declaration import PROBE_TENANT

EVERY_SECONDS = 1.0

LIMIT_SECONDS = 30.0
"""A write looks for a leader for ten seconds, and a count after it again."""

SILENT_SECONDS = 60.0
"""Without an acknowledged write for so long, something is wrong that no failover explains."""

_SHOWN = 5

_log = logging.getLogger(__name__)


class ReceiptsView(msgspec.Struct, frozen=True, kw_only=True):
    """What `troth status` shows."""

    newest: int
    at: str
    timeline: int
    survivals: tuple[Survived, ...]


class _Opened(msgspec.Struct, frozen=True):
    owner: Database
    log: ReceiptLog
    writer: CanaryWriter


class Receipts:
    """Writes a canary in each round; counts when another member leads or the database was lost."""

    def __init__(self, state: State, target: Callable[[str], DatabaseTarget]) -> None:
        self._state = state
        self._target = target
        self._clock = SystemClock()
        self._opened: _Opened | None = None
        self._timeline = 0
        self._owed: Event | None = None
        self._last_at = time.monotonic()

    async def open(self, _: Tell) -> str:
        """Open the log, hold the database against it, and be ready to write."""
        log, fault = await asyncio.to_thread(self._open_log)
        owner = await Database.open(self._target(OWNER), max_size=1)
        try:
            found = await owner.fetchval("select id from troth.tenant where slug = $1", PROBE_TENANT)
            tenant = UUID(str(found))
            keys = await self._keys(tenant)
            newest = await owner.fetchval("select coalesce(max(number), 0) from troth.canary_row")
        except BaseException:
            await owner.close()
            raise
        self._opened = _Opened(owner, log, CanaryWriter(owner, keys, tenant, log, newest=newest))
        self._timeline = log.recent()[-1].timeline if log.recent() else 0
        if fault is not None:
            await self._keep(Survived(after="start", at=to_wire(self._clock.now()), fault=fault.public))
            return f"begun anew: {fault.public}"
        counted = await self._count("start")
        self._last_at = time.monotonic()
        return str(counted) if counted.acknowledged else "none to hold the database against yet"

    async def work(self) -> str:
        """One round: a write, and a count where one is due."""
        if self._opened is None:
            raise PlatformError("The receipts are not open.")
        try:
            receipt = await self._opened.writer.write()
            self._last_at = time.monotonic()
            self._owe(receipt)
            return await self._settle()
        except Unavailable as error:
            # A failover: the members' own troubles tell of it. What was acknowledged is counted after it.
            self._owed = self._owed or "interruption"
            silent = time.monotonic() - self._last_at
            if silent < SILENT_SECONDS:
                return ""
            raise PlatformError(
                f"No write was acknowledged for {silent:.0f} seconds.", detail=error.detail
            ) from error

    async def close(self) -> None:
        """End the connections."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.owner.close()

    def history(self) -> tuple[Survived, ...]:
        """Every count that is kept, the newest last."""
        return read_survivals(self.folder)

    @property
    def folder(self) -> Path:
        """Where log, key and history lie."""
        return self._state.receipts

    async def report(self) -> ReceiptsView:
        """For `troth status`."""
        recent = self._opened.log.recent() if self._opened is not None else ()
        newest = recent[-1] if recent else None
        return ReceiptsView(
            newest=newest.number if newest else 0,
            at=newest.at if newest else "",
            timeline=newest.timeline if newest else 0,
            survivals=self.history()[-_SHOWN:],
        )

    def _open_log(self) -> tuple[ReceiptLog, ReceiptFault | None]:
        """A log that does not verify is set aside and told of; it must not keep the platform down."""
        try:
            return ReceiptLog.open(self.folder, self._state.receipts_key), None
        except ReceiptFault as fault:
            _log.error("the receipts do not verify: %s", fault.public)
            set_aside(self.folder, f"faulty-{self._clock.now():%Y%m%dT%H%M%S}")
            return ReceiptLog.open(self.folder, self._state.receipts_key), fault

    async def _keys(self, tenant: UUID) -> TenantKeys:
        app = await Database.open(self._target(APP), max_size=1)
        try:
            return await KeyRing(app, open_epochs(self._state.root_key)).keys(tenant)
        finally:
            await app.close()

    def _owe(self, receipt: Receipt) -> None:
        if self._timeline and receipt.timeline != self._timeline:
            self._owed = "failover"
        self._timeline = receipt.timeline

    async def _settle(self) -> str:
        """A count that fails stays owed."""
        if self._owed is None:
            return ""
        counted = await self._count(self._owed)
        self._owed = None
        return str(counted)

    async def _count(self, after: Event) -> Survived:
        assert self._opened is not None, "counted only while open"
        receipts = self._opened.log.recent()
        rows = await read_rows(self._opened.owner)
        survival = await asyncio.to_thread(count_survivors, receipts, rows)
        counted = survived(after, survival, at=to_wire(self._clock.now()), timeline=self._timeline)
        if counted.acknowledged:
            await self._keep(counted)
        return counted

    async def _keep(self, counted: Survived) -> None:
        await asyncio.to_thread(keep_survived, self.folder, counted)
        if counted.is_whole or self._opened is None:
            return
        _log.error("acknowledged writes were lost: %s", counted)
        await self._opened.owner.execute(
            "insert into troth.audit_event (id, event, detail) values ($1, 'receipts.lost', $2)"
            " on conflict do nothing",
            uuid7(),
            msgspec.json.encode(counted).decode(),
            idempotent=True,
        )
