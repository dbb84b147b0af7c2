"""What the edge adds to answers, what it says itself, and what stays in its log."""

import json
from collections.abc import AsyncIterator

import pytest

from support.edge import RESIDENTS, World, running_world
from support.waiting import until

HSTS = "max-age=63072000; includeSubDomains; preload"


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.mark.parametrize("path", ["/login", "/public/x", "/private", "/internal/forward"])
async def test_every_answer_carries_the_security_headers(world: World, path: str) -> None:
    async with world.browser() as browser:
        said = ("Strict-Transport-Security:max-age=0", "X-Content-Type-Options:nosniff", "X-Request-Id:mine")
        answer = await browser.get(path, params=[("h", header) for header in said])
    assert answer.headers.get_list("strict-transport-security") == [HSTS]
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers["referrer-policy"] == "strict-origin-when-cross-origin"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cache-control"] in ("private", "no-store")
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
    assert "camera=()" in answer.headers["permissions-policy"]
    assert len(answer.headers["x-request-id"]) == 36
    assert "server" not in answer.headers
    assert "via" not in answer.headers


async def test_what_an_application_says_of_its_own_safety_stands(world: World) -> None:
    said = {
        "Content-Security-Policy": "default-src 'none'; frame-ancestors https://a.example",
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "camera=(self)",
        "Cross-Origin-Opener-Policy": "unsafe-none",
        "Cache-Control": "public, max-age=60",
    }
    params = [("h", f"{name}:{value}") for name, value in said.items()]
    params += [("h", "Server:secret/1.0"), ("h", "X-Powered-By:php"), ("h", "X-Troth-Person:Ada")]
    async with world.browser(session=True) as browser:
        answer = await browser.get("/page", params=params)
    for name, value in said.items():
        assert answer.headers.get_list(name) == [value]
    assert {"server", "x-powered-by", "x-troth-person", "x-frame-options"}.isdisjoint(answer.headers)


async def test_a_page_of_the_web_service_that_has_a_policy_has_the_rest_of_its_own_as_well(
    world: World,
) -> None:
    said = {"Content-Security-Policy": "default-src 'none'", "Cache-Control": "public, max-age=60"}
    async with world.browser() as browser:
        answer = await browser.get(
            "/login", params=[("h", f"{name}:{value}") for name, value in said.items()]
        )
    for name, value in said.items():
        assert answer.headers.get_list(name) == [value]
    assert {"referrer-policy", "x-frame-options", "via", "server"}.isdisjoint(answer.headers)
    assert answer.headers.get_list("strict-transport-security") == [HSTS]


async def test_the_edges_own_errors_are_a_page_for_people_and_a_problem_for_programs(world: World) -> None:
    async with world.browser() as browser:
        page = await browser.get("/internal/x", headers={"Accept": "text/html,*/*"})
        problem = await browser.get("/internal/x", headers={"Accept": "application/json"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-request-id"] in page.text
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json() == {
        "type": "about:blank",
        "title": "There is nothing here",
        "status": 404,
        "code": "not_found",
        "instance": f"urn:uuid:{problem.headers['x-request-id']}",
    }


async def test_the_log_holds_no_query_cookie_token_or_whole_address(world: World) -> None:
    async with world.browser(session=True) as browser:
        answer = await browser.get(
            "/login?code=s3cret-code", headers={"Authorization": "Bearer s3cret-token"}
        )
        await browser.get(
            "/x" * 3 + "?token=s3cret-code", headers={"Referer": "https://a.example/?c=s3cret-code"}
        )
    await until(lambda: answer.headers["x-request-id"] in world.state.access_log.read_text())
    for file in (world.state.access_log, world.state.log):
        text = file.read_text()
        secrets = ("s3cret", "__Host-troth", '"remote":"127.0.0.1"', '_ip":"127.0.0.1"')
        assert not [word for word in secrets if word in text]
        assert file.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in world.state.access_log.read_text().splitlines()]
    line = next(line for line in lines if line["uuid"] == answer.headers["x-request-id"])
    assert line["asked"] == f"GET {RESIDENTS}/login HTTP/1.1"
    assert (line["remote"], line["status"]) == ("127.0.0.0", 200)
    assert "request" not in line
    assert line["upstream"].startswith("127.0.0.1:")
