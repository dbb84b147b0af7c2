"""Looking through tickets.

The rows are sealed before the database sees them, so nobody but this side can tell which are open: a filter
reads on through the list, a bounded way, and says so when it stopped before the end.
"""

from dataclasses import dataclass

from ..desk import Visit
from ..documents import Ticket, read_ticket

STRETCH = 25
"""Tickets on a page of the list; a filter reads on until there are as many or its bound is met."""
STRETCHES = 8
SURVEY_STRETCH = 100
SURVEY_STRETCHES = 5


@dataclass(frozen=True, slots=True)
class Found:
    """Tickets, newest first, and the cursor that leads on; empty at the end."""

    tickets: tuple[Ticket, ...]
    cursor: str


async def find_tickets(visit: Visit, *, status: str, cursor: str) -> Found:
    """One page of the list, of every status or of one."""
    if not status:
        return await _look(visit, limit=STRETCH, cursor=cursor)
    found: list[Ticket] = []
    for _ in range(STRETCHES):
        look = await _look(visit, limit=STRETCH, cursor=cursor)
        found += [ticket for ticket in look.tickets if ticket.status == status]
        cursor = look.cursor
        if not cursor or len(found) >= STRETCH:
            break
    return Found(tuple(found), cursor)


async def survey_tickets(visit: Visit) -> Found:
    """The newest few hundred at once, for counting and for the board; a cursor left says there are more."""
    tickets: list[Ticket] = []
    cursor = ""
    for _ in range(SURVEY_STRETCHES):
        look = await _look(visit, limit=SURVEY_STRETCH, cursor=cursor)
        tickets += look.tickets
        cursor = look.cursor
        if not cursor:
            break
    return Found(tuple(tickets), cursor)


async def _look(visit: Visit, *, limit: int, cursor: str) -> Found:
    listing = await visit.data.list(visit.errand, "tickets", limit=limit, cursor=cursor)
    return Found(tuple(read_ticket(document) for document in listing.documents), listing.cursor)
