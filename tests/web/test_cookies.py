"""Which cookie of a request is the session's."""

import pytest
from starlette.requests import Request

from troth.core.names import SESSION_COOKIE
from troth.web.cookies import read_cookie


def sent(*lines: bytes) -> str:
    return read_cookie(Request({"type": "http", "headers": [(b"cookie", line) for line in lines]}))


@pytest.mark.parametrize(
    "line",
    [
        b"__Host-troth=mine",
        b"a=1; __Host-troth=mine; b=2",
        b"a=1;\t__Host-troth=mine",
        b"x; __Host-troth=mine;",
    ],
)
def test_the_cookie_of_exactly_this_name_counts(line: bytes) -> None:
    assert sent(line) == "mine"


def test_it_is_found_on_any_line() -> None:
    assert sent(b"a=1", b"__Host-troth=mine") == "mine"


@pytest.mark.parametrize(
    "name",
    [b"\xa0__Host-troth", b"\x85__Host-troth", b"__Host-troth\xa0", b"\x1f__Host-troth", b"__host-troth",
     b"=__Host-troth", b"__Host-troth ", b"x__Host-troth"],
)  # fmt: skip
def test_a_sibling_domain_cannot_plant_a_session_under_a_name_that_browsers_do_not_guard(name: bytes) -> None:
    assert sent(b"__Host-troth=mine; " + name + b"=planted") == "mine"
    assert sent(name + b"=planted") == ""


def test_two_different_tokens_are_none() -> None:
    assert sent(f"{SESSION_COOKIE}=one; {SESSION_COOKIE}=other".encode()) == ""
    assert sent(f"{SESSION_COOKIE}=one; {SESSION_COOKIE}=one".encode()) == "one"
