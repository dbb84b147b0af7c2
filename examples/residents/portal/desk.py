"""One request on its way through the portal: who asks, in which language, and how an answer is drawn."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import wraps
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from . import api, errors
from .assets import Assets
from .documents import CATEGORIES, KINDS, STATUSES, URGENCIES
from .forms import LONGEST, FormRefused
from .visitor import Visitor, read_visitor
from .words import Words, choose_language, load_words

_LOG = logging.getLogger("portal")
_HERE = Path(__file__).parent


class Desk:
    """What every request shares. `now` is the clock; the API is opened when the server starts."""

    def __init__(self, data: api.DataApi, assets: Assets, *, now: Callable[[], datetime]) -> None:
        self.data = data
        self.now = now
        self.assets = assets
        self.words = load_words(_HERE / "words")
        self.templates = _open_templates(_HERE / "templates")


@dataclass(frozen=True, slots=True)
class Visit:
    """One request. Made by `visited`; the pages take nothing else."""

    desk: Desk
    request: Request
    visitor: Visitor
    words: Words

    @property
    def data(self) -> api.DataApi:
        return self.desk.data

    @property
    def errand(self) -> api.Errand:
        visitor = self.visitor
        return api.Errand(visitor.host, visitor.token, visitor.request_id, visitor.traceparent)

    @property
    def now(self) -> datetime:
        return self.desk.now()

    @property
    def today(self) -> date:
        return self.words.local(self.now).date()

    def need(self, scope: str) -> None:
        """Raises Forbidden where there is nothing to show without `scope`."""
        if not self.visitor.may(scope):
            raise errors.Forbidden(f"{scope} is needed")

    def page(self, template: str, *, status: int = 200, **context: object) -> Response:
        """The page `template` (in templates/); whatever is in `context` is escaped there."""
        page = self.desk.templates.get_template(f"{template}.html").render(
            visit=self,
            visitor=self.visitor,
            words=self.words,
            assets=self.desk.assets,
            path=self.request.url.path,
            **context,
        )
        return HTMLResponse(page, status, headers={"Content-Language": self.words.language})

    def problem(self, kind: str, status: int) -> Response:
        """A page that says what happened and what to do; `kind` names its sentences."""
        return self.page("problem", status=status, kind=kind)

    def when(self, moment: datetime) -> str:
        return self.words.time_tag(moment, self.now)

    def day(self, moment: datetime) -> str:
        return self.words.time_tag(moment, self.now, clock=False)


Page = Callable[[Visit], Awaitable[Response]]
_PROBLEMS: Mapping[type[errors.ApiError], tuple[str, int]] = {
    errors.Forbidden: ("forbidden", HTTPStatus.FORBIDDEN),
    errors.Missing: ("missing", HTTPStatus.NOT_FOUND),
    errors.Conflicting: ("conflict", HTTPStatus.CONFLICT),
    errors.Stale: ("conflict", HTTPStatus.CONFLICT),
    errors.Invalid: ("refused", HTTPStatus.BAD_REQUEST),
    errors.Busy: ("busy", HTTPStatus.TOO_MANY_REQUESTS),
    errors.Unreachable: ("unreachable", HTTPStatus.SERVICE_UNAVAILABLE),
}


def open_visit(request: Request) -> Visit:
    desk = cast("Desk", request.app.state.desk)
    visitor = read_visitor(request.headers)
    return Visit(desk, request, visitor, desk.words[choose_language(visitor.languages)])


def visited(page: Page) -> Callable[[Request], Awaitable[Response]]:
    """A Starlette endpoint from a page: whoever has no token is sent to sign in, and what the API or the form
    refused becomes a page that says so."""

    @wraps(page)
    async def endpoint(request: Request) -> Response:
        visit = open_visit(request)
        if not visit.visitor.token:
            return send_to_sign_in(request)
        try:
            return await page(visit)
        except errors.SignInNeeded:
            return send_to_sign_in(request)
        except errors.ApiError as error:
            return _show_api_error(visit, error)
        except FormRefused as refusal:
            return visit.problem("refused", refusal.status)

    return endpoint


def send_to_sign_in(request: Request) -> Response:
    """The platform's sign-in page, which leads back here. Only a page that was being read is returned to: the
    address of a form that was sent shows nothing when it is opened."""
    target = request.url.path if request.method in ("GET", "HEAD") else "/"
    query = f"?{request.url.query}" if request.url.query and target != "/" else ""
    return RedirectResponse(f"/login?return_to={quote(target + query, safe='/')}", HTTPStatus.SEE_OTHER)


def go_to(path: str) -> Response:
    """After a form was sent: a page of its own, so that reloading it sends nothing again."""
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


def _show_api_error(visit: Visit, error: errors.ApiError) -> Response:
    kind, status = _PROBLEMS[type(error)]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _LOG.warning("request %s: %s", visit.visitor.request_id or "-", error)
    return visit.problem(kind, status)


def _open_templates(folder: Path) -> jinja2.Environment:
    """Everything is escaped, whatever a template's name, and a name that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    shared: dict[str, Any] = {
        "categories": CATEGORIES,
        "urgencies": URGENCIES,
        "statuses": STATUSES,
        "kinds": KINDS,
        "longest": LONGEST,
    }
    environment.globals.update(shared)
    return environment
