"""What browsers report is noted, little of it, and no stranger writes into the log as he likes."""

import json
import logging
from datetime import UTC, datetime, timedelta

import pytest

from support.browser import Browser
from troth.web.reports import MAX_BYTES, MOST, PATH, Budget, read_violations

OLD = {
    "csp-report": {
        "document-uri": "https://portal.example/login?return_to=/secret",
        "effective-directive": "script-src-elem",
        "blocked-uri": "https://evil.example/steal.js?cookie=1",
    }
}
NEW = [
    {
        "type": "csp-violation",
        "url": "https://portal.example/login",
        "body": {
            "documentURL": "https://portal.example/login",
            "effectiveDirective": "style-src-attr",
            "blockedURL": "inline",
        },
    },
    {"type": "deprecation", "body": {"id": "x"}},
]


async def send(browser: Browser, body: bytes, kind: str) -> int:
    answer = await browser.send("POST", PATH, headers={"content-type": kind}, content=body)
    return answer.status_code


@pytest.mark.parametrize(
    ("report", "kind", "line"),
    [
        (OLD, "application/csp-report", "/login: script-src-elem blocked https://evil.example"),
        (NEW, "application/reports+json", "/login: style-src-attr blocked inline"),
    ],
)
async def test_a_violation_is_noted_without_its_queries(
    browser: Browser, caplog: pytest.LogCaptureFixture, report: object, kind: str, line: str
) -> None:
    with caplog.at_level(logging.WARNING):
        assert await send(browser, json.dumps(report).encode(), kind) == 204
    assert line in caplog.text
    assert "secret" not in caplog.text
    assert "cookie" not in caplog.text


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"{", "application/csp-report", 400),
        (b"\xff", "application/csp-report", 400),
        (b"[]" + b" " * MAX_BYTES, "application/reports+json", 413),
        (b"[1, null, {}]", "application/reports+json", 204),
    ],
)
async def test_what_is_no_report_changes_nothing(
    browser: Browser, caplog: pytest.LogCaptureFixture, body: bytes, kind: str, status: int
) -> None:
    with caplog.at_level(logging.WARNING):
        assert await send(browser, body, kind) == status
    assert caplog.records == []


def test_a_report_cannot_write_lines_of_its_own() -> None:
    sly = {"csp-report": {"effective-directive": "x\n2026-11-25 ERROR all is lost", "blocked-uri": "\r\n"}}
    (found,) = read_violations(json.dumps(sly).encode())
    assert "\n" not in found.directive + found.blocked + found.page


def test_a_minute_has_room_for_few() -> None:
    budget, now = Budget(), datetime(2026, 11, 25, tzinfo=UTC)
    assert [budget.take(now) for _ in range(MOST + 2)] == [True] * MOST + [False, False]
    assert budget.take(now + timedelta(minutes=1))


async def test_the_pages_name_where_to_report(browser: Browser) -> None:
    answer = await browser.get("/login")
    assert f"report-uri {PATH}" in answer.headers["content-security-policy"]
    assert answer.headers["reporting-endpoints"] == f'default="{PATH}"'
