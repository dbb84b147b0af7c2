"""What browsers report of our own pages: a blocked script is a defect of ours, or an attack that failed.

Reports (CSP 3 section 5, Reporting API) come from anybody, so little is believed of them: they are small, few
are noted, and of each only what was blocked and on which page, without queries. They are never answered with
more than that they came.
"""

import logging
import re
from datetime import datetime, timedelta
from typing import Protocol, cast
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from troth.access.tenants import DomainDirectory
from troth.core.clock import Clock
from troth.core.errors import Malformed, TooLarge, UnsupportedMedia
from troth.web.answers import NO_STORE, problems

PATH = "/troth-assets/reports"
MAX_BYTES = 16 * 1024
MOST = 20
"""Reports that an instance notes in a minute; the rest is dropped, or a stranger could fill the log."""

_KINDS = ("application/csp-report", "application/reports+json")
_MINUTE = timedelta(minutes=1)
_PLAIN = re.compile(r"[^A-Za-z0-9./:_-]")

_log = logging.getLogger(__name__)


class ReportServices(Protocol):
    """What this route needs."""

    @property
    def directory(self) -> DomainDirectory: ...
    @property
    def clock(self) -> Clock: ...


class Violation(msgspec.Struct, frozen=True):
    """One thing that a page was kept from doing."""

    directive: str
    blocked: str
    page: str


class Budget:
    """So many in a minute, and no more."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._spent = 0
        self._until: datetime | None = None

    def take(self, now: datetime) -> bool:
        """Whether there is one left."""
        if self._until is None or now >= self._until:
            self._spent, self._until = 0, now + _MINUTE
        self._spent += 1
        return self._spent <= self._most


def routes(services: ReportServices) -> list[Route]:
    """The one route, named by the pages' Content-Security-Policy."""
    budget = Budget()

    async def report(request: Request) -> Response:
        domain = await services.directory.find(request.headers.get("host", ""))
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in _KINDS:
            raise UnsupportedMedia(f"Send a report as {' or '.join(_KINDS)}.")
        for one in read_violations(await _body(request)):
            if budget.take(services.clock.now()):
                _log.warning(
                    "a browser reports from %s%s: %s blocked %s",
                    domain.name,
                    one.page,
                    one.directive,
                    one.blocked,
                )
        return Response(status_code=204, headers=NO_STORE)

    return [Route(PATH, problems(report), methods=["POST"])]


def read_violations(body: bytes) -> list[Violation]:
    """The policy violations in a body of either kind; reports of other things are passed over. Raises
    Malformed."""
    try:
        said: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Malformed("The report is not JSON.") from None
    items = cast("list[object]", said) if isinstance(said, list) else [said]
    return [found for item in items[:MOST] if (found := _violation(item)) is not None]


def _violation(item: object) -> Violation | None:
    report = _members(item)
    if old := _members(report.get("csp-report")):
        directive = old.get("effective-directive") or old.get("violated-directive")
        return Violation(_word(directive), _source(old.get("blocked-uri")), _page(old.get("document-uri")))
    if report.get("type") == "csp-violation" and (new := _members(report.get("body"))):
        source, place = _source(new.get("blockedURL")), _page(new.get("documentURL"))
        return Violation(_word(new.get("effectiveDirective")), source, place)
    return None


def _members(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise TooLarge(f"A report has at most {MAX_BYTES // 1024} KiB.")
    return bytes(body)


def _word(value: object) -> str:
    """Only what cannot break a line of the log or pose as another (log injection)."""
    return _PLAIN.sub("", str(value or ""))[:60] or "something"


def _source(value: object) -> str:
    """Where it would have come from: `inline`, `eval`, or a scheme and host without path and query."""
    parts = _split(value)
    return _word(f"{parts[0]}://{parts[1]}" if parts[1] else value)


def _page(value: object) -> str:
    return _word(_split(value)[2] or "/")


def _split(value: object) -> tuple[str, str, str]:
    try:
        parts = urlsplit(str(value or "")[:2048])
        return parts.scheme, parts.netloc, parts.path
    except ValueError:
        return "", "", ""
