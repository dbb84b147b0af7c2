"""Spans are gathered from pipes and from the edge's log, strictly, and wait in a bounded supply."""

import json
import os
from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest

from troth.core.tracing import MOST_BYTES, Pipe, Span
from troth.hosting.log_file import Follower
from troth.hosting.tracing.edge_spans import read_line
from troth.hosting.tracing.pipes import Pipes, make_pipe
from troth.hosting.tracing.supply import LONGEST_SECONDS, MOST_AT_ONCE, MOST_WAITING, Supply

NUMBER = "0b7a1c52-3c1e-4f0f-9a55-6f2d0d1f7a11"
TRACE, OWN = NUMBER.replace("-", ""), "9a556f2d0d1f7a11"
OURS = ("/api", "/login")


def span(**changes: object) -> Span:
    given = {"trace": TRACE, "span": OWN, "name": "GET", "begin": 1, "end": 2}
    return Span(**{**given, **changes})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def line(**changes: object) -> bytes:
    told = {
        "ts": "2026-11-25T12:00:02.123456789Z",
        "logger": "http.log.access.public",
        "uuid": NUMBER,
        "status": 200,
        "duration": 0.25,
        "asked": "GET residents.localhost:8443/api/v1/tickets/7 HTTP/2.0",
        "upstream": "127.0.0.1:20001",
    }
    return json.dumps({**told, **changes}).encode()


def test_a_line_of_the_log_is_the_edges_span() -> None:
    told = read_line(line(), 1.0, OURS)
    assert told is not None
    assert (told.trace, told.span, told.parent) == (TRACE, OWN, "")
    assert told.name == "GET /api/v1/tickets/{}"
    assert told.end - told.begin == 250_000_000
    assert told.end == 1_795_608_002_123_456_000
    assert told.attributes["server.address"] == "residents.localhost"


def test_the_path_of_an_application_is_not_told() -> None:
    told = read_line(line(asked="GET residents.localhost/tenants/anna weber HTTP/1.1"), 1.0, OURS)
    assert told is not None
    assert (told.name, "anna" in str(told)) == ("GET", False)


def test_what_an_application_goes_on_with_is_told_under_its_span() -> None:
    said = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    told = read_line(line(logger="http.log.access.private", troth_parent=said), 0.0001, OURS)
    assert told is not None
    assert (told.trace, told.parent, told.span) == (said[3:35], said[36:52], OWN)
    assert read_line(line(logger="http.log.access.private"), 1.0, OURS) is None


@pytest.mark.parametrize("odd", [b"", b"{", b"[]", line(uuid="../etc"), line(uuid=""), line(ts="now")])
def test_a_line_that_is_none_is_passed_over(odd: bytes) -> None:
    assert read_line(odd, 1.0, OURS) is None


def test_only_what_was_chosen_is_told() -> None:
    assert read_line(line(), 0x0B7 / 4096, OURS) is None
    assert read_line(line(), 0x0B8 / 4096, OURS) is not None


def test_the_log_is_followed_through_its_rolling(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(b"before\n")
    follower = Follower(log)
    assert list(follower.lines()) == []
    with log.open("ab") as file:
        file.write(b"one\nhal")
    assert list(follower.lines()) == [b"one"]
    with log.open("ab") as file:
        file.write(b"f\n")
    log.rename(tmp_path / "access-1.log")
    log.write_bytes(b"new\n")
    assert list(follower.lines()) == [b"half"]
    assert list(follower.lines()) == [b"new"]
    follower.close()


@pytest.fixture
def pipes(tmp_path: Path) -> Generator[Pipes]:
    pipes = Pipes(tmp_path)
    yield pipes
    pipes.close()


def test_an_instance_tells_in_its_own_name_alone(tmp_path: Path, pipes: Pipes) -> None:
    pipe = Pipe(make_pipe(tmp_path / "portal-2-1.spans"))
    pipe.write(span())
    assert list(pipes.read()) == [("portal-2", span())]
    assert list(pipes.read()) == []
    pipe.close()


def test_a_pipe_that_was_made_anew_is_read_again(tmp_path: Path, pipes: Pipes) -> None:
    path = tmp_path / "web-1-0.spans"
    first = Pipe(make_pipe(path))
    assert list(pipes.read()) == []
    second = Pipe(make_pipe(path))
    second.write(span())
    assert list(pipes.read()) == [("web-1", span())]
    first.close()
    second.close()


@pytest.mark.parametrize(
    "odd",
    [
        b"no json",
        b"{}",
        b"[]",
        msgspec.json.encode(span(trace="00")),
        msgspec.json.encode(span(trace="z" * 32)),
        msgspec.json.encode(span(parent="00ff")),
        msgspec.json.encode(span(name="x" * 1000)),
        msgspec.json.encode(span(end=-1)),
        msgspec.json.encode(span(attributes={"key": "x" * 1000})),
        msgspec.json.encode(span(attributes={str(number): 1 for number in range(99)})),
        b"x" * (MOST_BYTES - 1),
    ],
)
def test_what_is_no_span_is_counted_and_dropped(tmp_path: Path, pipes: Pipes, odd: bytes) -> None:
    path = make_pipe(tmp_path / "portal-1-0.spans")
    writer = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    os.write(writer, odd + b"\n")
    assert list(pipes.read()) == []
    assert pipes.odd == 1
    os.close(writer)


def test_the_supply_is_bounded_and_the_oldest_make_room() -> None:
    supply = Supply()
    supply.put(("edge", span(begin=number)) for number in range(MOST_WAITING + 10))
    assert (len(supply), supply.lost) == (MOST_WAITING, 10)
    due = supply.due(0.0)
    assert (len(due), due[0][1].begin) == (MOST_AT_ONCE, 10)
    supply.put(("edge", span()) for _ in range(20))
    supply.took(due)
    assert supply.sent == MOST_AT_ONCE - 20, "some had made room meanwhile"


def test_a_dead_collector_is_asked_less_and_less_often_and_is_told_of() -> None:
    supply, now, gaps = Supply(), 100.0, list[float]()
    supply.put([("edge", span())])
    for _ in range(9):
        assert supply.due(now)
        supply.fail("no answer (ConnectError)", now)
        before = now
        while not supply.due(now):
            now += 0.5
        gaps.append(now - before)
    assert gaps[:3] == [1.0, 2.0, 4.0]
    assert gaps[-1] == LONGEST_SECONDS
    assert (supply.failing(now), supply.problem) == (now - 100.0, "no answer (ConnectError)")
    supply.took(supply.due(now))
    assert (supply.failing(now), supply.problem, len(supply)) == (0.0, "", 0)


def test_what_is_refused_for_good_is_not_asked_again() -> None:
    supply = Supply()
    supply.put([("edge", span())])
    supply.refuse(supply.due(0.0), "status 400", 0.0)
    assert (supply.refused, len(supply), supply.problem) == (1, 0, "status 400")
