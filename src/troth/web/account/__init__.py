"""`/account`: what a signed-in person sees and changes of their own account.

One module for each page. A page is a handler that gets the living session, see `account_page`; its template
extends `account.html`, which holds the way to the other pages and out.
"""

from typing import Any

from starlette.routing import BaseRoute

from troth.web.account import security, sessions


def routes(services: Any) -> list[BaseRoute]:
    """Every route under /account."""
    return [*sessions.routes(services), *security.routes(services)]
