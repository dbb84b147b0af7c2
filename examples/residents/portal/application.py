"""The portal as an ASGI application: routes, what is opened at start, and headers on every answer."""

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .api import DataApi, open_api
from .assets import Assets
from .desk import Desk, Page, open_visit, visited
from .pages import announcements, home, managing, tickets

# No script runs on these pages, whatever somebody writes into a ticket (stored cross-site scripting).
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        b"frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def create_app(
    open_data: Callable[[], DataApi] | None = None, *, now: Callable[[], datetime] | None = None
) -> Starlette:
    """The portal. `open_data` and `now` are for the tests; left out, the environment and the clock serve."""

    assets = Assets()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        data = open_data() if open_data else open_api(os.environ)
        app.state.desk = Desk(data, assets, now=now or _clock)
        yield
        await data.close()

    return Starlette(
        routes=[*_routes(), *assets.routes()],
        lifespan=lifespan,
        middleware=[Middleware(_Guarded)],
        exception_handlers={HTTPException: _show_refusal, Exception: _show_failure},
    )


def _routes() -> list[Route]:
    return [
        _get("/", home.show_home),
        _get("/tickets", tickets.list_tickets),
        _post("/tickets", tickets.file_ticket),
        _get("/tickets/new", tickets.start_ticket),
        _get("/tickets/{id:uuid}", tickets.show_ticket),
        _get("/tickets/{id:uuid}/edit", tickets.open_ticket),
        _post("/tickets/{id:uuid}/edit", tickets.save_ticket),
        _post("/tickets/{id:uuid}/progress", managing.report_progress),
        _get("/tickets/{id:uuid}/delete", managing.ask_before_delete),
        _post("/tickets/{id:uuid}/delete", managing.delete_ticket),
        _get("/board", managing.show_board),
        _get("/announcements", announcements.list_announcements),
        _post("/announcements", announcements.publish_announcement),
        _get("/announcements/new", announcements.start_announcement),
        _get("/announcements/{id:uuid}", announcements.show_announcement),
        _get("/announcements/{id:uuid}/edit", announcements.open_announcement),
        _post("/announcements/{id:uuid}/edit", announcements.save_announcement),
        _get("/announcements/{id:uuid}/delete", announcements.ask_before_delete),
        _post("/announcements/{id:uuid}/delete", announcements.delete_announcement),
    ]


def _get(path: str, page: Page) -> Route:
    return Route(path, visited(page), methods=["GET"])


def _post(path: str, page: Page) -> Route:
    return Route(path, visited(page), methods=["POST"])


def _clock() -> datetime:
    return datetime.now(UTC)


async def _show_refusal(request: Request, error: Exception) -> Response:
    """No such address, or one that does not take this method."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    return open_visit(request).problem("missing" if status == 404 else "refused", status)


async def _show_failure(request: Request, _: Exception) -> Response:
    """A fault of ours. Starlette hands it on to the server's log after this page was sent."""
    return open_visit(request).problem("failure", 500)


class _Guarded:
    """Adds the security headers to every answer. Pages are never kept: the next person at this browser must
    not find them with the back button; only what says so itself, a stylesheet, is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if not any(name == b"cache-control" for name, _ in headers):
                    headers += [(b"cache-control", b"no-store"), (b"vary", b"Accept-Language")]
                message = {**message, "headers": headers + list(_HEADERS)}
            await send(message)

        await self._app(scope, receive, guarded)
