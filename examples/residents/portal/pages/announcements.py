"""News: read by everyone in the house, written by the management."""

from http import HTTPStatus
from uuid import UUID

from starlette.responses import Response

from .. import api, errors
from ..desk import Visit, go_to
from ..documents import Announcement, read_announcement
from ..forms import ANNOUNCEMENT_CHECKS, Form, accept_version, read_form
from .writing import Sheet, amend, store

_STRETCH = 12
_SAID = ("stored", "changed")


async def list_announcements(visit: Visit) -> Response:
    cursor = visit.request.query_params.get("cursor", "")
    listing = await visit.data.list(visit.errand, "announcements", limit=_STRETCH, cursor=cursor)
    return visit.page(
        "announcements",
        announcements=select_current(visit, listing),
        cursor=listing.cursor,
        later=bool(cursor),
    )


def select_current(visit: Visit, listing: api.Listing) -> list[Announcement]:
    """What is still to be shown today; the management sees the rest too, marked."""
    announcements = (read_announcement(document) for document in listing.documents)
    return [
        announcement
        for announcement in announcements
        if visit.visitor.manages_announcements or not announcement.is_over(visit.today)
    ]


async def show_announcement(visit: Visit) -> Response:
    said = visit.request.query_params.get("said", "")
    announcement = await _read(visit)
    return visit.page("announcement", announcement=announcement, said=said if said in _SAID else "")


async def start_announcement(visit: Visit) -> Response:
    visit.need("announcements:create")
    return await _draw_new(visit, Form({"category": "notice"}), HTTPStatus.OK)


async def publish_announcement(visit: Visit) -> Response:
    return await store(visit, _NEW, {})


async def open_announcement(visit: Visit) -> Response:
    visit.need("announcements:update")
    now = await _read(visit)
    values = {"title": now.title, "body": now.body, "category": now.category}
    values["valid_until"] = now.valid_until.isoformat() if now.valid_until else ""
    return await _draw_edit(visit, Form(values, version=now.version), HTTPStatus.OK)


async def save_announcement(visit: Visit) -> Response:
    sent = await read_form(visit.request)
    return await amend(visit, _EDIT, sent, then=f"/announcements/{_id(visit)}?said=changed")


async def ask_before_delete(visit: Visit) -> Response:
    return await _draw_delete(visit, HTTPStatus.OK)


async def delete_announcement(visit: Visit) -> Response:
    sent = await read_form(visit.request)
    try:
        await visit.data.delete(visit.errand, "announcements", _id(visit), version=accept_version(sent))
    except errors.Stale:
        return await _draw_delete(visit, HTTPStatus.CONFLICT)
    return go_to("/announcements")


async def _draw_new(visit: Visit, form: Form, status: int) -> Response:
    return visit.page("announcement-form", status=status, form=form, id=None)


async def _draw_edit(visit: Visit, form: Form, status: int) -> Response:
    return visit.page("announcement-form", status=status, form=form, id=_id(visit))


async def _draw_delete(visit: Visit, status: int) -> Response:
    visit.need("announcements:delete")
    return visit.page(
        "delete",
        status=status,
        collection="announcements",
        document=await _read(visit),
        stale=status == HTTPStatus.CONFLICT,
    )


async def _read(visit: Visit) -> Announcement:
    return read_announcement(await visit.data.read(visit.errand, "announcements", _id(visit)))


def _id(visit: Visit) -> UUID:
    return visit.request.path_params["id"]


_NEW = Sheet("announcements", ANNOUNCEMENT_CHECKS, _draw_new)
_EDIT = Sheet("announcements", ANNOUNCEMENT_CHECKS, _draw_edit)
