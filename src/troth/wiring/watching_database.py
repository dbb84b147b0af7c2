"""The watch over the database: who leads, who follows how far behind, and alarms in the trail."""

import asyncio
from datetime import timedelta

from troth.access.alarms import Alarm, recent_alarms
from troth.core.clock import Clock
from troth.core.db import Database
from troth.core.errors import TrothError
from troth.data.patroni import MemberStatus
from troth.data.roles import AUDITOR
from troth.hosting.watch.metrics import Sample
from troth.hosting.watch.watching import Look, Watched
from troth.wiring.database import DatabasePart
from troth.wiring.declaration import PROBE_TENANT

LATELY = timedelta(minutes=10)
"""How long an alarm of the trail counts as recent."""

_ASK_SECONDS = 2.0

_STANDBYS = """
select application_name as name, state = 'streaming' as streaming,
       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 0)::bigint as lag
from pg_stat_replication
"""


class DatabaseWatch:
    """Asks the set how its members are and, over one connection that is kept, the leader who follows it: what
    the set reports of a member that hangs is a memory, see `DatabasePart.streaming`."""

    def __init__(self, database: DatabasePart, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._auditor: Database | None = None
        self._opening = asyncio.Lock()
        self._asking: asyncio.Task[dict[str, tuple[bool, int]]] | None = None

    def sources(self) -> tuple[Watched, ...]:
        return (
            Watched("database", 2.0, self._look, self._names),
            Watched("alarms", 15.0, self._look_at_alarms, lambda: ("alarms",), limit=12.0),
        )

    async def alarms(self) -> tuple[Alarm, ...]:
        """The alarms of the trail in the last week, without those of the probes."""
        return await recent_alarms(await self.connected(), probes=PROBE_TENANT)

    async def close(self) -> None:
        """End the connection."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        auditor, self._auditor = self._auditor, None
        if auditor is not None:
            await auditor.close()

    def _names(self) -> tuple[str, ...]:
        """Of a set elsewhere only those count that it has told of."""
        return tuple(one.name for one in self._database.replicas.members) if self._database.is_here else ()

    async def _look(self) -> Look:
        reported, standbys = await asyncio.gather(self._report(), self._standbys())
        by_name = {one.name: one for one in reported}
        samples = [Sample("troth_database_writable", float(standbys is not None))]
        names = self._names() or tuple(by_name)
        for name in names:
            samples += member_samples(name, by_name.get(name), standbys if self._database.is_here else None)
        return Look(tuple(samples), frozenset(names))

    async def _report(self) -> tuple[MemberStatus, ...]:
        try:
            return await self._database.report()
        except TrothError:
            return ()  # no member answers: each of them is down

    async def _standbys(self) -> dict[str, tuple[bool, int]] | None:
        """Who follows the leader; None when there is none that answers in time. The question goes on, so that
        a set without a leader is not asked by ever more at once."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        done, _ = await asyncio.wait((self._asking,), timeout=_ASK_SECONDS)
        if not done:
            return None
        asked, self._asking = self._asking, None
        try:
            return asked.result()
        except TrothError:
            return None

    async def _ask(self) -> dict[str, tuple[bool, int]]:
        rows = await (await self.connected()).fetch(_STANDBYS, idempotent=True)
        return {row["name"]: (row["streaming"], row["lag"]) for row in rows}

    async def connected(self) -> Database:
        """The auditor's pool, which the history uses as well: a member takes few. Raises Unavailable."""
        async with self._opening:
            if self._auditor is None:
                self._auditor = await Database.open(self._database.target(AUDITOR), max_size=2)
            return self._auditor

    async def _look_at_alarms(self) -> Look:
        alarms = await self.alarms()
        since = self._clock.now() - LATELY
        samples = (
            Sample("troth_alarm_lately", float(one.last > since), (one.alarm,), one.meaning) for one in alarms
        )
        return Look(tuple(samples), frozenset({"alarms"}))


def member_samples(
    name: str, member: MemberStatus | None, standbys: dict[str, tuple[bool, int]] | None
) -> list[Sample]:
    """Pure: the numbers of one member, from what the set says of it and what the leader sees of it."""
    leads = member is not None and member.role == "leader"
    streaming, lag = (standbys or {}).get(name, (False, 0))
    # Without a leader nobody can say who follows: the set's own word has to do.
    follows = streaming or standbys is None
    well = member is not None and member.is_running and (leads or follows)
    samples = [
        Sample("troth_member_running", float(well), (name,)),
        Sample("troth_member_leader", float(leads and well), (name,)),
    ]
    if not streaming:
        lag = member.lag if member is not None and member.lag is not None and not leads else -1
    return [*samples, Sample("troth_member_lag_bytes", lag, (name,))] if lag >= 0 else samples
