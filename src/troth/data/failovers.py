"""What is remembered of each change of leader: when, why, how long nothing was written."""

from datetime import datetime
from pathlib import Path

import msgspec

from troth.core.clock import to_wire
from troth.core.secret import write_public

KEPT = 50
"""The newest so many are kept."""


class Failover(msgspec.Struct, frozen=True, kw_only=True):
    """One change of leader. `noticed` is when the keeper learned of it; `seconds` is the time without writes,
    from the last sign of the old leader to the first write that a quorum confirmed, None when there was none
    within the keeper's patience. What survived it is counted by `data.receipts`."""

    noticed: datetime
    cause: str
    old: str
    new: str
    seconds: float | None


def read_failovers(file: Path) -> tuple[Failover, ...]:
    """All that are kept, the oldest first."""
    if not file.exists():
        return ()
    return msgspec.json.decode(file.read_bytes(), type=tuple[Failover, ...])


def keep_failover(file: Path, failover: Failover) -> None:
    """Add one; the oldest gives way."""
    write_public(file, msgspec.json.encode([*read_failovers(file), failover][-KEPT:]))


def describe_failover(failover: Failover) -> str:
    """One sentence for a person and for the evidence."""
    when = to_wire(failover.noticed)[:19].replace("T", " ")
    took = f"{failover.new} took over from {failover.old}"
    return f"{when} UTC: {failover.cause}; {took}, {_lasted(failover)}"


def _lasted(failover: Failover) -> str:
    return (
        "no write was confirmed" if failover.seconds is None else f"{failover.seconds:.1f} s without writes"
    )
