"""What the management does with tickets: the board, how far the work is, deleting."""

from http import HTTPStatus
from uuid import UUID

from starlette.responses import Response

from .. import errors
from ..desk import Visit, go_to
from ..documents import STATUSES, read_ticket
from ..forms import PROGRESS_CHECKS, accept_version, read_form
from .finding import survey_tickets
from .tickets import draw_ticket
from .writing import Sheet, amend

DONE_SHOWN = 20
_PROGRESS = Sheet("tickets", PROGRESS_CHECKS, draw_ticket)


async def show_board(visit: Visit) -> Response:
    visit.need("tickets:update")
    survey = await survey_tickets(visit)
    lanes = {name: [ticket for ticket in survey.tickets if ticket.status == name] for name in STATUSES}
    return visit.page(
        "board", lanes=lanes, partial=bool(survey.cursor), seen=len(survey.tickets), done_shown=DONE_SHOWN
    )


async def report_progress(visit: Visit) -> Response:
    sent = await read_form(visit.request)
    then = "/board" if sent.get("back") == "board" else f"/tickets/{_id(visit)}?said=changed"
    return await amend(visit, _PROGRESS, {"status": ""} | sent, then=then)


async def ask_before_delete(visit: Visit) -> Response:
    return await _draw(visit, HTTPStatus.OK)


async def delete_ticket(visit: Visit) -> Response:
    sent = await read_form(visit.request)
    try:
        await visit.data.delete(visit.errand, "tickets", _id(visit), version=accept_version(sent))
    except errors.Stale:
        return await _draw(visit, HTTPStatus.CONFLICT)
    return go_to("/tickets")


async def _draw(visit: Visit, status: int) -> Response:
    """The question before deleting; with CONFLICT it says that the ticket changed since it was asked."""
    visit.need("tickets:delete")
    ticket = read_ticket(await visit.data.read(visit.errand, "tickets", _id(visit)))
    return visit.page(
        "delete",
        status=status,
        collection="tickets",
        document=ticket,
        stale=status == HTTPStatus.CONFLICT,
    )


def _id(visit: Visit) -> UUID:
    return visit.request.path_params["id"]
