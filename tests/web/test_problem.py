"""What a program is told of a service that could not answer: when to ask again, and when not to."""

import pytest

from troth.core.errors import OutcomeUnknown, RequestError, TooMany, Unavailable
from troth.web.problem import describe, headers_of


@pytest.mark.parametrize(
    ("error", "code", "retry_after"),
    [
        (Unavailable("The database has no leader."), "unavailable", b"2"),
        (TooMany("Later.", retry_after=60), "too_many_requests", b"60"),
        (OutcomeUnknown("The database was lost meanwhile."), "outcome_unknown", None),
    ],
)
def test_only_what_was_surely_not_done_is_to_be_asked_again(
    error: RequestError, code: str, retry_after: bytes | None
) -> None:
    assert describe(error, "12345678").code == code
    assert dict(headers_of(error)).get(b"retry-after") == retry_after
