"""What passes through a real edge, what is taken away on the way, and what is refused."""

import json
import time
from collections.abc import AsyncIterator

import pytest

from support.edge import OWNERS, RESIDENTS, World, running_world, told


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("edge")) as running:
        yield running


WEB_PATHS = [
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/oauth/token",
    "/login",
    "/login/reset",
    "/logout",
    "/session",
    "/session/token",
    "/api/v1/tickets/7?full=1",
    "/api/openapi.json",
    "/health",
    "/troth-assets/style.css",
]


@pytest.mark.parametrize("path", WEB_PATHS)
async def test_troths_own_paths_go_to_the_web_service_as_they_came(world: World, path: str) -> None:
    async with world.browser(session=True) as browser:
        answer = await browser.get(path, headers={"Authorization": "Bearer mine"})
    assert answer.json()["name"].startswith("web-")
    assert answer.json()["target"] == path
    headers = told(answer)
    assert headers["authorization"] == ["Bearer mine"]
    assert headers["cookie"] == ["theme=dark; __Host-troth=good; tour=done"]
    assert headers["host"] == [f"{RESIDENTS}:{world.state.https_port}"]


@pytest.mark.parametrize("path", ["/", "/page", "/loginx", "/sessions", "/apis", "/oauthx", "/health/x"])
async def test_everything_else_goes_to_the_application(world: World, path: str) -> None:
    async with world.browser(OWNERS, session=True) as browser:
        answer = await browser.get(path)
    assert answer.json()["name"].startswith("portal-")
    assert told(answer)["host"] == [f"{OWNERS}:{world.state.https_port}"]


async def test_the_application_gets_the_sessions_token_and_brand_and_never_the_cookie(world: World) -> None:
    async with world.browser(session=True) as browser:
        headers = told(await browser.get("/page"))
    assert headers["authorization"] == ["Bearer token-of-the-session"]
    assert headers["cookie"] == ["theme=dark; tour=done"]
    assert headers["x-troth-brand-name"] == ["Residents"]
    assert headers["x-troth-brand-colour"] == ["#123456"]
    assert headers["x-troth-person"] == ["Ada%20L%C3%B6w"]
    assert headers["x-troth-tenant"] == ["north"]
    assert "x-troth-access-token" not in headers


async def test_the_question_whose_session_it_is_says_what_was_asked_but_sends_no_body(world: World) -> None:
    async with world.browser(session=True) as browser:
        conditions = {"If-None-Match": '"1"', "Range": "bytes=0-1", "Expect": "100-continue"}
        answer = await browser.ask("POST", "/save?a=1&b=%20", content=b"x" * 1000, headers=conditions)
    assert (answer.json()["length"], answer.json()["method"]) == (1000, "POST")
    question = world.seen(target="/internal/forward")[-1]
    asked = [
        q
        for q in world.seen(target="/internal/forward")
        if ["x-forwarded-uri", "/save?a=1&b=%20"] in q["headers"]
    ]
    headers = dict(asked[0]["headers"])
    assert question["method"] == "GET"
    assert headers["x-forwarded-method"] == "POST"
    assert headers["host"] == f"{RESIDENTS}:{world.state.https_port}"
    assert headers.get("content-length", "0") == "0"
    assert "transfer-encoding" not in headers
    assert {"if-none-match", "range", "expect", "content-type"}.isdisjoint(headers)
    assert told(answer)["if-none-match"] == ['"1"']


async def test_a_visitor_without_a_session_is_sent_to_sign_in_and_the_application_sees_nothing(
    world: World,
) -> None:
    async with world.browser() as browser:
        answer = await browser.get("/private-corner")
    assert (answer.status_code, answer.headers["location"]) == (302, "/login?return_to=%2F")
    assert not world.seen(target="/private-corner")
    assert not [name for name in answer.headers if name.startswith("x-troth")]


async def test_an_anonymous_visitor_of_a_public_path_brings_no_token(world: World) -> None:
    async with world.browser() as browser:
        headers = told(await browser.get("/public/news", headers={"Authorization": "Bearer forged"}))
    assert "authorization" not in headers
    assert headers["x-troth-tenant"] == ["north"]
    assert "x-troth-person" not in headers


FORGED = {
    "Authorization": "Bearer forged",
    "X-Troth-Person": "forged",
    "X-Troth-Access-Token": "forged",
    "X-Troth-Brand-Name": "forged",
    "X-Troth-Anything": "forged",
    "x_troth_person": "forged",
    "X-Troth_Tenant": "forged",
    "Forwarded": "for=forged",
    "X-Forwarded-For": "forged",
    "X-Forwarded-Host": "forged",
    "X-Forwarded-Method": "forged",
    "X-Forwarded-Uri": "/public/forged",
    "X-Forwarded-User": "forged",
    "X-Real-IP": "forged",
    "True-Client-IP": "forged",
    "CF-Connecting-IP": "forged",
    "X-Client-IP": "forged",
    "X-SSL-Client-Verify": "forged",
    "Remote-User": "forged",
    "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "Tracestate": "forged=1",
    "Baggage": "person=forged",
    "X-Remote-User": "forged",
    "X-Host": "forged",
    "X-Original-URL": "/forged",
    "X-Rewrite-URL": "/forged",
    "X-HTTP-Method-Override": "forged",
    "X-Request-Id": "forged",
    "Proxy": "forged",
}


@pytest.mark.parametrize("path", ["/public/page", "/login", "/api/v1/x"])
async def test_what_a_client_says_in_the_name_of_the_edge_is_dropped(world: World, path: str) -> None:
    forged = dict(FORGED)
    if path != "/public/page":
        del forged["Authorization"]
    async with world.browser() as browser:
        answer = await browser.get(path, headers=forged)
    assert answer.status_code == 200
    assert "forged" not in json.dumps(answer.json()["headers"])
    assert told(answer)["x-forwarded-for"] == ["127.0.0.1"]


async def test_an_instance_is_told_when_the_edge_passed_a_request_on(world: World) -> None:
    before = time.time()
    async with world.browser() as browser:
        answer = await browser.get("/public/page", headers={"X-Troth-Passed": "1"})
    (stamp,) = told(answer)["x-troth-passed"]
    assert before - 0.1 <= int(stamp) / 1000 <= time.time()


async def test_a_forged_path_does_not_make_a_private_page_public(world: World) -> None:
    async with world.browser() as browser:
        answer = await browser.get("/secret", headers={"X-Forwarded-Uri": "/public/x"})
    assert answer.status_code == 302


TRICKS = [
    b"Connection: close, Authorization, X-Troth-Person, Cookie, X-Request-Id, X-Forwarded-For",
    b"Connection: close\r\nConnection: authorization\r\nConnection: x-troth-person",
    b"Connection: close\r\nKeep-Alive: x\r\nTE: trailers, authorization\r\nTrailer: Authorization",
]


@pytest.mark.parametrize("trick", TRICKS)
async def test_the_connection_header_cannot_undo_what_the_edge_adds(world: World, trick: bytes) -> None:
    host = f"{RESIDENTS}:{world.state.https_port}".encode()
    request = (
        b"GET /page HTTP/1.1\r\nHost: " + host + b"\r\nCookie: __Host-troth=good\r\n" + trick + b"\r\n\r\n"
    )
    answer = await world.raw(request, until_closed=False)
    headers = dict(json.loads(answer.partition(b"\r\n\r\n")[2])["headers"])
    assert headers["authorization"] == "Bearer token-of-the-session"
    assert headers["x-troth-person"] == "Ada%20L%C3%B6w"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert "x-request-id" in headers


COOKIES = [
    ("__Host-troth=good", None),
    ("__Host-troth=good; a=1", "a=1"),
    ("a=1; __Host-troth=good", "a=1"),
    ("a=1;__Host-troth=good;b=2", "a=1;b=2"),
    ("a=1; __Host-troth=good; __Host-troth=other; b=2", "a=1; b=2"),
    ("a=1;  __host-troth = good; b=2", "a=1; b=2"),
    ("__Host-troth=good; __Host-troth", "__Host-troth"),
    ("__Host-troth=good; my__Host-troth=mine; __Host-troth2=two", "my__Host-troth=mine; __Host-troth2=two"),
]


@pytest.mark.parametrize(("sent", "seen"), COOKIES)
async def test_only_our_own_cookie_is_taken_out(world: World, sent: str, seen: str | None) -> None:
    async with world.browser() as browser:
        headers = told(await browser.get("/page", headers={"Cookie": sent + "; __Host-troth=good"}))
    assert headers.get("cookie", [None]) == [seen]


async def test_cookies_spread_over_several_headers_are_cleaned_in_each(world: World) -> None:
    host = f"{RESIDENTS}:{world.state.https_port}".encode()
    lines = b"Cookie: a=1; __Host-troth=other\r\nCookie: __Host-troth=good; b=2\r\nConnection: close\r\n\r\n"
    answer = await world.raw(b"GET /page HTTP/1.1\r\nHost: " + host + b"\r\n" + lines, until_closed=False)
    assert b"__Host-troth" not in answer
    assert b"a=1" in answer
    assert b"b=2" in answer


@pytest.mark.parametrize(
    "name", ["__Host-troth=evil; Path=/; Secure", "__host-TROTH=x", " =__Host-troth=evil"]
)
async def test_an_application_cannot_set_our_cookie(world: World, name: str) -> None:
    async with world.browser(session=True) as browser:
        answer = await browser.get(
            "/page", params=[("h", f"Set-Cookie:{name}"), ("h", "Set-Cookie:own=1; Path=/")]
        )
    cookies = answer.headers.get_list("set-cookie")
    assert "own=1; Path=/" in cookies
    assert [cookie for cookie in cookies if cookie not in ("", "own=1; Path=/")] == []


async def test_the_web_service_sets_our_cookie(world: World) -> None:
    async with world.browser() as browser:
        answer = await browser.get("/login", params={"h": "Set-Cookie:__Host-troth=new; Path=/; Secure"})
    assert answer.headers["set-cookie"] == "__Host-troth=new; Path=/; Secure"


@pytest.mark.parametrize(
    "path",
    [
        "/.troth/ready",
        "/.TROTH/ready",
        "/%2etroth/ready",
        "//.troth/ready",
        "/internal/forward",
        "/%69nternal/forward",
        "/internal",
    ],
)
async def test_inner_paths_do_not_exist_outside(world: World, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: {RESIDENTS}\r\nConnection: close\r\n\r\n".encode()
    assert (await world.raw(request)).startswith(b"HTTP/1.1 404 ")


AMBIGUOUS = [
    "/public/../secret",
    "/public/%2e%2e/secret",
    "/public/.%2E/x",
    "/a/./b",
    "/public/..%2fsecret",
    "/public%2f..%2fsecret",
    "/a%5c..%5cb",
    "/a\\b",
    "/a%00",
    "/api/../internal/forward",
    "/x/..",
]


PATHLESS = ["x:http://web/public/a", "x:http://web/.troth/ready", "x:public/a", "*"]
"""The edge finds no path in these, where an instance finds one: the rules about paths would all be idle."""


@pytest.mark.parametrize("path", [*AMBIGUOUS, *PATHLESS])
async def test_paths_that_can_be_read_in_two_ways_are_refused(world: World, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: {RESIDENTS}\r\nConnection: close\r\n\r\n".encode()
    assert (await world.raw(request)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "path", ["/public/a..b", "/public/.hidden", "/public/x?next=/../y&z=%2f%00", "/public/%C3%A9"]
)
async def test_ordinary_paths_with_dots_and_queries_pass(world: World, path: str) -> None:
    async with world.browser() as browser:
        assert (await browser.get(path)).json()["target"] == path


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "TRACK", "BREW"])
async def test_methods_that_nobody_needs_are_refused(world: World, method: str) -> None:
    target = f"{RESIDENTS}:443" if method == "CONNECT" else "/api/v1/x"
    request = f"{method} {target} HTTP/1.1\r\nHost: {RESIDENTS}\r\nConnection: close\r\n\r\n".encode()
    assert (await world.raw(request)).startswith((b"HTTP/1.1 405 ", b"HTTP/1.1 400 "))


async def test_headers_beyond_the_limit_are_refused(world: World) -> None:
    filler = b"X-Filler: " + b"a" * 60_000
    request = b"GET / HTTP/1.1\r\nHost: " + RESIDENTS.encode() + b"\r\n" + filler + b"\r\n\r\n"
    assert (await world.raw(request)).startswith(b"HTTP/1.1 431 ")
