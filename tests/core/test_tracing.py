"""Spans: who is traced, what of a request is told, and that nobody waits for it."""

import os
from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.core import tracing
from troth.core.tracing import (
    Context,
    Pipe,
    Span,
    asking,
    is_chosen,
    name_of_statement,
    over,
    read_traceparent,
    route_of,
    serving,
    steps_of,
    trace_into,
    write_traceparent,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ABOVE = Context(TRACE, SPAN)


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[int]:
    path = tmp_path / "web-1-0.spans"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    monkeypatch.setattr(tracing, "_pipe", None)  # and back to that at the end
    trace_into(path)
    yield reader
    os.close(reader)


def written(reader: int) -> list[Span]:
    try:
        lines = os.read(reader, 1 << 16).splitlines()
    except BlockingIOError:
        return []
    return [msgspec.json.decode(line, type=Span) for line in lines]


def test_a_traceparent_is_read_to_the_letter() -> None:
    assert read_traceparent(f"00-{TRACE}-{SPAN}-01") == (ABOVE, True)
    assert read_traceparent(f"00-{TRACE}-{SPAN}-00") == (ABOVE, False)
    assert read_traceparent(write_traceparent(ABOVE)) == (ABOVE, True)


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"01-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}",
    ],
)
def test_what_is_no_traceparent_is_none(header: str) -> None:
    assert read_traceparent(header) is None


@given(st.text("0123456789abcdef", min_size=32, max_size=32), st.floats(0, 1))
def test_a_share_chooses_the_same_for_everybody(trace: str, share: float) -> None:
    assert is_chosen(trace, share) == (int(trace[:3], 16) < steps_of(share))
    assert is_chosen(trace, 1.0)
    assert not is_chosen(trace, 0.0)


async def test_a_request_and_what_it_asks_of_the_database_are_one_trace(pipe: int) -> None:
    with serving(ABOVE, "GET") as request:
        with asking("select * from troth.read_documents($1, $2)"):
            pass
        with pytest.raises(ValueError, match="no"), asking("insert into troth.audit_event values ($1)"):
            raise ValueError("no")
    first, second, last = written(pipe)
    assert {one.trace for one in (first, second, last)} == {TRACE}
    assert (last.parent, last.kind, last.name) == (SPAN, "server", "GET")
    assert first.parent == second.parent == last.span == request.context.span
    assert (first.name, first.kind, first.failed) == ("select troth.read_documents", "client", False)
    assert second.failed
    assert last.begin <= first.begin <= first.end <= last.end


async def test_outside_of_a_trace_nothing_is_written(pipe: int) -> None:
    with asking("select 1"):
        pass
    assert written(pipe) == []


async def test_a_transaction_is_one_span(pipe: int) -> None:
    with serving(ABOVE, "POST"):
        async with over(asking_nothing()) as inner:
            assert inner == 7
    assert [one.name for one in written(pipe)] == ["transaction", "POST"]


class asking_nothing:  # noqa: N801 - used like a call
    async def __aenter__(self) -> int:
        return 7

    async def __aexit__(self, *_: object) -> None:
        return None


def test_a_full_pipe_loses_spans_waits_for_nobody_and_says_how_many(tmp_path: Path) -> None:
    path = tmp_path / "spans"
    os.mkfifo(path)
    pipe = Pipe(path)
    span = Span(trace=TRACE, span=SPAN, name="x" * 200, begin=1, end=2)
    for _ in range(5000):
        pipe.write(span)
    assert 0 < pipe.lost < 5000
    lost = pipe.lost
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    while len(os.read(reader, 1 << 16)) == 1 << 16:
        pass
    pipe.write(span)
    assert msgspec.json.decode(os.read(reader, 1 << 16), type=Span).lost == lost
    assert pipe.lost == 0
    pipe.close()
    os.close(reader)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/api/v1/tickets", "/api/v1/tickets"),
        ("/api/v1/tickets/0192f3c4-0000-7000-8000-000000000001", "/api/v1/tickets/{}"),
        ("/login/anna.weber@lindenhof.example", "/login/{}"),
        ("/oauth/authorize", "/oauth/authorize"),
        ("/account/Sitzung", "/account/{}"),
        ("/.well-known/openid-configuration", "/{}/openid-configuration"),
        ("/a/b/c/d/e/f/g", "/a/b/c/d/e"),
        ("/", "/"),
    ],
)
def test_a_route_holds_no_part_that_varies(path: str, told: str) -> None:
    assert route_of(path) == told


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("select * from troth.read_documents($1, $2)", "select troth.read_documents"),
        ("  insert into troth.audit_event (id) values ($1)", "insert troth.audit_event"),
        ("select 'anna@lindenhof.example'", "select"),
        ("", "statement"),
    ],
)
def test_a_statement_is_told_by_its_name(statement: str, told: str) -> None:
    assert name_of_statement(statement) == told
