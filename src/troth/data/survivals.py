"""The history of counts of survivors: what became of acknowledged writes at each failover, start and restore.

Kept beside the receipts in `survivals.json`, the newest last, at most `KEPT` of them.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from troth.core.secret import write_public
from troth.data.receipts import Survival

KEPT = 100

LOSS_STANDS = timedelta(days=7)
"""How long a loss keeps data.replicas broken."""

_NAMED = 20

Event = Literal["start", "failover", "interruption", "restore", "drill"]
"""After what was counted: the platform's start, another leader's first write, a time in which the database
was lost and the same one came back, a restore, or the drill of a backup in a scratch server."""

_WORDS: dict[Event, str] = {
    "start": "the last start",
    "failover": "the last failover",
    "interruption": "the last interruption",
    "restore": "the last restore",
    "drill": "the last restore drill",
}


class Survived(msgspec.Struct, frozen=True, kw_only=True):
    """One count. `at` is RFC 3339; `missing` names the first few writes that were lost or altered; `fault`
    says why the receipts themselves could not be believed, empty when they could."""

    after: Event
    at: str
    timeline: int = 0
    acknowledged: int = 0
    survived: int = 0
    unknown: int = 0
    missing: tuple[int, ...] = ()
    fault: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether nothing was lost, as far as the receipts can tell."""
        return self.survived == self.acknowledged and not self.fault

    def __str__(self) -> str:
        if self.fault:
            return f"At {_WORDS[self.after]} ({_minute(self.at)}) the receipts did not verify: {self.fault}"
        return (
            f"{self.survived} of {self.acknowledged} acknowledged writes survived {_WORDS[self.after]} "
            f"({_minute(self.at)})."
        )


def survived(after: Event, survival: Survival, *, at: str, timeline: int = 0) -> Survived:
    """A count as it is kept."""
    return Survived(
        after=after,
        at=at,
        timeline=timeline,
        acknowledged=survival.acknowledged,
        survived=survival.survived,
        unknown=survival.unknown,
        missing=(*survival.lost, *survival.altered)[:_NAMED],
    )


def read_survivals(folder: Path) -> tuple[Survived, ...]:
    """The counts kept in the folder of the receipts, the newest last."""
    try:
        return msgspec.json.decode((folder / "survivals.json").read_bytes(), type=tuple[Survived, ...])
    except FileNotFoundError:
        return ()


def keep_survived(folder: Path, counted: Survived) -> None:
    """Add one. For whoever counted: the duty of the keeper, a restore, a drill."""
    kept = (*read_survivals(folder), counted)[-KEPT:]
    write_public(folder / "survivals.json", msgspec.json.encode(kept))


def last_survived(history: Iterable[Survived], *after: Event) -> Survived | None:
    """The newest count after one of these events."""
    return next((one for one in reversed(tuple(history)) if one.after in after), None)


def standing_loss(history: Iterable[Survived], now: datetime) -> Survived | None:
    """The newest count of the living database, within the last week, that was not whole."""
    since = now - LOSS_STANDS
    return next(
        (
            one
            for one in reversed(tuple(history))
            if one.after not in ("restore", "drill")
            and not one.is_whole
            and datetime.fromisoformat(one.at) > since
        ),
        None,
    )


def _minute(at: str) -> str:
    return f"{at[:16].replace('T', ' ')} UTC"
