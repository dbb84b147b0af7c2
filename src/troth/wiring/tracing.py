"""Traces as duties of the keeper: spans are gathered from the edge's log and the instances, and sent.

The keeper alone connects to the collector and knows what it is told to show there: no instance and not the
edge. Nothing that serves a request waits for any of it.
"""

import ssl
import time

import httpx

from troth.core.config import Settings
from troth.core.errors import ConfigError, PlatformError
from troth.core.secret import read_secret
from troth.core.settings import TracingSettings
from troth.core.state import State
from troth.hosting.log_file import Follower
from troth.hosting.plan import Duty
from troth.hosting.tracing.edge_spans import read_line
from troth.hosting.tracing.otlp import encode
from troth.hosting.tracing.pipes import Pipes
from troth.hosting.tracing.supply import Supply, Told
from troth.hosting.watch.metrics import Sample

GATHER_SECONDS, SEND_SECONDS = 0.25, 1.0
_ANSWER_SECONDS = 10.0
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same is sent again; what is refused otherwise is dropped (OTLP, “Failures”)."""

_MOST_HEADERS = 10


class Tracing:
    """Idle without [tracing]. `own_paths` are those of the platform's own, which may be told."""

    def __init__(self, settings: Settings, state: State, own_paths: tuple[str, ...]) -> None:
        self._state, self._own_paths = state, own_paths
        self._platform = settings.platform.name
        self._settings = settings.tracing
        self._supply = Supply()
        self._pipes = Pipes(state.run / "instances")
        self._log = Follower(state.logs / "access.log")
        self._client: httpx.AsyncClient | None = None
        self._stale = False

    def follow(self, settings: Settings) -> None:
        """Settings that were read again; the files that they name may be others: it connects anew."""
        self._stale, self._settings = True, settings.tracing

    def duties(self) -> tuple[Duty, ...]:
        return (
            Duty(name="traces gathered", every=GATHER_SECONDS, work=self.gather, limit=10.0),
            Duty(name="traces sent", every=SEND_SECONDS, work=self.send, limit=_ANSWER_SECONDS * 2),
        )

    def samples(self) -> tuple[Sample, ...]:
        """Numbers for the watch; none without [tracing]."""
        if self._settings is None:
            return ()
        supply, now = self._supply, time.monotonic()
        return (
            Sample("troth_traces_waiting", len(supply)),
            Sample("troth_traces_sent", supply.sent),
            Sample("troth_traces_lost", supply.lost + self._pipes.lost),
            Sample("troth_traces_refused", supply.refused + self._pipes.odd),
            Sample("troth_traces_failing_seconds", supply.failing(now), (), supply.problem),
        )

    async def close(self) -> None:
        """Give everything back; what waits is lost."""
        await self._disconnect()
        self._pipes.close()
        self._log.close()

    async def gather(self) -> str:
        """One round over the log and all pipes."""
        settings = self._settings
        if settings is None:
            return ""
        lines = (read_line(line, settings.share, self._own_paths) for line in self._log.lines())
        self._supply.put(("edge", span) for span in lines if span is not None)
        self._supply.put(self._pipes.read())
        return ""

    async def send(self) -> str:
        """One batch; a sentence when the collector begins to refuse."""
        settings = self._settings
        if settings is None:
            await self.close()
        elif self._stale:
            await self._disconnect()
        self._stale = False
        due = self._supply.due(time.monotonic())
        if settings is None or not due:
            return ""
        before = self._supply.problem
        await self._post(settings, due)
        problem = self._supply.problem
        return f"traces are not taken: {problem}" if problem and problem != before else ""

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _post(self, settings: TracingSettings, due: tuple[Told, ...]) -> None:
        try:
            self._client = self._client or httpx.AsyncClient(
                verify=trust(settings), timeout=_ANSWER_SECONDS, follow_redirects=False, trust_env=False
            )
            headers = {"Content-Type": "application/x-protobuf", **read_headers(settings)}
            body = encode(due, platform=self._platform)
            answer = await self._client.post(settings.endpoint, content=body, headers=headers)
        except PlatformError as error:
            self._supply.fail(error.public, time.monotonic())
        except (httpx.HTTPError, OSError) as error:
            self._supply.fail(f"no answer ({type(error).__name__})", time.monotonic())
        else:
            if answer.is_success:
                self._supply.took(due)
            elif answer.status_code in _LATER:
                self._supply.fail(f"status {answer.status_code}", time.monotonic())
            else:
                self._supply.refuse(due, f"status {answer.status_code}", time.monotonic())


def trust(settings: TracingSettings) -> ssl.SSLContext:
    """Whom the collector's certificate is checked by. Raises OSError, ssl.SSLError."""
    context = ssl.create_default_context()
    if settings.ca is not None:
        context.load_verify_locations(cafile=settings.ca)
    return context


def read_headers(settings: TracingSettings) -> dict[str, str]:
    """What the collector is shown, `Name: value` a line, from a file that is its owner's alone. Raises
    PlatformError, which repeats nothing of it."""
    if settings.headers_file is None:
        return {}
    found: dict[str, str] = {}
    for line in read_secret(settings.headers_file).reveal().decode("ascii", "replace").splitlines():
        name, colon, value = line.partition(":")
        if not line.strip():
            continue
        if not colon or not name.strip() or not line.isprintable() or not line.isascii():
            raise PlatformError(
                f"{settings.headers_file} cannot be used.", hint="Write one header a line: Name: value"
            )
        found[name.strip()] = value.strip()
    if len(found) > _MOST_HEADERS:
        raise PlatformError(f"{settings.headers_file} has more than {_MOST_HEADERS} headers.")
    return found


def check_tracing(settings: Settings) -> None:
    """Raises ConfigError when the collector's headers or authority are of no use: before anything starts."""
    tracing = settings.tracing
    if tracing is None:
        return
    try:
        read_headers(tracing)
    except PlatformError as error:
        raise ConfigError(
            error.public, file=settings.file, key="tracing.headers_file", hint=error.hint
        ) from None
    try:
        trust(tracing)
    except (OSError, ssl.SSLError):
        raise ConfigError(
            "This is no certificate.", file=settings.file, key="tracing.ca", hint="Name a PEM file."
        ) from None
