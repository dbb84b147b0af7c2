"""Bodies that the data API refuses, and that refusing them stores and leaks nothing."""

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from support.api import browse, check_problem
from support.documents import EVERYTHING, Person
from troth.data.collections import BODY_BYTES

TITLE = {"title": "The heating is cold"}


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"", "application/json", 400, "malformed"),
        (b"{", "application/json", 400, "malformed"),
        (b"[]", "application/json", 400, "malformed"),
        (b'{"title":"a","title":"b"}', "application/json", 400, "malformed"),
        (b'{"title":NaN}', "application/json", 400, "malformed"),
        (b'{"title":"a\\u0000"}', "application/json", 400, "malformed"),
        (b'{"x":' * 40 + b"1" + b"}" * 40, "application/json", 400, "malformed"),
        (b"{}", "application/json", 422, "invalid"),
        (b'{"title":1}', "application/json", 422, "invalid"),
        (b'{"title":"a","_meta":{}}', "application/json", 422, "invalid"),
        (b'{"title":"a"}', "text/plain", 415, "unsupported_media_type"),
        (b'{"title":"a"}', "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b'{"title":"a"}', "", 415, "unsupported_media_type"),
        (b'{"title":"' + b"a" * BODY_BYTES + b'"}', "application/json", 413, "too_large"),
    ],
)
async def test_a_bad_body_is_a_problem_and_stores_nothing(
    http: httpx.AsyncClient, ada: Person, body: bytes, kind: str, status: int, code: str
) -> None:
    call = await browse(http, ada)
    problem = check_problem(await call("POST", "/api/v1/tickets", body, content_type=kind), status, code)
    if code == "invalid":
        assert all(set(fault) == {"pointer", "detail"} for fault in problem["errors"])
        assert problem["errors"]
    assert (await call("GET", "/api/v1/tickets")).json()["items"] == []


async def test_a_charset_is_no_other_content_type(http: httpx.AsyncClient, ada: Person) -> None:
    call = await browse(http, ada)
    made = await call("POST", "/api/v1/tickets", TITLE, content_type="Application/JSON; charset=utf-8")
    assert made.status_code == 201
    packed = await call("POST", "/api/v1/tickets", TITLE, content_encoding="gzip")
    check_problem(packed, 415, "unsupported_media_type")


async def test_reading_a_body_stops_at_the_limit(api_app: Starlette, ada: Person) -> None:
    """An endless body without a length is cut off, not collected."""
    sent = 0

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent += 65_536
        assert sent < 4 * BODY_BYTES
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    answers: list[Any] = []

    async def send(message: Any) -> None:
        answers.append(message)

    token = await ada.token(*EVERYTHING)
    headers = {
        "host": ada.house.domain.name,
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
    }
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/tickets",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await api_app(scope, receive, send)
    assert answers[0]["status"] == 413


async def test_a_field_name_cannot_break_out_of_a_header(http: httpx.AsyncClient, ada: Person) -> None:
    call = await browse(http, ada, "tickets:create:own:title")
    response = await call("POST", "/api/v1/tickets", {'x"\r\nset-cookie: a=b': 1})
    check_problem(response, 403, "insufficient_scope")
    assert "set-cookie" not in response.headers
    assert "\n" not in response.headers["www-authenticate"]
