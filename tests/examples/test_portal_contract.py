"""The portal against the real data API: the roles and collections of troth.toml, a real database, real
sealing and real tokens. What the API in memory claims elsewhere is held against the truth here."""

import json
import tomllib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp

from support.access import PORT, Access, House, furnish
from support.documents import Estate, Person
from support.portal import TICKET, Visitor, open_portal, visitor
from support.portal_api import SCHEMAS
from troth.core.db import Database
from troth.data.collections import compile_collection
from troth.data.documents import Documents
from troth.web import api

EXAMPLE = Path(__file__).parents[2] / "examples" / "residents" / "troth.toml"


@dataclass
class Place:
    """The portal of one house, and who may come in."""

    app: ASGIApp
    estate: Estate
    house: House

    async def invite(self, role: str) -> tuple[Visitor, Person]:
        """A person with a role of the example, signed in."""
        person = await self.estate.person(self.house)
        scopes = tomllib.loads(EXAMPLE.read_text())["roles"][role]["scopes"]
        host = f"{self.house.domain.name}:{PORT}"
        return visitor(self.app, await person.token(*scopes), person=role.title(), host=host), person


def real_api(access: Access) -> Starlette:
    collections = {
        name: compile_collection(name, name.title(), json.loads((SCHEMAS / f"{name[:-1]}.json").read_bytes()))
        for name in ("tickets", "announcements")
    }
    documents = Documents(access.database, access.ring, collections)
    return Starlette(routes=api.routes(documents, access.authenticator, b"{}"))


@pytest.fixture
async def place(
    database: Database, owner_database: Database, auditor_database: Database
) -> AsyncGenerator[Place]:
    estate = Estate(database, owner_database, auditor_database)
    house = await furnish(estate.access)
    async with open_portal(real_api(estate.access), now=lambda: datetime.now(UTC)) as app:
        yield Place(app, estate, house)


async def test_a_ticket_goes_its_way(place: Place) -> None:
    anna, _ = await place.invite("resident")
    markus, _ = await place.invite("manager")
    fields = TICKET | {"key": (await anna.get("/tickets/new")).hidden("key")}
    sent = [await anna.post("/tickets", fields) for _ in range(2)]
    assert sent[0].response.headers["location"] == sent[1].response.headers["location"]
    page = await anna.follow(sent[0])
    assert page.heading == "Radiator stays cold"
    assert "1 ticket" in (await anna.get("/tickets")).text

    address = page.response.url.path
    page = await anna.get(f"{address}/edit")
    fields = TICKET | {
        "version": page.hidden("version"),
        "title": "Two radiators",
        "description": "",
    }
    assert (await anna.follow(await anna.post(f"{address}/edit", fields))).heading == "Two radiators"

    stale = (await markus.get(address)).hidden("version")
    move = {"version": stale, "status": "in_progress", "back": "board"}
    assert "In progress 1" in (await markus.follow(await markus.post(f"{address}/progress", move))).text
    page = await markus.post(
        f"{address}/progress", {"version": stale, "status": "done", "answer": "A valve."}
    )
    assert (page.status, page.heading) == (409, "Somebody changed this in the meantime")
    again = {name: page.hidden(name) for name in ("version", "status", "answer")}
    await markus.follow(await markus.post(f"{address}/progress", again))
    assert "Answer from the management A valve." in (await anna.get(address)).text

    page = await markus.get(f"{address}/delete")
    await markus.follow(await markus.post(f"{address}/delete", {"version": page.hidden("version")}))
    assert (await anna.get(address)).status == 404


async def test_a_resident_cannot_file_a_ticket_that_the_management_has_answered(place: Place) -> None:
    _, anna = await place.invite("resident")
    token = await anna.token(*tomllib.loads(EXAMPLE.read_text())["roles"]["resident"]["scopes"])
    sent = {"title": "Paid for already", "category": "other", "urgency": "low"}
    transport = httpx.ASGITransport(real_api(place.estate.access))
    async with httpx.AsyncClient(transport=transport, base_url=f"https://{place.house.domain.name}") as http:
        for forged, status in (({"answer": "We pay."}, 403), ({"status": "done"}, 403), ({}, 201)):
            answer = await http.post(
                "/api/v1/tickets", json=sent | forged, headers={"Authorization": f"Bearer {token}"}
            )
            assert answer.status_code == status


async def test_a_used_key_with_other_content_is_told(place: Place) -> None:
    anna, _ = await place.invite("resident")
    fields = TICKET | {"key": (await anna.get("/tickets/new")).hidden("key")}
    await anna.post("/tickets", fields)
    page = await anna.post("/tickets", fields | {"title": "Another thing"})

    assert page.status == 409
    assert "already stored" in page.text


async def test_lists_lead_on_and_stay_ones_own(place: Place) -> None:
    anna, _ = await place.invite("resident")
    lea, _ = await place.invite("resident")
    for number in range(30):
        await anna.post("/tickets", TICKET | {"title": f"Ticket number {number:02}"})
    page = await anna.get("/tickets")
    assert "Ticket number 29" in page.text
    assert "Ticket number 00" not in page.text
    assert "Ticket number 00" in (await anna.get(page.link(r"/tickets\?cursor=[^\"]*"))).text
    assert "No tickets yet" in (await lea.get("/tickets")).text
    assert (await anna.get("/tickets?cursor=nonsense")).status == 400


async def test_announcements_are_written_by_the_management(place: Place) -> None:
    anna, _ = await place.invite("resident")
    markus, _ = await place.invite("manager")
    news = {"category": "event", "title": "Advent", "body": "Come!", "valid_until": "2999-12-24"}
    page = await markus.follow(await markus.post("/announcements", news))
    assert "Shown until 24 December 2999." in page.text
    address = page.response.url.path
    change = news | {"version": "1", "body": "Come all!", "valid_until": ""}
    await markus.follow(await markus.post(f"{address}/edit", change))

    assert "Come all!" in (await anna.get(address)).text
    assert (await anna.post("/announcements", news)).status == 403
    assert (await anna.post(f"{address}/delete", {"version": "2"})).status == 403


async def test_both_sides_count_characters_alike(place: Place) -> None:
    anna, _ = await place.invite("resident")
    longest = TICKET | {"location": "\N{GRINNING FACE}" * 120, "description": "ö" * 4000}
    assert (await anna.post("/tickets", longest)).status == 303
    assert (await anna.post("/tickets", TICKET | {"location": "é" * 121})).status == 422


async def test_after_signing_out_elsewhere_the_next_page_asks_to_sign_in(place: Place) -> None:
    anna, person = await place.invite("resident")
    assert (await anna.get("/tickets")).status == 200
    await person.sign_out()
    page = await anna.get("/tickets")

    assert page.status == 303
    assert page.response.headers["location"] == "/login?return_to=/tickets"
