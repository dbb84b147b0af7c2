"""data.residency: every place for data lies in the EU or the EEA, and nothing connects to any other.

The probe reads two things: the places of troth.toml against the table of regions, and what the watch over
outgoing connections (`wiring.residency`) saw. An undeclared destination keeps it broken for `STANDS`.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta

import msgspec

from troth.core.clock import to_wire
from troth.core.promise import Drill, Finding, Probe
from troth.data.places import DataPlace
from troth.data.residency import COUNTRIES, PROMISE

STANDS = timedelta(hours=24)
"""How long an undeclared destination keeps the promise broken after it was last seen."""

STALE = timedelta(seconds=60)
"""Connections that were last looked at longer ago prove nothing."""

NAMED_COUNTRY = "IE"
"""The country of the sentence that customers read."""


class Stray(msgspec.Struct, frozen=True, kw_only=True):
    """A destination that is not declared: who connected to it, and when it was first and last seen."""

    process: str
    pid: int
    protocol: str
    address: str
    first: datetime
    last: datetime

    def __str__(self) -> str:
        return f"{self.process} (pid {self.pid}) connected to {self.address} ({self.protocol})"


class WatchView(msgspec.Struct, frozen=True, kw_only=True):
    """What the watch over outgoing connections saw: how often it looked since `since`, when for the last
    time, how many seconds lie between two looks, and every stray of the last `STANDS`."""

    since: datetime
    looked: int
    last: datetime | None
    every: float
    strays: tuple[Stray, ...] = ()


class ResidencyView(msgspec.Struct, frozen=True):
    """What the probe needs to see. `look` takes a fresh sample before it answers."""

    places: tuple[DataPlace, ...]
    look: Callable[[], AbstractAsyncContextManager[WatchView]]
    now: Callable[[], datetime]


def probe(view: ResidencyView) -> Probe:
    """The probe of data.residency."""
    return Probe(PROMISE, lambda: probe_residency(view))


def drill(view: ResidencyView, planted: Callable[[], AbstractAsyncContextManager[None]]) -> Drill:
    """`planted` keeps a connection of the platform to an undeclared address open for as long as it lasts."""
    defect = "the platform held a connection to an address that no place declares"

    @asynccontextmanager
    async def broken() -> AsyncGenerator[Probe]:
        async with planted():
            yield probe(view)

    return Drill(PROMISE, defect, broken)


async def probe_residency(view: ResidencyView) -> Finding:
    """Look at the connections now, and judge them and the places."""
    async with view.look() as watched:
        return judge_residency(view.places, watched, view.now())


def judge_residency(places: tuple[DataPlace, ...], watched: WatchView, now: datetime) -> Finding:
    """The verdict. Where the places are is what troth.toml declares, and the evidence says so."""
    told = "; ".join(map(str, places))
    raw: dict[str, object] = {
        "places": [_row(place) for place in places],
        "looked": watched.looked,
        "since": to_wire(watched.since),
        "undeclared": [str(one) for one in watched.strays],
    }
    if watched.strays:
        worst = "; ".join(map(str, watched.strays[:3]))
        return Finding("broken", f"{worst}: no declared place. Places: {told}.", raw)
    if watched.last is None or now - watched.last > STALE:
        return Finding("unknown", f"Outgoing connections are not looked at. Places: {told}.", raw)
    holders = {place.place.country for place in places if place.use in ("members", "backups")}
    seen = (
        f"Places, as declared: {told}. Outgoing connections looked at {watched.looked:,} times, every "
        f"{watched.every:g} s: none to any other place; one that lives shorter may be missed."
    )
    if holders != {NAMED_COUNTRY}:
        others = ", ".join(sorted(COUNTRIES[one] for one in holders - {NAMED_COUNTRY}))
        return Finding("unknown", f"Data lies in the EU or the EEA, but in {others} too. {seen}", raw)
    return Finding("proved", seen, raw)


def _row(place: DataPlace) -> dict[str, str]:
    return {
        "use": place.use,
        "name": place.name,
        "region": place.place.region,
        "country": place.place.country,
        "provider": place.place.provider,
    }
