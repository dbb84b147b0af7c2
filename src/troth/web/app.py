"""The web service: every route of a client domain that is not the customer's application."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route, Router

from troth.access.tenants import Domain
from troth.core.errors import NotFound
from troth.web import (
    account,
    accounts,
    administration,
    api,
    endings,
    forward,
    login,
    oauth,
    pages,
    reports,
    second_factor,
    session,
    step_up,
)
from troth.web.answers import json_response
from troth.web.pages import Pages, page
from troth.web.plain_paths import Candidates, choose, plain_paths
from troth.web.problem import MethodNotAllowed, Send, read_request_id, send_problem
from troth.web.throttle import Throttle
from troth.wiring.blueprint import WebConfiguration
from troth.wiring.web import WebServices, open_services, read_web_configuration

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class RouteServices(WebServices, frozen=True, kw_only=True):
    """The services and the pages that show them."""

    pages: Pages


def create() -> "Application":
    """The ASGI application of an instance, for `hosting.runner`."""
    return Application(read_web_configuration())


class Application:
    """Opens its services at startup and answers any fault that nobody answered with a bare problem."""

    def __init__(self, configuration: WebConfiguration) -> None:
        self._configuration = configuration
        self._throttle = Throttle(configuration.client_per_second, configuration.network_per_second)
        self._router = Router(lifespan=self._live, default=_nothing)
        self._plain: Candidates = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._router(scope, receive, send)
            return
        scope["app"] = self  # without one, a wrong method is answered in plain text
        began = False

        async def note(message: MutableMapping[str, Any]) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            self._throttle.check(scope["headers"], time.monotonic())
            route = choose(self._plain, scope)
            await (self._router if route is None else route.handle)(scope, receive, note)
        except Exception as error:
            if began:
                raise  # half an answer is out; the server cuts the connection
            if isinstance(error, HTTPException) and error.status_code == MethodNotAllowed.status:
                await self._refuse_method(scope, receive, send)
                return
            await send_problem(send, error, _request_id(scope))

    async def _refuse_method(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As a page for a person, whose browser asks again for the address of a form that was sent."""
        request, refused = Request(scope, receive), MethodNotAllowed(self._methods(scope))
        if "text/html" not in request.headers.get("accept", ""):
            await send_problem(send, refused, _request_id(scope), head=request.method == "HEAD")
            return
        response = await self._refusal(request)
        response.headers["Allow"] = refused.allow
        await response(scope, receive, send)

    def _methods(self, scope: Scope) -> str:
        """What this address offers; a page and its form are two routes."""
        found = [route for route in self._router.routes if route.matches(scope)[0] is Match.PARTIAL]
        methods = {method for route in found if isinstance(route, Route) for method in route.methods or ()}
        return ", ".join(sorted(methods))

    @asynccontextmanager
    async def _live(self, app: object) -> AsyncGenerator[None]:
        async with open_services(self._configuration) as services:
            with_their_pages = with_pages(services)
            self._router.routes[:] = routes(with_their_pages)
            self._refusal = page(with_their_pages, _refuse)
            self._plain = plain_paths(self._router.routes)
            yield


def with_pages(services: WebServices) -> RouteServices:
    """Add what renders pages."""
    return RouteServices(**msgspec.structs.asdict(services), pages=Pages())


def routes(services: RouteServices) -> list[BaseRoute]:
    """Every route; the API's first, for they are asked most."""
    return [
        *administration.routes(services),
        *api.routes(services.documents, services.authenticator, services.openapi, services.denials),
        *forward.routes(services),
        *endings.routes(services),
        *session.routes(services),
        *login.routes(services),
        *second_factor.routes(services),
        *step_up.routes(services),
        *account.routes(services),
        *accounts.routes(services),
        *oauth.routes(services),
        *reports.routes(services),
        *pages.routes(services),
        Route("/health", _health, methods=["GET"]),
    ]


async def _health(request: Request) -> Response:
    """That this domain is served; whether an instance is ready is asked of `hosting.runner`."""
    return json_response({"status": "ok"})


async def _refuse(request: Request, domain: Domain) -> Response:
    raise MethodNotAllowed("")


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await send_problem(send, NotFound("There is no such address."), _request_id(scope))


def _request_id(scope: Scope) -> str:
    return read_request_id(dict(scope["headers"]).get(b"x-request-id"))
