"""What a person sees of their own sessions and of the applications connected to them, and may end."""

from datetime import datetime
from uuid import UUID

import msgspec

from troth.access.ports import Sealer
from troth.access.sessions import BEGUN_FROM, Session
from troth.access.tenants import Domain
from troth.access.whereabouts import Whereabouts
from troth.core.clock import Clock
from troth.core.db import Database


class OwnSession(msgspec.Struct, frozen=True, kw_only=True):
    """One of the person's sessions, on any domain of their tenant."""

    id: UUID
    domain: str
    whereabouts: Whereabouts
    amr: tuple[str, ...]
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    current: bool


class OwnGrant(msgspec.Struct, frozen=True, kw_only=True):
    """An application that the person connected. `id` is what it was granted."""

    id: UUID
    client: str
    scopes: tuple[str, ...]
    created_at: datetime


class OwnSessions:
    """Every call is on the strength of a living session, and reaches that person's alone."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock

    def is_fresh(self, domain: Domain, session: Session) -> bool:
        """Whether the person proved who they are so lately that they may end other sessions: a browser that
        was left open must not lock its person out elsewhere (ASVS 5.0, 7.5.2)."""
        return self._clock.now() - session.authenticated_at < domain.policy.step_up

    async def sessions(self, domain: Domain, session: Session) -> list[OwnSession]:
        """The person's living sessions, the one used last first."""
        rows = await self._database.fetch("select * from troth.own_sessions($1, $2)", domain.name, session.id)
        return [
            OwnSession(
                id=row["id"],
                domain=row["domain"],
                whereabouts=await self._whereabouts(session.tenant, row["id"], row["begun_from"]),
                amr=tuple(row["amr"]),
                created_at=row["created_at"],
                seen_at=row["seen_at"],
                expires_at=row["expires_at"],
                current=row["id"] == session.id,
            )
            for row in rows
        ]

    async def grants(self, domain: Domain, session: Session) -> list[OwnGrant]:
        """What applications were granted in those sessions, the latest first."""
        rows = await self._database.fetch("select * from troth.own_grants($1, $2)", domain.name, session.id)
        return [
            OwnGrant(
                id=row["id"],
                client=row["client"],
                scopes=tuple(row["scopes"] or ()),
                created_at=row["created_at"],
            )
            for row in rows
        ]

    async def end(self, domain: Domain, session: Session, target: UUID, *, request: str = "") -> bool:
        """End one session or grant of the same person. False when there is none of theirs by this id."""
        return await self._database.fetchval(
            "select troth.end_own($1, $2, $3, $4)", domain.name, session.id, target, request, idempotent=False
        )

    async def end_others(self, domain: Domain, session: Session, *, request: str = "") -> int:
        """End every session of the person but this one."""
        return await self._end_all(domain, session, False, request)

    async def end_everywhere(self, domain: Domain, session: Session, *, request: str = "") -> int:
        """Sign the person out everywhere, here too."""
        return await self._end_all(domain, session, True, request)

    async def _end_all(self, domain: Domain, session: Session, own: bool, request: str) -> int:
        return await self._database.fetchval(
            "select troth.end_all_own($1, $2, $3, $4)",
            domain.name,
            session.id,
            own,
            request,
            idempotent=False,
        )

    async def _whereabouts(self, tenant: UUID, session: UUID, sealed: bytes | None) -> Whereabouts:
        if sealed is None:
            return Whereabouts()
        opened = await self._sealer.open(tenant, BEGUN_FROM, sealed, session.bytes)
        return msgspec.json.decode(opened, type=Whereabouts)
