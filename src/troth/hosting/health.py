"""Asking an instance whether it is ready, over mutual TLS, with nothing but the standard library."""

import asyncio
import ssl
import time
from pathlib import Path

import msgspec

from troth.core.asking import HEAD_BYTES, Streams, ask, ask_status, close
from troth.core.process import Endpoint
from troth.hosting.pulse import HELD

READY_PATH = "/.troth/ready"
"""May the edge send it requests? Answered by the server of an instance with the file of its pulse, whether or
not its event loop turns; never routed from outside."""

NOT_HELD = r"^([^\x01]|$)"
"""What the answer is like from an instance that takes requests, for the edge (RE2)."""

_HELD_STATUS = 503

STARTED_PATH = "/.troth/started"
"""Could it answer requests? The keeper's question, also to an instance that it holds back from balancing."""

KEPT_SECONDS = 60.0
"""For so long a connection is asked again: an instance has to be able to take new ones too."""

_MOST_KEPT = 512


class Readiness(msgspec.Struct, frozen=True):
    """One answer. `status` is 0 when none came, and `detail` says why. `seconds` covers the handshake, where
    the connection was a new one."""

    ready: bool
    status: int
    seconds: float
    detail: str = ""


class _Kept(msgspec.Struct, frozen=True):
    """A connection that waits for its next question: since when it stands, and under which certificates."""

    streams: Streams
    since: float
    context: ssl.SSLContext


class ReadinessProbe:
    """Asks as the keeper: `certificate` and `key` are of the trust domain `callers`, `ca` of `instances`.

    The files are read again whenever the certificate changes, for it renews itself; connections under the
    former one are not used again. With `keeps` it asks on the same connection for a while, and is to be
    closed.
    """

    def __init__(
        self, ca: Path, certificate: Path, key: Path, *, seconds: float = 2.0, keeps: bool = False
    ) -> None:
        self._ca, self._certificate, self._key, self._seconds = ca, certificate, key, seconds
        self._keeps = keeps
        self._context: ssl.SSLContext | None = None
        self._read_at = 0
        self._kept: dict[Endpoint, _Kept] = {}
        self._told: dict[tuple[Endpoint, str], tuple[float, Readiness]] = {}

    async def ask(self, endpoint: Endpoint, path: str = READY_PATH) -> Readiness:
        """One question; never raises for what the instance does."""
        answer = await self._ask(endpoint, path)
        self._remember(endpoint, path, answer)
        return answer

    async def lately(self, endpoint: Endpoint, path: str, seconds: float) -> Readiness:
        """What it answered to somebody else within so many seconds; else it is asked."""
        at, answer = self._told.get((endpoint, path), (0.0, None))
        if answer is not None and time.monotonic() - at <= seconds:
            return answer
        return await self.ask(endpoint, path)

    async def is_ready(self, endpoint: Endpoint) -> bool:
        """Whether it takes requests, as the edge is told, and its event loop answers."""
        return (await self.ask(endpoint)).ready and await self.is_started(endpoint)

    async def is_started(self, endpoint: Endpoint) -> bool:
        return (await self.ask(endpoint, STARTED_PATH)).ready

    async def is_well(self, endpoint: Endpoint, path: str) -> bool:
        """Whether an application's own path of health answers with 2xx."""
        return 200 <= (await self.ask(endpoint, path)).status < 300

    def close(self) -> None:
        """End the connections that are kept."""
        kept, self._kept = self._kept, {}
        for one in kept.values():
            close(one.streams)

    async def _ask(self, endpoint: Endpoint, path: str) -> Readiness:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                status = await self._request(endpoint, path)
        except TimeoutError:
            return Readiness(False, 0, time.monotonic() - began, f"no answer within {self._seconds:g} s")
        except (OSError, ValueError, EOFError) as error:
            return Readiness(False, 0, time.monotonic() - began, str(error) or type(error).__name__)
        return Readiness(status == 200, status, time.monotonic() - began)

    async def _request(self, endpoint: Endpoint, path: str) -> int:
        """On the connection that is kept, if it still is good; what ended while nobody looked says nothing of
        the instance, which is then asked on a new one."""
        kept = self._take(endpoint)
        if kept is not None:
            try:
                return await self._exchange(endpoint, path, kept)
            except (OSError, EOFError):
                pass
        return await self._exchange(endpoint, path, await self._connect(endpoint))

    async def _exchange(self, endpoint: Endpoint, path: str, kept: _Kept) -> int:
        keeps = False
        try:
            if path == READY_PATH:
                answer = await ask(kept.streams, str(endpoint), path, keep=True)
            else:
                answer = await ask_status(kept.streams, str(endpoint), path)
            keeps = self._keeps and answer.keeps and self._has_room(endpoint)
            if keeps:
                self._kept[endpoint] = kept
            return _HELD_STATUS if answer.body[:1] == HELD else answer.status
        finally:
            if not keeps:
                close(kept.streams)

    def _has_room(self, endpoint: Endpoint) -> bool:
        return endpoint not in self._kept and len(self._kept) < _MOST_KEPT

    def _take(self, endpoint: Endpoint) -> _Kept | None:
        """Nobody else has it until it is given back."""
        kept = self._kept.pop(endpoint, None)
        if kept is None:
            return None
        reader, writer = kept.streams
        old = time.monotonic() - kept.since > KEPT_SECONDS or kept.context is not self._trust()
        if old or reader.at_eof() or writer.is_closing():
            close(kept.streams)
            return None
        return kept

    async def _connect(self, endpoint: Endpoint) -> _Kept:
        context = self._trust()
        streams = await asyncio.open_connection(
            endpoint.host, endpoint.port, ssl=context, server_hostname=endpoint.host, limit=HEAD_BYTES
        )
        return _Kept(streams, time.monotonic(), context)

    def _remember(self, endpoint: Endpoint, path: str, answer: Readiness) -> None:
        now = time.monotonic()
        if len(self._told) >= _MOST_KEPT:  # places that nobody asks any more
            self._told = {key: told for key, told in self._told.items() if now - told[0] < KEPT_SECONDS}
            for one in tuple(self._kept):
                if now - self._kept[one].since > KEPT_SECONDS:
                    close(self._kept.pop(one).streams)
        self._told[endpoint, path] = now, answer

    def _trust(self) -> ssl.SSLContext:
        changed = self._certificate.stat().st_mtime_ns
        if self._context is None or changed != self._read_at:
            context = ssl.create_default_context(cafile=self._ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_cert_chain(self._certificate, self._key)
            self._context, self._read_at = context, changed
        return self._context
