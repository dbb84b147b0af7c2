"""People at the portal, as its tests see them: signed in, with what the edge says about them."""

import html
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
from portal.api import DataApi, make_client
from portal.application import create_app
from starlette.types import ASGIApp

from support.portal_api import HOST, make_token

NOW = datetime(2026, 11, 23, 15, 42, tzinfo=UTC)
ANNA, MARKUS = "0190a3c4-0000-7000-8000-00000000000a", "0190a3c4-0000-7000-8000-00000000000b"

RESIDENT = (
    "tickets:create",
    "tickets:read:own",
    "tickets:update:own:title,description,category,urgency,location",
    "announcements:read",
)
MANAGER = (
    "tickets:read",
    "tickets:update",
    "tickets:delete",
    "announcements:create",
    "announcements:read",
    "announcements:update",
    "announcements:delete",
)

TICKET = {
    "category": "heating",
    "title": "Radiator stays cold",
    "location": "Flat 12, living room",
    "description": "Since Friday.\r\nI am at home after five.",
    "urgency": "urgent",
}


@dataclass
class Visitor:
    """One person with a browser. `page` is the last answer."""

    client: httpx.AsyncClient

    async def get(self, path: str, **headers: str) -> "Page":
        return Page(await self.client.get(path, headers=headers))

    async def post(self, path: str, fields: dict[str, str]) -> "Page":
        return Page(await self.client.post(path, data=fields))

    async def follow(self, page: "Page") -> "Page":
        """Where a form that was sent leads."""
        assert page.status == 303, (page.status, page.text)
        return await self.get(page.response.headers["location"])


@dataclass
class Page:
    """An answer as a person sees it."""

    response: httpx.Response

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def source(self) -> str:
        return self.response.text

    @property
    def text(self) -> str:
        """The words on the page, without markup."""
        body = self.source.partition("<body")[2].partition(">")[2]
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())

    @property
    def heading(self) -> str:
        found = re.search(r"<h1>(.*?)</h1>", self.source, re.DOTALL)
        return html.unescape(found[1]).strip() if found else ""

    def hidden(self, name: str) -> str:
        """The value of a hidden field."""
        found = re.search(rf'name="{name}" value="([^"]*)"', self.source)
        assert found, name
        return html.unescape(found[1])

    def link(self, pattern: str) -> str:
        """The first address on the page that matches."""
        found = re.search(rf'href="({pattern})"', self.source)
        assert found, pattern
        return html.unescape(found[1])


@asynccontextmanager
async def open_portal(api: ASGIApp, *, now: Callable[[], datetime] = lambda: NOW) -> AsyncGenerator[ASGIApp]:
    """The portal, in front of a data API that is an ASGI application."""
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    app = create_app(lambda: DataApi(make_client("https://127.0.0.1:1", transport)), now=now)
    async with app.router.lifespan_context(app):
        yield app


def visitor(
    app: ASGIApp,
    token: str,
    *,
    person: str = "Anna Weber",
    brand: str = "Lindenhof",
    host: str = HOST,
    language: str = "en",
) -> Visitor:
    """A person whom the edge vouches for."""
    headers = {
        "X-Troth-Brand-Name": quote(brand, safe=""),
        "X-Troth-Brand-Colour": "#2c6e49",
        "X-Troth-Person": quote(person, safe=""),
        "X-Troth-Tenant": "lindenhof",
        "X-Request-Id": "7d7b2c5e-3c1f-4a6e-9a53-2f4f0f5f1f11",
        "Accept-Language": language,
        "Host": host,
    }
    if token:
        headers["Authorization"] = f"Bearer {token}"
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return Visitor(httpx.AsyncClient(transport=transport, base_url=f"https://{host}", headers=headers))


def anna_of(
    app: ASGIApp, *, person: str = "Anna Weber", language: str = "en", brand: str = "Lindenhof"
) -> Visitor:
    """A resident."""
    return visitor(app, make_token(ANNA, *RESIDENT), person=person, language=language, brand=brand)


def markus_of(app: ASGIApp) -> Visitor:
    """The management."""
    return visitor(app, make_token(MARKUS, *MANAGER), person="Markus Brandt")
