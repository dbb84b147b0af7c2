"""The way straight to an address without variable parts, instead of past all that stand before it.

The router matches an address against one pattern after the other, some ninety before those of OAuth.
"""

from collections.abc import Mapping, Sequence

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

Candidates = Mapping[str, Sequence[BaseRoute]]


def plain_paths(routes: Sequence[BaseRoute]) -> Candidates:
    """Of each address that a route names as it is: every route that matches it, in their order."""
    plain = {route.path for route in routes if isinstance(route, Route) and "{" not in route.path}
    return {path: [route for route in routes if _may_match(route, path)] for path in plain}


def choose(candidates: Candidates, scope: Scope) -> BaseRoute | None:
    """The route that the router would choose, with what it learned put into `scope`; None when that is for
    the router to find out: another method, an address with variable parts, or none at all."""
    if scope["type"] != "http" or scope.get("root_path"):
        return None
    for route in candidates.get(scope["path"], ()):
        match, learned = route.matches(scope)
        if match is Match.FULL:
            scope["route"] = route
            scope.update(learned)
            return route
    return None


def _may_match(route: BaseRoute, path: str) -> bool:
    return not isinstance(route, Route) or route.path_regex.match(path) is not None
