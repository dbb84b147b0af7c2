"""Filing a ticket, following it, and putting it right while nobody has begun."""

from http import HTTPStatus
from uuid import UUID

from starlette.responses import Response

from .. import errors
from ..desk import Visit
from ..documents import STATUSES, Ticket, read_ticket
from ..forms import TICKET_CHECKS, Form, read_form
from .finding import find_tickets
from .writing import Sheet, amend, store

_SAID = ("stored", "changed")


async def list_tickets(visit: Visit) -> Response:
    query = visit.request.query_params
    status = query.get("status", "")
    status = status if status in STATUSES else ""
    cursor = query.get("cursor", "")
    found = await find_tickets(visit, status=status, cursor=cursor)
    return visit.page("tickets", found=found, wanted=status, later=bool(cursor))


async def start_ticket(visit: Visit) -> Response:
    visit.need("tickets:create")
    return await _draw_new(visit, Form({"urgency": "normal"}), HTTPStatus.OK)


async def file_ticket(visit: Visit) -> Response:
    return await store(visit, _NEW, {"reporter": visit.visitor.person} if visit.visitor.person else {})


async def show_ticket(visit: Visit) -> Response:
    said = visit.request.query_params.get("said", "")
    return await draw_ticket(visit, Form({}), HTTPStatus.OK, said=said if said in _SAID else "")


async def open_ticket(visit: Visit) -> Response:
    ticket = await _read(visit)
    if not visit.visitor.may_correct(ticket.owner):
        raise errors.Forbidden("Only the person who filed a ticket corrects it")
    values = {name: str(getattr(ticket, name)) for name in TICKET_CHECKS}
    return await _draw_edit(visit, Form(values, version=ticket.version), HTTPStatus.OK)


async def save_ticket(visit: Visit) -> Response:
    sent = await read_form(visit.request)
    return await amend(visit, _EDIT, sent, then=f"/tickets/{_id(visit)}?said=changed")


async def draw_ticket(visit: Visit, form: Form, status: int, *, said: str = "") -> Response:
    """A ticket's page; `form` is what the management typed into it, if that has to be shown again."""
    ticket = await _read(visit)
    if not form.values:
        values = {"status": ticket.status, "answer": ticket.answer}
        form = Form(values, form.faults, form.warning, version=ticket.version)
    return visit.page("ticket", status=status, ticket=ticket, form=form, said=said)


async def _draw_new(visit: Visit, form: Form, status: int) -> Response:
    return visit.page("ticket-form", status=status, form=form, id=None)


async def _draw_edit(visit: Visit, form: Form, status: int) -> Response:
    return visit.page("ticket-form", status=status, form=form, id=_id(visit))


async def _read(visit: Visit) -> Ticket:
    return read_ticket(await visit.data.read(visit.errand, "tickets", _id(visit)))


def _id(visit: Visit) -> UUID:
    return visit.request.path_params["id"]


_NEW = Sheet("tickets", TICKET_CHECKS, _draw_new)
_EDIT = Sheet("tickets", TICKET_CHECKS, _draw_edit)
