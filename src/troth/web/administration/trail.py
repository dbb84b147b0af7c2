"""`/api/v1/admin/events`: the trail, who did what."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from troth.access.administration import Event
from troth.core.clock import to_wire
from troth.core.errors import Malformed
from troth.web.administration.desk import Desk, id_text, listing, page_of
from troth.web.api import Answer
from troth.web.call import Call

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class TrailDesk:
    """Handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        after, limit = call.page()
        found = await self._desk.administration.events(
            by, before=read_place(after) if after else None, limit=limit + 1
        )
        events, more = page_of(found, limit)
        return listing(map(_tell, events), write_place(events[-1]) if more else None)


def write_place(event: Event) -> str:
    """The cursor of the page that follows this event: its instant, exact, and its id."""
    instant = (event.at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(instant.to_bytes(8, "big") + event.id.bytes).decode()


def read_place(text: str) -> tuple[datetime, UUID]:
    """Raises Malformed."""
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True)
        return _EPOCH + int.from_bytes(raw[:8], "big") * _MICROSECOND, UUID(bytes=raw[8:])
    except (binascii.Error, ValueError, OverflowError):
        raise Malformed("This cursor is not one that a list gave out.") from None


def _tell(event: Event) -> dict[str, Any]:
    return {
        "id": str(event.id),
        "at": to_wire(event.at),
        "event": event.event,
        "principal": id_text(event.principal),
        "domain": event.domain,
        "request_id": event.request,
        "detail": event.detail,
    }
