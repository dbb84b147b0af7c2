"""One request is followed through the whole platform: by its trace, and by its number in every log."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.collector import Seen, spans_of
from support.person import Person, signed_in, ticket
from support.platform import ANNA, RESIDENTS, Troth, ended, example_text, state_folder, troth, until
from support.receiver import Receiver, running_receiver
from support.rounds import in_many_rounds, tell
from troth.core.db import Database
from troth.core.secret import write_secret
from troth.data.roles import SUPERUSER
from troth.hosting.spike import flood

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600), in_many_rounds]

SECRET = "the-collectors-secret"
FORGED = "4bf92f3577b34da6a3ce929d0e0e4736"
TITLE = "canary-of-a-title"


@asynccontextmanager
async def traced(folder: Path) -> AsyncGenerator[tuple[Troth, Receiver]]:
    """A platform of one member that traces every request."""
    async with running_receiver(folder) as receiver:
        config = folder / "troth.toml"
        text = example_text()
        headers = folder / "collector.headers"
        write_secret(headers, f"Authorization: Bearer {SECRET}\n".encode())
        lines = (
            "[tracing]",
            f'endpoint = "{receiver.url}"',
            f'headers_file = "{headers}"',
            f'ca = "{receiver.ca}"',
            'region = "IE"',
            "share = 1.0",
        )
        text = text.replace('format = "text"', 'format = "json"') + "\n" + "\n".join(lines) + "\n"
        config.write_text(text)
        with state_folder() as root:
            running = Troth(root, members=1)
            with ended(running):
                done = await asyncio.to_thread(
                    troth, "up", *running.arguments(config=config), "--detach", seconds=240
                )
                assert done.status == 0, done.output + done.errors
                await running.whole()
                yield running, receiver


async def test_one_trace_and_one_number_lead_from_the_edge_to_the_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with traced(tmp_path) as (running, receiver):
        async with signed_in(running, ANNA) as anna:
            trace = await look_at_a_page(anna)
            spans = await whole_trace(receiver, trace)
            check_shape(spans)
            check_silence(running, receiver, anna)
            await check_a_dead_collector(running, receiver)
            number = await fail(running, anna)
        logs = {path.name: path.read_text() for path in running.state.logs.glob("*.log")}
    assert any(line["uuid"] == number for line in lines(logs["access.log"]) if "uuid" in line)
    told = [
        line
        for name in ("web-1.log", "web-2.log")
        for line in lines(logs[name])
        if line.get("request_id") == number
    ]
    assert [line["level"] for line in told] == ["error"]
    assert {line["source"] for line in lines(logs["keeper.log"])} == {"keeper"}
    assert SECRET not in "".join(logs.values())
    tell(capsys, f"{len(spans)} spans of one page: {sorted({f'{one.service} {one.name}' for one in spans})}")


async def look_at_a_page(anna: Person) -> str:
    """A page of the portal, which asks the API for tickets; returns its trace."""
    assert (await anna.call("POST", "tickets", json=ticket(TITLE), key=TITLE)).status_code == 201
    page = await anna.get("/", traceparent=f"00-{FORGED}-00f067aa0ba902b7-01")
    assert (page.status_code, TITLE in page.text) == (200, True)
    return str(page.headers["x-request-id"]).replace("-", "")


async def whole_trace(receiver: Receiver, trace: str) -> list[Seen]:
    async def look() -> list[Seen]:
        return [one for one in spans_of(receiver) if one.trace == trace]

    def complete(found: list[Seen]) -> bool:
        services = [one.service for one in found]
        return services.count("edge") >= 2 and "portal" in services and any(map(is_database, found))

    return await until(look, complete, seconds=60, what="the trace is with the collector")


def is_database(span: Seen) -> bool:
    return span.attributes.get("db.system.name") == "postgresql"


def check_shape(spans: list[Seen]) -> None:
    """Edge, below it the session's question and the application, below that the edge again, the API, and the
    database."""
    by_id = {one.span: one for one in spans}
    (root,) = [one for one in spans if not one.parent]
    assert (root.service, root.name) == ("edge", "GET")
    (application,) = [one for one in spans if one.service == "portal"]
    assert application.parent == root.span
    (question,) = [one for one in spans if one.name == "GET /internal/forward"]
    assert (question.service, question.parent) == ("web", root.span)
    api = [one for one in spans if one.service == "web" and one.name == "GET /api/v1/tickets"]
    assert api
    for one in api:
        inner = by_id[one.parent]
        assert (inner.service, inner.parent) == ("edge", application.span)
    below = [one for one in spans if is_database(one)]
    assert {by_id[one.parent].span for one in below} >= {one.span for one in api}
    assert all("troth." in one.name or one.name in ("transaction", "select") for one in below)


def check_silence(running: Troth, receiver: Receiver, anna: Person) -> None:
    """What was sent holds nothing of anybody; the collector's own secret came in its header alone."""
    sent = b"".join(one.body for one in receiver.received).decode("latin-1")
    canaries = (ANNA, "Anna", TITLE, anna.cookie, anna.token, running.password(ANNA), SECRET, FORGED)
    assert [one for one in canaries if one in sent] == []
    assert {one.headers["authorization"] for one in receiver.received} == {f"Bearer {SECRET}"}


async def check_a_dead_collector(running: Troth, receiver: Receiver) -> None:
    """It answers 503 to everything: nobody's request notices."""
    receiver.status = 503
    async with flood(running.face, RESIDENTS, "/assets/base.css", 4, pause=0.01) as load:

        async def failing() -> float:
            done = await asyncio.to_thread(troth, "metrics", "--state", running.state.root)
            families = text_string_to_metric_families(done.output)
            values = {one.name: one.value for family in families for one in family.samples}
            return values.get("troth_traces_failing_seconds", 0.0)

        await until(failing, lambda value: value > 3.0, seconds=60, what="it is seen to fail")
    assert load.sent > 100
    assert (load.failed, load.fault) == (0, "")


async def fail(running: Troth, anna: Person) -> str:
    """A call whose function in the database has gone is answered 500; returns its number."""
    database = await Database.open(running.database(SUPERUSER), max_size=1)
    try:
        await database.execute("alter routine troth.document_list rename to gone", idempotent=False)
        answer = await anna.call("GET", "tickets?limit=1")
        await database.execute("alter routine troth.gone rename to document_list", idempotent=False)
    finally:
        await database.close()
    assert answer.status_code == 500, answer.text
    number = str(answer.json()["request_id"])
    assert number == answer.headers["x-request-id"]
    return number


def lines(log: str) -> list[dict[str, object]]:
    """Every line of a log, each an object."""
    return [json.loads(line) for line in log.splitlines()]
