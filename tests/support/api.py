"""The data API over ASGI, and somebody who calls it."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from support.documents import EVERYTHING, Estate, Person, collections
from troth.access.explain import Denials
from troth.data.openapi import write_api
from troth.web.api import routes


@pytest.fixture(scope="session")
async def api_app(estate: Estate) -> Starlette:
    openapi = write_api(collections(), title="Residents", version="0.1.0")
    access = estate.access
    denials = Denials(access.directory, access.sessions, access.clients)
    return Starlette(routes=routes(estate.documents, access.authenticator, openapi, denials))


@pytest.fixture
async def http(api_app: Starlette) -> AsyncGenerator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=api_app)
    async with httpx.AsyncClient(transport=transport, base_url="https://unset") as client:
        yield client


class Browser:
    """Somebody's calls, with a token and the right client domain."""

    def __init__(self, http: httpx.AsyncClient, person: Person, token: str) -> None:
        self._http = http
        self._headers = {
            "host": f"{person.house.domain.name}:8443",
            "authorization": f"Bearer {token}",
        }

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = self._headers | {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("content-type", "application/json")
        return await self._http.request(method, path, content=content, headers=sent)


async def browse(http: httpx.AsyncClient, person: Person, *scopes: str) -> Browser:
    return Browser(http, person, await person.token(*(scopes or EVERYTHING)))


def check_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The members that every problem has, and nothing that it must not have."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    problem = response.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:troth:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    assert "troth." not in response.text
    return problem
