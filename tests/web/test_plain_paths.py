"""The short way to a route ends where the long way does."""

from collections.abc import Sequence
from typing import Any, cast
from unittest.mock import MagicMock

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount, Route

from troth.web.app import RouteServices, routes
from troth.web.plain_paths import choose, plain_paths

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


async def nothing(request: Request) -> Response:
    return Response()


SMALL: list[BaseRoute] = [
    Route("/things/{name}", nothing, methods=["GET"]),
    Route("/things/new", nothing, methods=["GET", "POST"]),
    Route("/form", nothing, methods=["GET"]),
    Mount("/inner", routes=[Route("/form", nothing)]),
    Route("/form", nothing, methods=["POST"]),
    Route("/inner/form", nothing, methods=["GET"]),
]


def asked(method: str, path: str, **rest: Any) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "path_params": {}, **rest}


def by_the_long_way(every: Sequence[BaseRoute], scope: dict[str, Any]) -> BaseRoute | None:
    return next((route for route in every if route.matches(scope)[0] is Match.FULL), None)


def test_what_stands_first_is_chosen_first_whatever_it_looks_like() -> None:
    plain = plain_paths(SMALL)
    for method in METHODS:
        for path in ("/things/new", "/form", "/inner/form"):
            scope = asked(method, path)
            assert choose(plain, scope) is by_the_long_way(SMALL, asked(method, path)), (method, path)
    scope = asked("GET", "/things/new")
    assert choose(plain, scope) is SMALL[0]
    assert scope["path_params"] == {"name": "new"}


@pytest.mark.parametrize(
    "scope",
    [
        asked("PUT", "/form"),
        asked("GET", "/form/"),
        asked("GET", "/things/old"),
        asked("GET", "/form", root_path="/inner"),
        {"type": "lifespan"},
        {"type": "websocket", "path": "/form"},
    ],
    ids=["method", "slash", "variable", "below", "lifespan", "websocket"],
)
def test_all_else_is_left_to_the_router(scope: dict[str, Any]) -> None:
    before = dict(scope)
    assert choose(plain_paths(SMALL), scope) is None
    assert scope == before


def test_every_address_of_the_web_service_is_found_as_before() -> None:
    every = routes(cast("RouteServices", MagicMock(openapi=b"{}")))
    plain = plain_paths(every)
    assert {"/oauth/token", "/oauth/introspect", "/session", "/login"} <= plain.keys()
    for path in plain:
        for method in METHODS:
            assert choose(plain, asked(method, path)) is by_the_long_way(every, asked(method, path))
