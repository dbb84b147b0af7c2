"""One HTTP/3 connection (RFC 9114) to the edge, as strict or as rude as a test wants it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from aioquic.asyncio.client import connect  # pyright: ignore[reportUnknownVariableType]
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent

from support.edge import RESIDENTS, World
from support.waiting import until

CANCELLED = 0x10C
"""H3_REQUEST_CANCELLED (RFC 9114, section 8.1)."""


class Connection(QuicConnectionProtocol):
    """`statuses` are the answers by stream; `ended` is set once the edge has closed the connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._http = H3Connection(self._quic)
        self.statuses: dict[int, int] = {}
        self.ended = asyncio.Event()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated):
            self.ended.set()
        for one in self._http.handle_event(event):
            if isinstance(one, HeadersReceived):
                self.statuses[one.stream_id] = int(dict(one.headers)[b":status"])

    async def get(self, path: str, *, method: str = "GET") -> int:
        """The status of the answer."""
        stream = self._ask(path, whole=True, method=method)
        self.transmit()
        await until(lambda: stream in self.statuses)
        return self.statuses[stream]

    async def open_and_reset(self, path: str, count: int) -> None:
        """So many requests at once, each taken back as soon as it has been sent; returns when the edge has
        heard of them, or has ended the connection."""
        streams = [self._ask(path, whole=False) for _ in range(count)]
        self.transmit()
        for stream in streams:
            self._quic.reset_stream(stream, CANCELLED)
            self._quic.stop_stream(stream, CANCELLED)
        heard = asyncio.ensure_future(self.ping())
        over = asyncio.ensure_future(self.ended.wait())
        await asyncio.wait((heard, over), timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert heard.done() or over.done(), "neither heard nor ended"
        heard.cancel()
        over.cancel()

    def _ask(self, path: str, *, whole: bool, method: str = "GET") -> int:
        stream = self._quic.get_next_available_stream_id()
        said = {":method": method, ":scheme": "https", ":authority": RESIDENTS, ":path": path}
        headers = [(name.encode(), value.encode()) for name, value in said.items()]
        self._http.send_headers(stream, headers, end_stream=whole)
        return stream


def connection(world: World) -> contextlib.AbstractAsyncContextManager[Connection]:
    """A connection that the edge has taken."""
    return connected(world.state.https_port, world.authorities.ca("public"))


@contextlib.asynccontextmanager
async def connected(port: int, authority: Path) -> AsyncGenerator[Connection]:
    """The same, to whichever edge listens there."""
    told = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=RESIDENTS)
    told.load_verify_locations(cafile=str(authority))
    async with connect("127.0.0.1", port, configuration=told, create_protocol=Connection) as made:
        assert isinstance(made, Connection)
        yield made
