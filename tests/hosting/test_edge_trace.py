"""The edge begins traces, drops what clients say of them, and goes on with those of applications."""

import re
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from support.edge import RESIDENTS, World, running_world, told
from support.waiting import until
from troth.core.ca import Subject
from troth.core.tracing import STEPS, Context, is_chosen, read_traceparent, write_traceparent
from troth.hosting.edge_trace import chosen_pattern
from troth.hosting.tracing.edge_spans import read_line

FORGED = Context("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("edge"), traced=STEPS) as running:
        yield running


@pytest.mark.parametrize("steps", [1, 2, 15, 16, 17, 255, 256, 257, 410, 4094, 4095, 4096])
def test_the_edge_and_everybody_else_choose_the_same(steps: int) -> None:
    pattern = re.compile(chosen_pattern(steps))
    for number in range(STEPS):
        beginning = f"{number:03x}"
        chosen = pattern.match(f"{beginning}a1c52-3c1e-4f0f") is not None
        assert chosen == is_chosen(beginning + "0" * 29, steps / STEPS), beginning


async def get(world: World, path: str, **headers: str) -> httpx.Response:
    async with world.browser(session=True) as browser:
        return await browser.get(path, headers=headers)


@pytest.mark.parametrize("path", ["/page", "/api/v1/tickets"])
async def test_a_trace_begins_at_the_edge_whatever_a_client_says(world: World, path: str) -> None:
    answer = await get(
        world, path, traceparent=write_traceparent(FORGED), tracestate="a=b", baggage="person=anna"
    )
    number = answer.headers["x-request-id"].replace("-", "")
    (header,) = told(answer)["traceparent"]
    assert read_traceparent(header) == (Context(number, number[16:]), True)
    assert {"tracestate", "baggage"}.isdisjoint(told(answer))
    if path == "/page":
        asked = [dict(one["headers"]).get("traceparent") for one in world.seen(target="/internal/forward")]
        assert header in asked, "the question whose session it is stands in the same trace"


async def test_the_log_tells_the_span_that_the_others_stand_under(world: World) -> None:
    answer = await get(world, "/api/v1/tickets")
    (header,) = told(answer)["traceparent"]
    number = answer.headers["x-request-id"]
    await until(lambda: number in world.state.access_log.read_text())
    line = next(one for one in world.state.access_log.read_text().splitlines() if number in one)
    span = read_line(line.encode(), 1.0, ("/api",))
    assert span is not None
    assert (Context(span.trace, span.span), True) == read_traceparent(header)
    assert (span.name, span.parent, span.failed) == ("GET /api/v1/tickets", "", False)
    assert 0 < span.end - span.begin < 20_000_000_000


async def call(world: World, **headers: str) -> httpx.Response:
    """As an application calls the API."""
    subject = Subject(common_name="portal", usage="client", uri="spiffe://troth/apps/portal")
    leaf = world.authorities.leaf("apps", subject, f"portal-{uuid4()}")
    context = world.trust(certificate=leaf, ca="instances")
    async with httpx.AsyncClient(verify=context) as client:
        host = f"{RESIDENTS}:{world.state.https_port}"
        url = f"https://{world.state.private.endpoint}/api/v1/tickets"
        return await client.get(url, headers={"Host": host, **headers})


async def test_an_application_goes_on_with_the_trace_that_it_was_given(world: World) -> None:
    above = Context(uuid4().hex, "00f067aa0ba902b7")
    answer = await call(world, traceparent=write_traceparent(above), baggage="person=anna")
    (header,) = told(answer)["traceparent"]
    read = read_traceparent(header)
    assert read is not None
    assert (read[0].trace, read[1]) == (above.trace, True)
    assert read[0].span != above.span, "the edge stands in between"
    assert "baggage" not in told(answer)
    await until(lambda: above.trace in world.state.access_log.read_text())
    line = next(one for one in world.state.access_log.read_text().splitlines() if above.trace in one)
    span = read_line(line.encode(), 1.0, ("/api",))
    assert span is not None
    assert (span.trace, span.parent, span.span) == (above.trace, above.span, read[0].span)


@pytest.mark.parametrize("said", ["", "forged", f"00-{'0' * 31}g-00f067aa0ba902b7-01", "00-1-2-01"])
async def test_what_is_no_trace_is_dropped_from_applications_too(world: World, said: str) -> None:
    answer = await call(world, traceparent=said)
    assert answer.status_code == 200
    assert "traceparent" not in told(answer)
