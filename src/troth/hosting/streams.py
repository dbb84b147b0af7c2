"""What an application's instance has open for signed-in people, and how it is cut when a session ends.

The edge says with each request whose session it is, in a header that no client and no application can set.
Two things must not keep a stream open: an ending that arrives before the request it is about (it was vouched
for before, so recent endings are remembered and compared), and a feed that fell silent (whatever has been
open for longer than `SILENT_SECONDS` is then cut: it fails closed).
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from contextlib import contextmanager
from typing import Any

import msgspec

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

ENDINGS_PATH = "/internal/endings"
"""Where the web service tells applications' instances what ended, on the private listener alone."""

SESSION_HEADER = b"x-troth-session"

SILENT_SECONDS = 5.0
"""Without a beat for so long, streams that are older are cut."""

_LAG_SECONDS = 2.0
"""By how much one instance of the web service may hear of an ending later than another; see
`access.endings.SILENT_SECONDS`."""

_REMEMBERED = 1024


class Ended(msgspec.Struct, frozen=True):
    """One line of the feed. A `beat` says that the feed lives."""

    kind: str
    ref: str = ""
    over: bool = False
    at: float = 0.0


class Label(msgspec.Struct, frozen=True):
    """Whose request it is: ids, when the session began by the database's clock, and when the web service
    vouched for it by its own; seconds since 1970."""

    session: str
    person: str
    tenant: str
    began: float
    vouched: float

    def write(self) -> str:
        """The value of the header."""
        return f"{self.session}/{self.person}/{self.tenant}/{self.began:.6f}/{self.vouched:.6f}"

    def is_meant_by(self, ended: Ended) -> bool:
        """A session that was begun after the change to its person is not meant by it."""
        match ended.kind:
            case "session":
                return ended.ref == self.session
            case "person":
                return ended.ref == self.person and self.began < ended.at
            case "tenant":
                return ended.ref == self.tenant
            case _:
                return ended.kind == "all"


def read_label(value: str) -> Label:
    """Raises ValueError on anything else than `Label.write` makes."""
    session, person, tenant, began, vouched = value.split("/")
    return Label(session, person, tenant, float(began), float(vouched))


class OpenStream:
    """One request under way."""

    def __init__(self, label: Label) -> None:
        self.label = label
        self.began = time.monotonic()
        self.over = asyncio.Event()


class OpenStreams:
    """All requests of signed-in people that are under way at this instance."""

    def __init__(self) -> None:
        self._open: set[OpenStream] = set()
        self._recent: deque[tuple[float, Ended]] = deque(maxlen=_REMEMBERED)
        self.cut = 0

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def opened(self, label: Label) -> Generator[OpenStream]:
        """The request is under way during the block. What ended since it was vouched for is over already."""
        stream = OpenStream(label)
        if any(label.is_meant_by(ended) for at, ended in self._recent if at > label.vouched - _LAG_SECONDS):
            self._end(stream)
        self._open.add(stream)
        try:
            yield stream
        finally:
            self._open.discard(stream)

    def hear(self, ended: Ended) -> None:
        """Something ended: cut what it is about."""
        if not ended.over:
            return
        self._recent.append((time.time(), ended))
        for stream in self._open:
            if stream.label.is_meant_by(ended):
                self._end(stream)

    def cut_older(self, seconds: float) -> None:
        """The feed is silent: nothing older may go on unwatched."""
        before = time.monotonic() - seconds
        for stream in self._open:
            if stream.began < before:
                self._end(stream)

    def _end(self, stream: OpenStream) -> None:
        if not stream.over.is_set():
            stream.over.set()
            self.cut += 1


class Guard:
    """An ASGI application around another: takes the label off each request and cuts it when it is over."""

    def __init__(self, application: Application, streams: OpenStreams) -> None:
        self._application = application
        self._streams = streams

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        label = take_label(scope)
        if label is None:
            await self._application(scope, receive, send)
            return
        answer = _Answer(scope["type"], send)
        with self._streams.opened(label) as stream:
            if stream.over.is_set():
                await answer.cut()
            else:
                await self._run(stream, scope, receive, answer)

    async def _run(self, stream: OpenStream, scope: Message, receive: Receive, answer: "_Answer") -> None:
        work = asyncio.ensure_future(self._application(scope, receive, answer.send))
        over = asyncio.ensure_future(stream.over.wait())
        try:
            await asyncio.wait((work, over), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return
            work.cancel()
            await asyncio.wait((work,))
            await answer.cut()
        finally:
            over.cancel()
            work.cancel()


class StreamCut(Exception):
    """Half an answer is out: the server has to close the connection, so that nobody takes it for whole."""


class _Answer:
    """What an application has said so far."""

    def __init__(self, kind: str, send: Send) -> None:
        self._kind = kind
        self._send = send
        self._began = False
        self._ended = False

    async def send(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start" | "websocket.accept":
                self._began = True
            case "http.response.body":
                self._ended = not message.get("more_body", False)
            case "websocket.close":
                self._ended = True
            case _:
                pass
        await self._send(message)

    async def cut(self) -> None:
        """End it as one in which nothing more may be said."""
        if self._ended:
            return
        if self._kind == "websocket":
            await self._send({"type": "websocket.close", "code": 1008, "reason": "the session ended"})
        elif self._began:
            raise StreamCut("the session of this answer ended")
        else:
            headers = [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")]
            await self._send({"type": "http.response.start", "status": 401, "headers": headers})
            await self._send({"type": "http.response.body", "body": b"The session ended.\n"})


def take_label(scope: Message) -> Label | None:
    """The label of a request, which the application does not get to see. None when nobody is signed in; one
    that cannot be read belongs to nobody, and is cut by the next silence at the latest."""
    if scope["type"] not in ("http", "websocket"):
        return None
    values = [value for name, value in scope["headers"] if name == SESSION_HEADER]
    if not values:
        return None
    scope["headers"] = [pair for pair in scope["headers"] if pair[0] != SESSION_HEADER]
    return read_label(values[0].decode("ascii"))
