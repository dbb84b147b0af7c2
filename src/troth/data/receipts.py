"""Receipts of acknowledged writes, and how many of those writes survived a failover or a restore.

The keeper writes a canary row about once a second, sealed under the probes' tenant's key. Only after the
database acknowledged the commit (with members: after a quorum of them has it on disk) is a signed receipt
appended to a log outside the database (`data.receipt_log`). A commit whose outcome is unknown yields none.

    receipts = log.recent()                          # first the receipts …
    rows = await read_rows(database)                 # … then the rows: a row written in between has none
    survival = count_survivors(receipts, rows)       # after a failover
    survival = count_survivors(receipts, rows, until=lsn)   # after a restore that replayed up to `lsn`
    open_rows(keys, rows)                            # raises SealError unless keys and data fit

`read_rows` takes anything with asyncpg's `fetch`: a `Database`, or a connection to a scratch server.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import msgspec
from uuid_utils.compat import uuid7

from troth.core.clock import to_wire
from troth.core.errors import Unavailable
from troth.data.keys import TenantKeys

KEPT_ROWS = 3600
"""Rows that stay in the database: about an hour of them."""

PURPOSE = "receipt"
"""What the rows are sealed for."""

_READ = "select number, id, sealed from troth.canary_row order by number"
_PLACE = "select pg_current_wal_insert_lsn()::text"


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """That a commit was acknowledged.

    `at` is the database's time (RFC 3339), `lsn` a place in the write-ahead log at or behind the commit
    (empty when the leader was lost before it could be asked), `row` the SHA-256 of the row and `previous`
    that of the receipt before, both base64url.
    """

    number: int
    id: UUID
    at: str
    lsn: str
    timeline: int
    row: str
    previous: str


class Row(msgspec.Struct, frozen=True):
    """A canary row as it stands in a database."""

    number: int
    id: UUID
    sealed: bytes


class Survival(msgspec.Struct, frozen=True, kw_only=True):
    """What became of acknowledged writes. `lost` are the numbers of those that are gone, `altered` of those
    that are there with another content. `unknown` counts rows without a receipt: commits whose outcome the
    writer never learned, and which happened; they are in none of the other numbers."""

    acknowledged: int
    survived: int
    lost: tuple[int, ...] = ()
    altered: tuple[int, ...] = ()
    unknown: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing that was acknowledged is missing or altered."""
        return self.survived == self.acknowledged

    def __str__(self) -> str:
        return f"{self.survived} of {self.acknowledged} acknowledged writes survived"


class RowSource(Protocol):
    """Whoever can be asked for rows."""

    async def fetch(self, query: str, /) -> Sequence[Any]: ...


class WritingDatabase(Protocol):
    """The part of `core.db.Database` that the writer needs."""

    async def fetch(self, query: str, *args: object, idempotent: bool | None = None) -> Sequence[Any]: ...


class Log(Protocol):
    """Where receipts go; see `data.receipt_log`."""

    @property
    def newest(self) -> int: ...

    async def append(self, receipt: Receipt) -> Receipt: ...


def digest_row(row: Row) -> str:
    """The SHA-256 of a row, base64url: its number (8 bytes, big-endian), its id, and its sealed bytes."""
    return encode_digest(hashlib.sha256(row.number.to_bytes(8, "big") + row.id.bytes + row.sealed).digest())


def encode_digest(digest: bytes) -> str:
    """base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


async def read_rows(source: RowSource) -> tuple[Row, ...]:
    """Every canary row, the oldest first."""
    rows = await source.fetch(_READ)
    # A driver's own UUID type compares equal, yet is no key of ours: say it in plain types.
    return tuple(Row(int(row["number"]), UUID(str(row["id"])), bytes(row["sealed"])) for row in rows)


def open_rows(keys: TenantKeys, rows: Iterable[Row]) -> int:
    """Open every row with the tenant's keys and return how many there were. Raises SealError when one does
    not open: then these keys do not belong to these data."""
    count = 0
    for row in rows:
        keys.open(PURPOSE, row.sealed, *_context(row.number, row.id))
        count += 1
    return count


def count_survivors(receipts: Sequence[Receipt], rows: Sequence[Row], *, until: str = "") -> Survival:
    """Pure: which acknowledged writes are in `rows`, read after `receipts` were.

    `until` is the last place in the write-ahead log that a restore replayed (`0/3000148`): what was
    acknowledged behind it is not expected. Rows older than the newest `KEPT_ROWS` were removed on purpose and
    do not count. Raises ValueError when `until` is no such place.
    """
    stored = {row.number: row for row in rows}
    oldest = max(stored, default=0) - KEPT_ROWS
    expected = [one for one in _reached(receipts, until) if one.number > oldest]
    lost = tuple(one.number for one in expected if one.number not in stored)
    altered = tuple(
        one.number for one in expected if (row := stored.get(one.number)) is not None and not _fits(one, row)
    )
    known = {one.number for one in receipts}
    first = min(known, default=0)
    return Survival(
        acknowledged=len(expected),
        survived=len(expected) - len(lost) - len(altered),
        lost=lost,
        altered=altered,
        # Rows from before the log began are not in doubt: they have had their receipts.
        unknown=sum(number not in known for number in stored if first and number > first),
    )


def read_lsn(text: str) -> int:
    """A place in the write-ahead log, `16/B374D848`, as a number. Raises ValueError."""
    high, slash, low = text.partition("/")
    if not slash:
        raise ValueError(f"{text!r} is no place in the write-ahead log")
    return (int(high, 16) << 32) + int(low, 16)


class CanaryWriter:
    """Writes canary rows, one at a time, and has a receipt of each that was acknowledged."""

    def __init__(
        self, database: WritingDatabase, keys: TenantKeys, tenant: UUID, log: Log, *, newest: int
    ) -> None:
        """`newest` is the highest number in the database; no number is ever used twice."""
        self._database = database
        self._keys = keys
        self._tenant = tenant
        self._log = log
        self._number = max(newest, log.newest)

    async def write(self) -> Receipt:
        """Write one row. Raises Unavailable when it was refused or its outcome is unknown: there is no
        receipt of it then, and the next call writes another row."""
        self._number += 1
        row = self._seal(self._number)
        try:
            (written,) = await self._database.fetch(
                "select at, timeline from troth.write_canary($1, $2, $3, $4, $5)",
                *(row.number, row.id, self._tenant, row.sealed, KEPT_ROWS),
                idempotent=False,
            )
        except asyncpg.UniqueViolationError as error:
            # A commit of an earlier keeper that arrived late.
            raise Unavailable("The number of a canary was taken; nothing was changed.") from error
        # Acknowledged: whatever happens from here on, this write must not be lost.
        at: datetime = written["at"]
        receipt = Receipt(
            number=row.number,
            id=row.id,
            at=to_wire(at),
            lsn=await self._place(),
            timeline=int(written["timeline"], 16),
            row=digest_row(row),
            previous="",
        )
        return await self._log.append(receipt)

    def _seal(self, number: int) -> Row:
        identifier = uuid7()
        sealed = self._keys.seal(PURPOSE, f"canary {number}".encode(), *_context(number, identifier))
        return Row(number, identifier, sealed)

    async def _place(self) -> str:
        """Asked after the commit, so that whoever replayed up to here has replayed the commit."""
        try:
            ((place,),) = await self._database.fetch(_PLACE, idempotent=True)
        except (Unavailable, asyncpg.PostgresError):
            return ""
        return str(place)


def _context(number: int, identifier: UUID) -> tuple[bytes, bytes]:
    return number.to_bytes(8, "big"), identifier.bytes


def _fits(receipt: Receipt, row: Row) -> bool:
    return receipt.id == row.id and receipt.row == digest_row(row)


def _reached(receipts: Sequence[Receipt], until: str) -> list[Receipt]:
    """Those whose commit lies at or before `until`. One without a place of its own has that of the next: the
    writer writes one after the other."""
    if not until:
        return list(receipts)
    limit = read_lsn(until)
    reached: list[Receipt] = []
    behind: int | None = None
    for receipt in reversed(receipts):
        behind = read_lsn(receipt.lsn) if receipt.lsn else behind
        if behind is not None and behind <= limit:
            reached.append(receipt)
    return reached[::-1]
