"""Log lines: whole for programs, one line each whatever is in them, and under the number of their request."""

import io
import json
import logging
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from troth.core.logs import MOST_CHARACTERS, Captured, JsonLines, TextLines, request_id

NUMBER = "0b7a1c52-3c1e-4f0f-9a55-6f2d0d1f7a11"


@contextmanager
def working_on(number: str) -> Generator[None]:
    token = request_id.set(number)
    yield
    request_id.reset(token)


def record(message: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, None) if error is not None else None
    made = logging.LogRecord("troth.web", logging.ERROR, "web.py", 1, message, arguments, info)
    made.created, made.msecs = datetime(2026, 11, 25, 12, 0, 2, tzinfo=UTC).timestamp(), 5.0
    return made


def test_a_line_for_programs_says_when_who_what_and_for_which_request() -> None:
    with working_on(NUMBER):
        line = json.loads(JsonLines("web-1").format(record("%s is gone", "the leader")))
    assert line == {
        "time": "2026-11-25T12:00:02.000Z",
        "level": "error",
        "source": "web-1",
        "message": "the leader is gone",
        "logger": "troth.web",
        "request_id": NUMBER,
    }


def test_a_line_for_people_has_the_number_in_front() -> None:
    with working_on(NUMBER):
        line = TextLines().format(record("the leader is gone"))
    assert line == f"2026-11-25T12:00:02.005Z ERROR [{NUMBER}] the leader is gone"
    assert TextLines().format(record("no request")).endswith("ERROR no request")


@pytest.mark.parametrize(
    "made_up", ["a\n2026-11-25T12:00:02.005Z INFO b", "a\r\nb", "a\x1b[2Jb", "a\u2028b", "a\x85b"]
)
def test_nothing_in_a_message_begins_a_line_of_its_own(made_up: str) -> None:
    text = TextLines().format(record("somebody said %s", made_up))
    assert len(text.splitlines()) == 1
    assert text.isprintable()
    assert len(JsonLines("web-1").format(record("somebody said %s", made_up)).split("\n")) == 1


def test_an_exception_stays_one_line_for_programs_and_is_bounded() -> None:
    line = json.loads(JsonLines("web-1").format(record("failed", error=ValueError("x" * 100_000))))
    assert line["exception"].endswith("x" * 100)
    assert len(line["exception"]) == MOST_CHARACTERS


def captured(*written: str) -> list[dict[str, str]]:
    raw = io.StringIO()
    stream = Captured(raw, "portal-1", "info", lambda: datetime(2026, 11, 25, tzinfo=UTC))
    for text in written:
        print(text, end="", file=stream, flush=True)
    return [json.loads(line) for line in raw.getvalue().splitlines()]


def test_what_an_application_prints_becomes_lines_in_whatever_pieces_it_comes() -> None:
    with working_on(NUMBER):
        lines = captured("one, ", "still one\ntwo\n\n", "not yet")
    assert [line["message"] for line in lines] == ["one, still one", "two"]
    assert {line["request_id"] for line in lines} == {NUMBER}
    assert {line["source"] for line in lines} == {"portal-1"}


def test_what_an_application_prints_cannot_grow_without_bound_nor_break_the_line() -> None:
    (line,) = captured("x" * (2 * MOST_CHARACTERS))
    assert len(line["message"]) == MOST_CHARACTERS
    (odd,) = captured("half a pair \ud800\n")
    assert odd["message"] == "half a pair ?"
