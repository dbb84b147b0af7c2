"""The first page: a greeting, the news, and how the tickets stand."""

import asyncio

from starlette.responses import Response

from ..desk import Visit
from ..documents import count_by_status
from .announcements import select_current
from .finding import survey_tickets

_NEWS = 12
_NEWS_SHOWN = 3
_OPEN_SHOWN = 5


async def show_home(visit: Visit) -> Response:
    listing, survey = await asyncio.gather(
        visit.data.list(visit.errand, "announcements", limit=_NEWS), survey_tickets(visit)
    )
    news = [item for item in select_current(visit, listing) if not item.is_over(visit.today)]
    counts = count_by_status(survey.tickets)
    return visit.page(
        "home",
        announcements=news[:_NEWS_SHOWN],
        counts=counts,
        partial=bool(survey.cursor),
        pending=counts["open"] + counts["in_progress"],
        unfinished=[ticket for ticket in survey.tickets if ticket.status != "done"][:_OPEN_SHOWN],
    )
