"""A method that an address does not offer, at a page as at the API."""

import asyncio
from collections.abc import AsyncGenerator, MutableMapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from troth.core.leader import DatabaseTarget
from troth.web import app
from troth.wiring.blueprint import WebConfiguration


async def page(request: Request) -> Response:
    return Response("a page")


@asynccontextmanager
async def running(application: app.Application) -> AsyncGenerator[httpx.AsyncClient]:
    """Between startup and shutdown, as a server tells an application of them."""
    told = ["lifespan.startup"]
    started, ends = asyncio.Event(), asyncio.Event()

    async def receive() -> MutableMapping[str, Any]:
        if not told:
            await ends.wait()
        return {"type": told.pop() if told else "lifespan.shutdown"}

    async def send(message: MutableMapping[str, Any]) -> None:
        assert message["type"] in ("lifespan.startup.complete", "lifespan.shutdown.complete")
        started.set()

    living = asyncio.create_task(application({"type": "lifespan"}, receive, send))
    await asyncio.wait_for(started.wait(), 30)
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="https://residents.localhost") as client:
        yield client
    ends.set()
    await living


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("PUT", "/login", "GET, HEAD, POST"), ("GET", "/consent", "POST"), ("HEAD", "/consent", "POST")],
)
async def test_a_problem_names_what_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, path: str, allow: str
) -> None:
    def routes(_: object) -> list[Route]:
        return [
            Route("/login", page, methods=["GET"]),
            Route("/login", page, methods=["POST"]),
            Route("/consent", page, methods=["POST"]),
        ]

    def keep(services: object) -> object:
        return services

    def a_page(services: object, handler: object) -> object:
        async def answer(request: Request) -> Response:
            return Response("a refusal for people", 405)

        return answer

    monkeypatch.setattr(app, "page", a_page)
    monkeypatch.setattr(app, "open_services", nullcontext)
    monkeypatch.setattr(app, "with_pages", keep)
    monkeypatch.setattr(app, "routes", routes)
    target = DatabaseTarget((), "app", tmp_path, tmp_path, tmp_path)
    configuration = WebConfiguration(
        platform="test",
        database=target,
        root_key=tmp_path,
        https_port=443,
        connections=1,
        collections={},
        public={},
    )
    async with running(app.Application(configuration)) as client:
        answer = await client.request(method, path)
        shown = await client.request(method, path, headers={"accept": "text/html,*/*;q=0.8"})
        assert (await client.post("/consent")).text == "a page"
    assert (shown.status_code, shown.headers["allow"]) == (405, allow)
    assert method == "HEAD" or shown.text == "a refusal for people"
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.content == b"") is (method == "HEAD")
