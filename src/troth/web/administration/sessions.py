"""`/api/v1/admin/sessions`: who is signed in, and what clients were granted."""

from typing import Any

from troth.access.administration import LivingSession
from troth.core.clock import to_wire
from troth.data.document import read_cursor, write_cursor
from troth.web.administration.desk import Desk, listing, page_of
from troth.web.api import Answer
from troth.web.call import Call


class SessionsDesk:
    """Handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        after, limit = call.page()
        found = await self._desk.administration.sessions(
            by, before=read_cursor(after) if after else None, limit=limit + 1
        )
        sessions, more = page_of(found, limit)
        return listing(map(_tell, sessions), write_cursor(sessions[-1].id) if more else None)

    async def end(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        await self._desk.administration.end_session(by, call.identifier)
        return Answer(204)


def _tell(session: LivingSession) -> dict[str, Any]:
    return {
        "id": str(session.id),
        "person": str(session.person),
        "domain": session.domain,
        "client": session.client,
        "scopes": session.scopes,
        "acr": session.acr,
        "created_at": to_wire(session.created_at),
        "authenticated_at": to_wire(session.authenticated_at),
        "seen_at": to_wire(session.seen_at),
        "expires_at": to_wire(session.expires_at),
    }
