"""A browser as far as HTTP goes: cookies of one origin, the headers that no script can change."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from support.access import PORT, Access, HeldClock, House
from troth.core.db import Database
from troth.core.names import DEVICE_COOKIE, LANGUAGE_COOKIE, PENDING_COOKIE, SESSION_COOKIE
from troth.web import (
    account,
    accounts,
    forward,
    login,
    oauth,
    pages,
    reports,
    second_factor,
    session,
    step_up,
)
from troth.web.pages import Pages

NAVIGATE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", "Accept": "text/html"}


class WebAccess(Access):
    """Access with what the routes of `web` need besides."""

    def __init__(
        self, database: Database, owner: Database, auditor: Database, *, clock: HeldClock | None = None
    ) -> None:
        super().__init__(database, owner, auditor, clock=clock)
        self.collection_titles = {"tickets": "Tickets", "announcements": "Announcements"}
        self.pages = Pages()


def application(services: WebAccess) -> Starlette:
    """The routes of access, without anything around them."""
    modules: tuple[Callable[[Any], list[Any]], ...] = (
        forward.routes,
        session.routes,
        login.routes,
        second_factor.routes,
        step_up.routes,
        account.routes,
        accounts.routes,
        oauth.routes,
        reports.routes,
        pages.routes,
    )
    routes: list[BaseRoute] = [route for module in modules for route in module(services)]
    return Starlette(routes=routes)


class Browser:
    """One browser on one domain. Cookies are kept as a browser would, by their own rules."""

    def __init__(self, services: WebAccess, house: House) -> None:
        self.services = services
        self.origin = house.domain.issuer
        self.cookie = ""
        self.set_cookie = ""
        self.device = ""
        self.pending = ""
        self.language = ""
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(application(services)),
            base_url=f"https://{house.domain.name}:{PORT}",
        )

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Follow a link or type an address."""
        return await self.send("GET", path, headers={**NAVIGATE, **_names(headers)})

    async def fetch(self, path: str, **headers: str) -> httpx.Response:
        """A script of the domain's own page fetches."""
        own = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
        return await self.send("GET", path, headers={**own, **_names(headers)})

    async def post(self, path: str, form: dict[str, str], **headers: str) -> httpx.Response:
        """Send a form of the domain's own page."""
        own = {"Origin": self.origin, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
        return await self.send("POST", path, headers={**own, **_names(headers)}, data=form)

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str], **rest: Any
    ) -> httpx.Response:
        """Send exactly these headers and the cookie."""
        held = {
            SESSION_COOKIE: self.cookie,
            DEVICE_COOKIE: self.device,
            PENDING_COOKIE: self.pending,
            LANGUAGE_COOKIE: self.language,
        }
        pairs = "; ".join(f"{name}={value}" for name, value in held.items() if value)
        cookie = {"Cookie": pairs} if pairs else {}
        sent = httpx.Headers(headers)
        sent.update(cookie)
        response = await self._client.request(method, path, headers=sent, **rest)
        for line in response.headers.get_list("set-cookie"):
            self._keep(line)
        return response

    async def close(self) -> None:
        await self._client.aclose()

    def _keep(self, line: str) -> None:
        pair, *attributes = [part.strip() for part in line.split(";")]
        name, _, value = pair.partition("=")
        lower = {attribute.lower() for attribute in attributes}
        # RFC 6265bis section 4.1.3.2: else the browser ignores the whole line.
        assert name in (SESSION_COOKIE, DEVICE_COOKIE, PENDING_COOKIE, LANGUAGE_COOKIE)
        assert {"secure", "path=/"} <= lower
        assert not any(attribute.startswith("domain") for attribute in lower)
        if name == DEVICE_COOKIE:
            assert "httponly" in lower
            self.device = value.strip('"')
            return
        if name == LANGUAGE_COOKIE:
            assert {"httponly", "samesite=lax"} <= lower
            self.language = "" if "max-age=0" in lower else value
            return
        if name == PENDING_COOKIE:
            assert {"httponly", "samesite=strict"} <= lower
            self.pending = "" if "max-age=0" in lower else value
            return
        self.set_cookie = line
        self.cookie = "" if "max-age=0" in lower else value.strip('"')


class Served(msgspec.Struct, frozen=True):
    """A house whose routes answer over real TLS; `ca` is to be trusted."""

    house: House
    ca: Path


def _names(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
