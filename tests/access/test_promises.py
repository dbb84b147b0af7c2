"""Each verdict of the access probes can turn red."""

import pytest

from troth.access.forgery import forgeries
from troth.access.oauth.strict_client import Attempt
from troth.access.promises import (
    judge_cookie,
    judge_oauth,
    judge_replay,
    judge_scopes,
    judge_sessions,
    judge_tokens,
)

GOOD_COOKIE = "__Host-troth=abc; Path=/; Secure; HttpOnly; SameSite=Lax"


def test_the_cookie_of_a_careful_sign_in_is_proved() -> None:
    assert judge_cookie(GOOD_COOKIE).verdict == "proved"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (GOOD_COOKIE.replace("; HttpOnly", ""), "HttpOnly"),
        (GOOD_COOKIE.replace("; Secure", ""), "Secure"),
        (GOOD_COOKIE.replace("Lax", "None"), "SameSite"),
        (GOOD_COOKIE.replace("Path=/", "Path=/login"), "Path=/"),
        (GOOD_COOKIE + "; Domain=example.com", "no Domain"),
        (GOOD_COOKIE.replace("__Host-", ""), "the __Host- prefix"),
    ],
)
def test_each_missing_attribute_breaks_the_cookie_promise(line: str, fault: str) -> None:
    finding = judge_cookie(line)
    assert finding.verdict == "broken"
    assert fault in finding.evidence


def test_a_cookie_never_shows_its_value_in_evidence() -> None:
    finding = judge_cookie(GOOD_COOKIE)
    assert "abc" not in finding.evidence + str(finding.raw)


@pytest.mark.parametrize(
    ("own", "answers", "verdict"),
    [
        (200, {"b": 401, "c": 403}, "proved"),
        (200, {"b": 401, "c": 200}, "broken"),
        (401, {"b": 401}, "unknown"),
        (200, {}, "unknown"),
    ],
)
def test_a_replayed_cookie_is_judged_by_every_domain(own: int, answers: dict[str, int], verdict: str) -> None:
    assert judge_replay(own, answers).verdict == verdict


@pytest.mark.parametrize(
    ("opened", "refused", "seconds", "verdict"),
    [
        (200, {"missing": 401, "expired": 401}, 300, "proved"),
        (200, {"missing": 401, "expired": 200}, 300, "broken"),
        (200, {"missing": 401, "expired": 401}, 86_400, "broken"),
        (503, {"missing": 401}, 300, "unknown"),
    ],
)
def test_one_accepted_bad_token_or_one_that_lives_for_long_breaks_the_promise(
    opened: int, refused: dict[str, int], seconds: int, verdict: str
) -> None:
    assert judge_tokens(opened, refused, seconds).verdict == verdict


@pytest.mark.parametrize(
    ("anonymous", "before", "waits", "again", "verdict"),
    [
        (401, (200, 200), (3.0, 9.5), 0.0, "proved"),
        (401, (200, 200), (3.0, 9.5), 12.5, "proved"),
        (200, (200, 200), (3.0, 9.5), 0.0, "broken"),
        (401, (200, 200), (3.0, None), 0.0, "broken"),
        (401, (200, 200), (3.0, 9.5), None, "broken"),
        (401, (200, 200), (3.0, 9.5), 2001.0, "broken"),
        (401, (200, 503), (3.0, 9.5), 0.0, "unknown"),
        (401, (), (), 0.0, "unknown"),
    ],
)
def test_a_token_that_outlives_its_session_breaks_the_promise(
    anonymous: int,
    before: tuple[int, ...],
    waits: tuple[float | None, ...],
    again: float | None,
    verdict: str,
) -> None:
    assert judge_sessions(anonymous, before, waits, again).verdict == verdict


def test_one_thing_given_without_a_scope_breaks_the_promise() -> None:
    assert judge_scopes(10, ()).verdict == "proved"
    assert judge_scopes(10, ("GET /api/v1/tickets was answered 200",)).verdict == "broken"
    assert judge_scopes(0, ()).verdict == "unknown"


def test_every_forgery_differs_from_the_good_token() -> None:
    good = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIn0.eyJleHAiOjF9.c2lnbmF0dXJl"
    forged = forgeries(good)
    assert len(forged) == 8
    assert good not in forged.values()
    assert len(set(forged.values())) == len(forged)


REFUSED = Attempt("no PKCE", "invalid_request", "")


@pytest.mark.parametrize(
    ("opened", "attempts", "verdict"),
    [
        (True, (REFUSED,), "proved"),
        (True, (REFUSED, Attempt("a code used twice", "200", "it was answered 200")), "broken"),
        (False, (REFUSED,), "unknown"),
        (True, (), "unknown"),
    ],
)
def test_one_misuse_that_is_not_refused_breaks_the_oauth_promise(
    opened: bool, attempts: tuple[Attempt, ...], verdict: str
) -> None:
    assert judge_oauth(opened, attempts).verdict == verdict
