"""The keeper gathers spans and sends them to a collector, which nobody waits for."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from support.collector import spans_of
from support.configuration import EXAMPLE
from support.receiver import Receiver, running_receiver
from troth.core.config import Settings, load_settings
from troth.core.errors import ConfigError
from troth.core.secret import write_secret
from troth.core.settings import TracingSettings
from troth.core.state import State, open_state
from troth.core.tracing import Pipe, Span
from troth.hosting.tracing.pipes import make_pipe
from troth.hosting.watch.rules import judge
from troth.wiring.tracing import Tracing, check_tracing

NUMBER = "0b7a1c52-3c1e-4f0f-9a55-6f2d0d1f7a11"
SPAN = Span(
    trace=NUMBER.replace("-", ""), span="00f067aa0ba902b7", name="GET /api/v1/tickets", begin=1, end=2
)
LINE = {
    "ts": "2026-11-25T12:00:02.123456789Z",
    "logger": "http.log.access.public",
    "uuid": NUMBER,
    "status": 200,
    "duration": 0.25,
    "request": {"method": "GET", "host": "residents.localhost", "uri": "/api/v1/tickets"},
}


class Place:
    """A state folder with one instance that tells, and a collector."""

    def __init__(self, state: State, receiver: Receiver) -> None:
        self.state, self.receiver = state, receiver
        self.headers = state.root / "collector.headers"
        write_secret(self.headers, b"Authorization: Bearer collectors-own\n")
        tracing = TracingSettings(
            endpoint=receiver.url, region="IE", share=1.0, headers_file=self.headers, ca=receiver.ca
        )
        self.settings = with_tracing(tracing)
        instances = state.run / "instances"
        instances.mkdir(parents=True)
        self.pipe = Pipe(make_pipe(instances / "web-1-0.spans"))
        (state.logs).mkdir(exist_ok=True)
        self.log = state.logs / "access.log"
        self.log.touch()
        self.tracing = Tracing(self.settings, state, ("/api",))

    async def serve_one(self) -> None:
        await self.tracing.gather()
        self.pipe.write(SPAN)
        with self.log.open("a") as log:
            log.write(json.dumps(LINE) + "\n")
        await self.tracing.gather()

    def samples(self) -> dict[str, float]:
        return {one.metric: one.value for one in self.tracing.samples()}


def with_tracing(tracing: TracingSettings | None) -> Settings:
    return msgspec.structs.replace(load_settings(EXAMPLE / "troth.toml"), tracing=tracing)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place]:
    async with running_receiver(tmp_path) as receiver:
        place = Place(open_state(tmp_path / "s"), receiver)
        yield place
        await place.tracing.close()
        place.pipe.close()


async def test_what_the_edge_and_an_instance_did_arrives_as_one_trace(place: Place) -> None:
    await place.serve_one()
    assert await place.tracing.send() == ""
    told = {one.service: one for one in spans_of(place.receiver)}
    assert set(told) == {"edge", "web"}
    assert {one.trace for one in told.values()} == {SPAN.trace}
    (received,) = place.receiver.received
    assert received.headers["authorization"] == "Bearer collectors-own"
    assert received.headers["content-type"] == "application/x-protobuf"
    assert (place.samples()["troth_traces_sent"], place.samples()["troth_traces_waiting"]) == (2, 0)


@pytest.mark.parametrize(
    ("status", "waiting", "refused"), [(503, 2, 0), (429, 2, 0), (400, 0, 2), (302, 0, 2)]
)
async def test_what_is_not_taken_waits_or_is_dropped_and_is_told_once(
    place: Place, status: int, waiting: int, refused: int
) -> None:
    place.receiver.status = status
    await place.serve_one()
    assert await place.tracing.send() == f"traces are not taken: status {status}"
    assert await place.tracing.send() == "", "left in peace, and told of once"
    assert len(place.receiver.received) == 1
    samples = place.samples()
    assert (samples["troth_traces_waiting"], samples["troth_traces_refused"]) == (waiting, refused)


async def test_a_collector_that_takes_nothing_is_an_alert_after_a_minute(place: Place) -> None:
    failing = [
        msgspec.structs.replace(one, value=61.0, words="no answer (ConnectError)")
        if one.metric == "troth_traces_failing_seconds"
        else one
        for one in place.tracing.samples()
    ]
    (fault,) = judge(failing)
    assert (fault.key, fault.severity) == ("traces.failing", "warning")
    assert "no answer" in fault.words
    assert judge(place.tracing.samples()) == ()


async def test_the_collectors_secret_is_read_each_time_and_never_told(place: Place) -> None:
    await place.serve_one()
    place.headers.write_text("Bearer without-a-colon")
    said = await place.tracing.send()
    assert "cannot be used" in said and "without-a-colon" not in said
    assert place.receiver.received == []


async def test_without_the_table_nothing_is_gathered(place: Place) -> None:
    place.tracing.follow(with_tracing(None))
    await place.serve_one()
    assert await place.tracing.send() == ""
    assert (place.receiver.received, place.tracing.samples()) == ([], ())


@pytest.mark.parametrize(
    ("key", "content", "mode"),
    [
        ("headers_file", "no header", 0o600),
        ("headers_file", "Authorization: x\nöther: y", 0o600),
        ("headers_file", "Authorization: x", 0o644),
        ("ca", "a canary", 0o600),
    ],
)
def test_a_file_that_is_of_no_use_is_refused_before_anything_starts(
    tmp_path: Path, key: str, content: str, mode: int
) -> None:
    file = tmp_path / "file"
    file.write_text(content)
    file.chmod(mode)
    tracing = TracingSettings(endpoint="https://collector.example/v1/traces", region="IE")
    with pytest.raises(ConfigError) as refused:
        check_tracing(with_tracing(msgspec.structs.replace(tracing, **{key: file})))
    assert refused.value.key == f"tracing.{key}"
    assert content not in refused.value.public
