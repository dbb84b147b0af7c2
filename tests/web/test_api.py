"""The data API over ASGI, with real tokens, real sealing and a real database."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from support.api import browse, check_problem
from support.documents import EVERYTHING, OWN, Person
from troth.access.forgery import forgeries
from troth.core.db import Database

TITLE = {"title": "The heating is cold"}
HIDDEN = "7f1bde03-0000-7000-8000-000000000000"


async def test_a_document_lives_from_its_creation_to_its_deletion(
    http: httpx.AsyncClient, ada: Person
) -> None:
    call = await browse(http, ada)
    made = await call("POST", "/api/v1/tickets", TITLE)
    assert made.status_code == 201
    assert made.headers["etag"] == '"1"'
    assert made.headers["cache-control"] == "private, no-store"
    assert made.headers["content-type"] == "application/json"
    place = made.headers["location"]
    read = await call("GET", place)
    assert (read.status_code, read.headers["etag"]) == (200, '"1"')
    assert read.json() == made.json()
    assert read.json()["_meta"]["owner"] == str(ada.id)
    assert place == f"/api/v1/tickets/{read.json()['_meta']['id']}"
    put = await call("PUT", place, {"title": "Warm again"}, if_match='"1"')
    assert (put.status_code, put.headers["etag"]) == (200, '"2"')
    patched = await call(
        "PATCH", place, {"status": "closed"}, if_match='"2"', content_type="application/merge-patch+json"
    )
    assert (patched.status_code, patched.headers["etag"]) == (200, '"3"')
    assert {name: patched.json()[name] for name in ("title", "status")} == {
        "title": "Warm again",
        "status": "closed",
    }
    listed = (await call("GET", "/api/v1/tickets")).json()
    assert listed == {"items": [patched.json()], "next": None}
    gone = await call("DELETE", place, if_match='"3"')
    assert (gone.status_code, gone.content) == (204, b"")
    check_problem(await call("GET", place), 404, "not_found")


async def test_without_a_token_only_the_scheme_is_told(http: httpx.AsyncClient, ada: Person) -> None:
    response = await http.get("/api/v1/tickets", headers={"host": ada.house.domain.name})
    check_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == 'Bearer realm="api"'


@pytest.mark.parametrize("scheme", ["Basic", "DPoP", "Bearer,", ""])
async def test_only_the_bearer_scheme_opens_the_api(
    http: httpx.AsyncClient, ada: Person, scheme: str
) -> None:
    token = await ada.token(*EVERYTHING)
    headers = {"host": ada.house.domain.name, "authorization": f"{scheme} {token}".strip()}
    check_problem(await http.get("/api/v1/tickets", headers=headers), 401, "unauthenticated")


async def test_a_cookie_opens_nothing(http: httpx.AsyncClient, ada: Person) -> None:
    headers = {"host": ada.house.domain.name, "cookie": f"__Host-troth={ada.cookie}"}
    check_problem(await http.get("/api/v1/tickets", headers=headers), 401, "unauthenticated")
    as_bearer = {"host": ada.house.domain.name, "authorization": f"Bearer {ada.cookie}"}
    check_problem(await http.get("/api/v1/tickets", headers=as_bearer), 401, "unauthenticated")


async def test_a_token_in_the_address_opens_nothing(http: httpx.AsyncClient, ada: Person) -> None:
    token = await ada.token(*EVERYTHING)
    response = await http.get(
        f"/api/v1/tickets?access_token={token}", headers={"host": ada.house.domain.name}
    )
    check_problem(response, 401, "unauthenticated")


async def test_a_forged_token_is_refused(http: httpx.AsyncClient, ada: Person) -> None:
    for name, forged in forgeries(await ada.token(*EVERYTHING)).items():
        headers = {"host": ada.house.domain.name, "authorization": f"Bearer {forged}"}
        response = await http.get("/api/v1/tickets", headers=headers)
        check_problem(response, 401, "unauthenticated")
        assert 'error="invalid_token"' in response.headers["www-authenticate"], name


async def test_a_token_of_another_domain_is_refused(
    http: httpx.AsyncClient, ada: Person, eve: Person
) -> None:
    token = await eve.token(*EVERYTHING)
    headers = {"host": ada.house.domain.name, "authorization": f"Bearer {token}"}
    check_problem(await http.get("/api/v1/tickets", headers=headers), 401, "unauthenticated")


async def test_a_token_dies_with_its_session(http: httpx.AsyncClient, ada: Person) -> None:
    call = await browse(http, ada)
    made = await call("POST", "/api/v1/tickets", TITLE)
    await ada.sign_out()
    for method, path, body in (
        ("GET", "/api/v1/tickets", None),
        ("GET", made.headers["location"], None),
        ("POST", "/api/v1/tickets", TITLE),
        ("PUT", made.headers["location"], TITLE),
        ("PATCH", made.headers["location"], TITLE),
        ("DELETE", made.headers["location"], None),
    ):
        response = await call(method, path, body, if_match='"1"')
        check_problem(response, 401, "unauthenticated")
        assert 'error="invalid_token"' in response.headers["www-authenticate"]


@pytest.mark.parametrize(
    ("method", "action"),
    [("GET", "read"), ("POST", "create"), ("PUT", "update"), ("PATCH", "update"), ("DELETE", "delete")],
)
async def test_a_missing_scope_is_named(
    http: httpx.AsyncClient, ada: Person, method: str, action: str
) -> None:
    made = await (await browse(http, ada))("POST", "/api/v1/tickets", TITLE)
    lacking = await browse(
        http, ada, *(scope for scope in EVERYTHING if not scope.endswith(action)), "openid"
    )
    path = "/api/v1/tickets" if method == "POST" else made.headers["location"]
    body = TITLE if method in ("POST", "PUT", "PATCH") else None
    response = await lacking(method, path, body, if_match='"1"')
    problem = check_problem(response, 403, "insufficient_scope")
    assert problem["scope"] == f"tickets:{action}"
    # RESIDENT, the role of everybody here, has neither `announcements:create` nor `tickets:delete`.
    assert problem["lacking"] == ("person" if action == "delete" else "asked")
    assert f'error="insufficient_scope", scope="tickets:{action}"' in response.headers["www-authenticate"]


async def test_other_tenants_and_other_peoples_rows_do_not_exist(
    http: httpx.AsyncClient, ada: Person, bob: Person, eve: Person
) -> None:
    made = await (await browse(http, ada))("POST", "/api/v1/tickets", TITLE)
    for person, scopes in ((bob, OWN), (eve, EVERYTHING)):
        call = await browse(http, person, *scopes)
        for method, body in (("GET", None), ("PUT", TITLE), ("PATCH", TITLE), ("DELETE", None)):
            check_problem(
                await call(method, made.headers["location"], body, if_match='"1"'), 404, "not_found"
            )
        assert (await call("GET", "/api/v1/tickets")).json() == {"items": [], "next": None}
    assert (await (await browse(http, ada))("GET", made.headers["location"])).status_code == 200


async def test_a_change_needs_the_version_it_is_based_on(http: httpx.AsyncClient, ada: Person) -> None:
    call = await browse(http, ada)
    place = (await call("POST", "/api/v1/tickets", TITLE)).headers["location"]
    for method in ("PUT", "PATCH"):
        check_problem(await call(method, place, TITLE), 428, "precondition_required")
        check_problem(await call(method, place, TITLE, if_match='"2"'), 412, "precondition_failed")
        check_problem(await call(method, place, TITLE, if_match='W/"1"'), 412, "precondition_failed")
        check_problem(await call(method, place, TITLE, if_match="1"), 400, "malformed")
    check_problem(await call("DELETE", place, if_match='"2"'), 412, "precondition_failed")
    assert (await call("PUT", place, TITLE, if_match='"7", "1"')).headers["etag"] == '"2"'
    assert (await call("PUT", place, TITLE, if_match="*")).headers["etag"] == '"3"'
    assert (await call("DELETE", place)).status_code == 204


async def test_of_twenty_changes_at_once_exactly_one_wins(http: httpx.AsyncClient, ada: Person) -> None:
    call = await browse(http, ada)
    place = (await call("POST", "/api/v1/tickets", TITLE)).headers["location"]
    answers = await asyncio.gather(*(call("PUT", place, TITLE, if_match='"1"') for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19


async def test_a_request_repeated_twenty_times_at_once_makes_one_row(
    http: httpx.AsyncClient, ada: Person
) -> None:
    call = await browse(http, ada)
    answers = await asyncio.gather(
        *(call("POST", "/api/v1/tickets", TITLE, idempotency_key='"k-1"') for _ in range(20))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len((await call("GET", "/api/v1/tickets")).json()["items"]) == 1
    reused = await call("POST", "/api/v1/tickets", {"title": "other"}, idempotency_key='"k-1"')
    check_problem(reused, 422, "idempotency_key_reused")
    for wrong in ("", "x" * 256, '"' + "x" * 256 + '"'):
        check_problem(await call("POST", "/api/v1/tickets", TITLE, idempotency_key=wrong), 400, "malformed")


async def test_an_unchanged_document_is_not_sent_again(http: httpx.AsyncClient, ada: Person) -> None:
    call = await browse(http, ada)
    place = (await call("POST", "/api/v1/tickets", TITLE)).headers["location"]
    for tag in ('"1"', 'W/"1"', '"7", "1"', "*"):
        response = await call("GET", place, if_none_match=tag)
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", '"1"')
    assert (await call("GET", place, if_none_match='"2"')).status_code == 200


async def test_head_answers_like_get_without_a_body(http: httpx.AsyncClient, ada: Person) -> None:
    call = await browse(http, ada)
    place = (await call("POST", "/api/v1/tickets", TITLE)).headers["location"]
    for path in (place, "/api/v1/tickets", "/api/openapi.json", f"/api/v1/tickets/{HIDDEN}", "/api/nothing"):
        head, get = await call("HEAD", path), await call("GET", path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        ("/api/v1/tickets", "PUT", "GET, HEAD, POST"),
        (f"/api/v1/tickets/{HIDDEN}", "POST", "DELETE, GET, HEAD, PATCH, PUT"),
        ("/api/openapi.json", "POST", "GET, HEAD"),
        ("/api/v1/tickets", "OPTIONS", "GET, HEAD, POST"),
    ],
)
async def test_a_method_that_is_not_offered_is_told_which_are(
    http: httpx.AsyncClient, ada: Person, path: str, method: str, allow: str
) -> None:
    response = await (await browse(http, ada))(method, path)
    check_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allow


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/v1",
        "/api/v1/",
        "/api/v1/secrets",
        "/api/v1/tickets/",
        "/api/v1/tickets/1",
        f"/api/v1/tickets/{HIDDEN}",
        f"/api/v1/tickets/{HIDDEN}/x",
        f"/api/v1/tickets/{{{HIDDEN}}}",
        f"/api/v1/tickets/{HIDDEN.replace('-', '')}",
        "/api/v1/tickets/%2e%2e",
        "/api/v1/Tickets",
        "/api/v2/tickets",
    ],
)
async def test_what_is_not_there_is_a_problem_of_its_own(
    http: httpx.AsyncClient, ada: Person, path: str
) -> None:
    check_problem(await (await browse(http, ada))("GET", path), 404, "not_found")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=-1",
        "limit=1&limit=2",
        "limit=",
        "after=",
        "after=x",
        "q=1",
        "limit=1e1",
    ],
)
async def test_a_wrong_parameter_of_a_list_is_refused(
    http: httpx.AsyncClient, ada: Person, query: str
) -> None:
    check_problem(await (await browse(http, ada))("GET", f"/api/v1/tickets?{query}"), 400, "malformed")


async def test_a_list_is_walked_by_its_cursor(http: httpx.AsyncClient, ada: Person) -> None:
    call = await browse(http, ada)
    for number in range(5):
        await call("POST", "/api/v1/tickets", {"title": str(number)})

    async def pages() -> AsyncIterator[list[str]]:
        query = "?limit=2"
        while True:
            page = (await call("GET", f"/api/v1/tickets{query}")).json()
            yield [item["title"] for item in page["items"]]
            if page["next"] is None:
                return
            query = f"?limit=2&after={page['next']}"

    assert [page async for page in pages()] == [["4", "3"], ["2", "1"], ["0"]]


@pytest.mark.parametrize(("sent", "kept"), [("0190a3c4-7a5e-7cc1", True), ("a\tb", False), ("x" * 65, False)])
async def test_the_request_id_is_the_edges_or_a_new_one(
    http: httpx.AsyncClient, ada: Person, sent: str, kept: bool
) -> None:
    response = await (await browse(http, ada))("GET", "/api/v1/tickets", x_request_id=sent)
    assert (response.headers["x-request-id"] == sent) == kept
    assert len(response.headers["x-request-id"]) >= 16


async def test_what_breaks_inside_tells_nothing_outside(
    http: httpx.AsyncClient, superuser_database: Database, ada: Person, caplog: pytest.LogCaptureFixture
) -> None:
    call = await browse(http, ada)
    place = (await call("POST", "/api/v1/tickets", TITLE)).headers["location"]
    await superuser_database.execute(
        "update troth.document set version = 2 where id = $1::uuid", place.rsplit("/", 1)[1]
    )
    problem = check_problem(await call("GET", place), 500, "internal")
    assert "seal" not in str(problem).lower()
    assert problem["request_id"] in caplog.text


async def test_the_description_is_served_to_anybody(http: httpx.AsyncClient, ada: Person) -> None:
    response = await http.get("/api/openapi.json", headers={"host": ada.house.domain.name})
    assert response.status_code == 200
    assert response.json()["openapi"].startswith("3.1")
    tag = response.headers["etag"]
    again = await http.get("/api/openapi.json", headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
