"""How an application's instance hears what ended: one request to the web service that never ends.

It asks on the platform's private listener with the instance's own certificate. HTTP/1.0, so that the answer
is nothing but lines. After a lost connection it asks for what it missed.
"""

import asyncio
import contextlib
import ssl
import time
from urllib.parse import urlsplit

from troth.hosting.instance_file import InstanceFile
from troth.hosting.streams import ENDINGS_PATH, SILENT_SECONDS, Ended, OpenStreams
from troth.hosting.wire import decode

_PAUSE_SECONDS = 0.2
_OVERLAP_SECONDS = 60
_LINE_BYTES = 4096


class Listener:
    """Keeps `streams` told, for the whole life of an instance."""

    def __init__(self, instance: InstanceFile, streams: OpenStreams) -> None:
        environment = instance.environment
        self._url = urlsplit(environment["TROTH_API_URL"])
        self._files = tuple(
            environment[name] for name in ("TROTH_API_CA", "TROTH_API_CERTIFICATE", "TROTH_API_KEY")
        )
        self._streams = streams
        self._heard = time.monotonic()

    @property
    def silent_seconds(self) -> float:
        """How long nothing has been heard."""
        return time.monotonic() - self._heard

    async def run(self) -> None:
        """For ever: listen, and cut what is too old while nothing is heard."""
        await asyncio.gather(self._listen_for_ever(), self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            if self.silent_seconds > SILENT_SECONDS:
                self._streams.cut_older(SILENT_SECONDS)

    async def _listen_for_ever(self) -> None:
        while True:
            with contextlib.suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError, TimeoutError):
                await self._listen()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _listen(self) -> None:
        reader, writer = await asyncio.wait_for(self._connect(), SILENT_SECONDS)
        try:
            since = int(self.silent_seconds) + _OVERLAP_SECONDS
            writer.write(
                f"GET {ENDINGS_PATH}?since={since} HTTP/1.0\r\nHost: {self._url.netloc}\r\n\r\n".encode()
            )
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SILENT_SECONDS)
            if head.split(b" ", 2)[1] != b"200":
                return
            while True:
                line = await asyncio.wait_for(reader.readuntil(b"\n"), SILENT_SECONDS)
                self._take(decode(line, Ended))
        finally:
            writer.transport.abort()

    def _take(self, ended: Ended) -> None:
        self._heard = time.monotonic()
        self._streams.hear(ended)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        ca, certificate, key = self._files
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(certificate, key)
        return await asyncio.open_connection(
            self._url.hostname, self._url.port, ssl=context, limit=_LINE_BYTES
        )
