"""The socket on which metrics are read: one GET over HTTP/1.1 on a unix socket that is the owner's alone.

Numbers about every part of the platform are of use to whoever attacks it: they are never on a port.
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from troth.hosting.control import bound, peer, remove
from troth.hosting.watch.metrics import CONTENT_TYPE

PATH = "/metrics"

_SECONDS = 5.0
_HEAD_LIMIT = 16 << 10
_CONNECTIONS = 8

_log = logging.getLogger(__name__)


@asynccontextmanager
async def serve_metrics(path: Path, render: Callable[[], str]) -> AsyncGenerator[None]:
    """Answer on `path` inside the block, with what `render` returns at that moment."""
    slots = asyncio.Semaphore(_CONNECTIONS)

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with slots, asyncio.timeout(_SECONDS):
                await _converse(reader, writer, render)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError) as error:
            _log.info("metrics were not read to the end: %r", error)
        finally:
            writer.close()

    with bound(path) as listener:
        server = await asyncio.start_unix_server(converse, sock=listener, limit=_HEAD_LIMIT)
        try:
            yield
        finally:
            server.close()
            remove(path)


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, render: Callable[[], str]
) -> None:
    if peer(writer.get_extra_info("socket"))[1] != os.geteuid():
        return
    head = await reader.readuntil(b"\r\n\r\n")
    method, _, rest = head.partition(b" ")
    target = rest.partition(b" ")[0].partition(b"?")[0]
    if target != PATH.encode():
        status, kind, body = "404 Not Found", "text/plain", f"Metrics are at {PATH}.\n"
    elif method != b"GET":
        status, kind, body = "405 Method Not Allowed", "text/plain", "Metrics are read with GET.\n"
    else:
        status, kind, body = "200 OK", CONTENT_TYPE, render()
    content = body.encode()
    head_lines = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(content)}",
        "Connection: close",
    )
    writer.write("\r\n".join((*head_lines, "", "")).encode() + content)
    await writer.drain()
