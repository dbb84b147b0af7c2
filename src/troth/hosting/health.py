"""Asking an instance whether it is ready, over mutual TLS, with nothing but the standard library."""

import asyncio
import ssl
import time
from pathlib import Path

import msgspec

from troth.core.process import Endpoint

READY_PATH = "/.troth/ready"
"""May the edge send it requests? Answered by `hosting.runner` itself; never routed from outside."""

STARTED_PATH = "/.troth/started"
"""Could it answer requests? The keeper's question, also to an instance that it holds back from balancing."""

_HEAD_LIMIT = 16 << 10


class Readiness(msgspec.Struct, frozen=True):
    """One answer. `status` is 0 when none came, and `detail` says why. `seconds` covers the handshake."""

    ready: bool
    status: int
    seconds: float
    detail: str = ""


class ReadinessProbe:
    """Asks as the keeper: `certificate` and `key` are of the trust domain `callers`, `ca` of `instances`.

    The files are read again whenever the certificate changes, for it renews itself.
    """

    def __init__(self, ca: Path, certificate: Path, key: Path, *, seconds: float = 2.0) -> None:
        self._ca, self._certificate, self._key, self._seconds = ca, certificate, key, seconds
        self._context: ssl.SSLContext | None = None
        self._read_at = 0

    async def ask(self, endpoint: Endpoint, path: str = READY_PATH) -> Readiness:
        """One request on a connection of its own; never raises for what the instance does."""
        began = time.monotonic()
        try:
            status = await asyncio.wait_for(self._request(endpoint, path), self._seconds)
        except TimeoutError:
            return Readiness(False, 0, time.monotonic() - began, f"no answer within {self._seconds:g} s")
        except (OSError, ValueError, EOFError, asyncio.LimitOverrunError) as error:
            return Readiness(False, 0, time.monotonic() - began, str(error) or type(error).__name__)
        return Readiness(status == 200, status, time.monotonic() - began)

    async def is_ready(self, endpoint: Endpoint) -> bool:
        return (await self.ask(endpoint)).ready

    async def is_started(self, endpoint: Endpoint) -> bool:
        return (await self.ask(endpoint, STARTED_PATH)).ready

    async def is_well(self, endpoint: Endpoint, path: str) -> bool:
        """Whether an application's own path of health answers with 2xx."""
        return 200 <= (await self.ask(endpoint, path)).status < 300

    async def _request(self, endpoint: Endpoint, path: str) -> int:
        reader, writer = await asyncio.open_connection(
            endpoint.host,
            endpoint.port,
            ssl=self._trust(),
            server_hostname=endpoint.host,
            limit=_HEAD_LIMIT,
        )
        try:
            request = f"GET {path} HTTP/1.1\r\nHost: {endpoint}\r\nConnection: close\r\n\r\n"
            writer.write(request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            return int(head.split(b" ", 2)[1])
        finally:
            writer.close()

    def _trust(self) -> ssl.SSLContext:
        changed = self._certificate.stat().st_mtime_ns
        if self._context is None or changed != self._read_at:
            context = ssl.create_default_context(cafile=self._ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_cert_chain(self._certificate, self._key)
            self._context, self._read_at = context, changed
        return self._context
