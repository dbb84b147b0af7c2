"""Sending what somebody typed to the API, and what comes of it.

What was typed is kept: when the API refuses it, is too busy or cannot be reached, the form is drawn again.
A new document carries the form's idempotency key, so that sending it twice stores it once. A change carries
the version it was made from: if somebody else was quicker, the API refuses and both versions are shown,
instead of one silently overwriting the other (a lost update).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

from starlette.responses import Response

from .. import api, errors
from ..desk import Visit, go_to
from ..forms import Check, Form, Values, accept_key, accept_version, find_faults, pick, read_form

Draw = Callable[[Visit, Form, int], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Sheet:
    """One kind of form: where it is stored, what each field must be, and how it is drawn."""

    collection: str
    checks: Mapping[str, Check]
    draw: Draw


class Difference(NamedTuple):
    """A field that two people left different."""

    field: str
    theirs: str
    mine: str


async def store(visit: Visit, sheet: Sheet, extra: api.Content) -> Response:
    """Creates a document from the form that was sent, and goes to its page."""
    sent = await read_form(visit.request)
    form = _check(sheet, Form(pick(sent, tuple(sheet.checks)), key=accept_key(sent)))
    if form.troubled:
        return await sheet.draw(visit, form, HTTPStatus.UNPROCESSABLE_ENTITY)
    content = {name: value for name, value in form.values.items() if value} | extra
    try:
        document = await visit.data.create(visit.errand, sheet.collection, content, key=form.key)
    except errors.Invalid as error:
        return await sheet.draw(visit, _explain(error, form), HTTPStatus.UNPROCESSABLE_ENTITY)
    except errors.Conflicting:
        return await sheet.draw(visit, Form(form.values, warning="already"), HTTPStatus.CONFLICT)
    except errors.Busy:
        return await sheet.draw(visit, replace(form, warning="busy"), HTTPStatus.TOO_MANY_REQUESTS)
    except errors.Unreachable:
        # Whether it was stored is not known; the same key makes sending it again safe.
        return await sheet.draw(visit, replace(form, warning="unknown"), HTTPStatus.SERVICE_UNAVAILABLE)
    return go_to(f"/{sheet.collection}/{document.id}?said=stored")


async def amend(visit: Visit, sheet: Sheet, sent: Values, *, then: str) -> Response:
    """Changes the document of this address to what was sent, and goes to `then`."""
    id: UUID = visit.request.path_params["id"]
    names = tuple(name for name in sheet.checks if name in sent)
    form = _check(sheet, Form(pick(sent, names), version=accept_version(sent)))
    if form.troubled:
        return await sheet.draw(visit, form, HTTPStatus.UNPROCESSABLE_ENTITY)
    content: api.Content = {name: value or None for name, value in form.values.items()}
    try:
        await visit.data.change(visit.errand, sheet.collection, id, content, version=form.version)
    except errors.Stale:
        return await _show_conflict(visit, sheet, id, form.values, then)
    except errors.Invalid as error:
        return await sheet.draw(visit, _explain(error, form), HTTPStatus.UNPROCESSABLE_ENTITY)
    except errors.Busy:
        return await sheet.draw(visit, replace(form, warning="busy"), HTTPStatus.TOO_MANY_REQUESTS)
    except errors.Unreachable:
        # If it was stored after all, the next try meets its own change and finds no difference.
        return await sheet.draw(visit, replace(form, warning="unsaved"), HTTPStatus.SERVICE_UNAVAILABLE)
    return go_to(then)


def compare(current: api.Content, values: Values) -> tuple[Difference, ...]:
    """The fields of `values` that are stored otherwise by now."""
    found = (Difference(name, _text(current.get(name)), mine) for name, mine in values.items())
    return tuple(difference for difference in found if difference.theirs != difference.mine)


async def _show_conflict(visit: Visit, sheet: Sheet, id: UUID, values: Values, then: str) -> Response:
    current = await visit.data.read(visit.errand, sheet.collection, id)
    differences = compare(current.content, values)
    if not differences:
        return go_to(then)
    return visit.page(
        "conflict",
        status=HTTPStatus.CONFLICT,
        collection=sheet.collection,
        current=current,
        title=_text(current.content.get("title")),
        differences=differences,
        values=values,
        back="board" if then == "/board" else "",
    )


def _check(sheet: Sheet, form: Form) -> Form:
    return replace(form, faults=find_faults(form.values, sheet.checks))


def _explain(error: errors.Invalid, form: Form) -> Form:
    """What the API refused, beside the fields it names. The key is new: the next try has other content."""
    faults = {name: "refused" for name, _ in error.faults if name in form.values}
    return Form(form.values, faults, warning="" if faults else "refused", version=form.version)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
