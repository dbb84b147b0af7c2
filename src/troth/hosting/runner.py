"""One instance: `python -m troth.hosting.runner INSTANCE.json` serves an ASGI application over mutual TLS.

To `/.troth/ready` its server answers with the file of its pulse, from a thread of its own, as soon as the
application's lifespan startup is done: whether it is held back stands in it. `/.troth/started` is answered by
its event loop, and does not mind being held back. On SIGTERM it finishes what
is in flight, closes kept connections, runs the lifespan shutdown and leaves with 0; when the startup fails it
leaves with 1. SIGABRT makes every thread write down where it stands before the process ends, also in a loop
that no longer turns. Before any code of an application is loaded, the process gives up what it does not need
(`hosting/confinement.py`).
"""

import asyncio
import faulthandler
import importlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, cast

import uvloop
from granian.constants import Interfaces, SSLProtocols
from granian.log import LogLevels
from granian.server.embed import Server

from troth.core import logs
from troth.core.clock import SystemClock
from troth.core.tracing import trace_into
from troth.hosting.confinement import confine
from troth.hosting.endings import Listener
from troth.hosting.health import READY_PATH, STARTED_PATH
from troth.hosting.instance_file import InstanceFile
from troth.hosting.pulse import BEAT_SECONDS, Teller
from troth.hosting.shedding import Latecomers, Places, party_of, refuse, waited
from troth.hosting.streams import ENDINGS_PATH, Application, Guard, Message, OpenStreams, Receive, Send
from troth.hosting.tracing.instance import Traced
from troth.hosting.wire import decode

BACKLOG = 1024
_LONGEST_NUMBER = 64
QUIET_SECONDS = 1.0
"""While draining: how long nothing must be in flight, for the edge may have sent one before it heard."""


class Gate:
    """An ASGI application around another: counts what is in flight and what came of it, refuses what is too
    much, and answers the readiness questions.

    No request arrives before the lifespan startup is done, so whoever gets an answer finds it done.
    """

    def __init__(self, application: Application, teller: Teller | None = None) -> None:
        self._application = application
        self._teller = teller
        self._places, self._latecomers = Places(), Latecomers()
        self._in_flight = 0
        self._answered = 0
        self._failed, self._raised = 0, 0
        self._endless: set[asyncio.Task[None]] = set()
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"] in (READY_PATH, STARTED_PATH):
            await self._answer_ready(send)
            return
        if scope["type"] == "http" and scope["path"] == ENDINGS_PATH:
            await self._answer_without_end(scope, receive, send)
            return
        logs.request_id.set(_number(scope))
        party = party_of(scope)
        if scope["type"] == "http" and not self._take(scope, party):
            await refuse(scope, send, self._places.refused)
            return
        self._in_flight += 1
        self._idle.clear()
        try:
            await self._answer(scope, receive, send, party)
        except Exception:
            self._raised += 1
            raise
        finally:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.set()

    def _take(self, scope: Message, party: str) -> bool:
        if self._latecomers.admit(party, waited(scope, time.time()), time.monotonic()):
            return self._places.take(party)
        self._places.refused += 1
        return False

    async def _answer(self, scope: Message, receive: Receive, send: Send, party: str) -> None:
        """A request holds its place until its answer begins: what is sent slowly, or for hours, waits for
        nothing here."""
        holds = scope["type"] == "http"

        async def begun(message: Message) -> None:
            nonlocal holds
            if holds:
                holds = False
                self._places.give_back(party)
                self._answered += 1
                self._failed += message.get("status", 0) >= 500
            await send(message)

        try:
            # Whoever came meanwhile is counted, and refused, before this one is worked on. Of those that an
            # application answers without ever waiting, each would be through before the next is seen: none
            # would be too many, and the last of a thousand would wait for all.
            await asyncio.sleep(0)
            await self._application(scope, receive, self._closing(scope, begun))
        finally:
            if holds:
                self._places.give_back(party)

    async def beat(self) -> None:
        """For ever: tell the keeper that the event loop turns, and how late it came to it."""
        loop = asyncio.get_running_loop()
        while self._teller is not None:
            before = loop.time()
            await asyncio.sleep(BEAT_SECONDS)
            self._teller.tell(
                lag=max(0.0, loop.time() - before - BEAT_SECONDS),
                served=self._answered,
                failed=self._failed,
                raised=self._raised,
                in_flight=self._in_flight,
                waiting=self._places.waiting,
                standing=self._in_flight - self._places.waiting + len(self._endless),
                refused=self._places.refused,
            )

    def note_unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that no task waited for; the event loop's handler."""
        self._raised += 1
        loop.default_exception_handler(context)

    async def drain(self, seconds: float) -> None:
        """Return once nothing has been in flight for a moment, or after so many seconds."""
        self._draining = True
        if self._teller is not None:
            self._teller.hold()
        for task in self._endless:
            task.cancel()
        try:
            async with asyncio.timeout(seconds):
                while not await self._is_quiet():
                    await self._idle.wait()
        except TimeoutError:
            print(f"{self._in_flight} requests were cut off after {seconds:g} s", file=sys.stderr)  # noqa: T201

    async def _answer_without_end(self, scope: Message, receive: Receive, send: Send) -> None:
        """Nothing to wait for while draining: who listens turns to another instance."""
        task = asyncio.ensure_future(self._application(scope, receive, send))
        self._endless.add(task)
        try:
            await asyncio.wait((task,))
        finally:
            task.cancel()
            self._endless.discard(task)

    async def _is_quiet(self) -> bool:
        await self._idle.wait()
        await asyncio.sleep(QUIET_SECONDS)
        return self._idle.is_set()

    def _closing(self, scope: Message, send: Send) -> Send:
        """While draining, an HTTP/1.1 answer also asks the caller to connect anew (elsewhere)."""
        if scope["type"] != "http" or scope["http_version"] not in ("1", "1.0", "1.1"):
            return send

        async def closing(message: Message) -> None:
            if self._draining and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        return closing

    async def _answer_ready(self, send: Send) -> None:
        status, body = (503, b"draining\n") if self._draining else (200, b"ready\n")
        headers = [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _number(scope: Message) -> str:
    """As the edge gave it, which replaces what others say."""
    found = next((value for name, value in scope.get("headers", ()) if name == b"x-request-id"), b"")
    return found[:_LONGEST_NUMBER].decode("ascii", "replace")


def load(instance: InstanceFile) -> Application:
    """Import the application. Errors of its code are its own and end the process."""
    os.environ.update(instance.environment)
    sys.path.insert(0, str(instance.folder))
    module, _, attribute = instance.target.partition(":")
    found: Any = importlib.import_module(module)
    for name in attribute.split("."):
        found = getattr(found, name)
    return cast("Application", found() if instance.factory else found)


def make_server(instance: InstanceFile, gate: Gate) -> Server:
    """The server of one instance: TLS 1.3 alone, and no request without a certificate of `client_ca`.

    Of all files it shows that of the pulse alone: a mount that is a file has nothing below it.
    """
    pulse = [instance.pulse] if instance.pulse is not None else None
    return Server(
        gate,
        address=instance.host,
        port=instance.port,
        interface=Interfaces.ASGI,
        backlog=BACKLOG,
        log_level=LogLevels.warning,
        ssl_cert=instance.certificate,
        ssl_key=instance.key,
        ssl_protocol_min=SSLProtocols.tls13,
        ssl_ca=instance.client_ca,
        ssl_client_verify=True,
        static_path_route=[READY_PATH] if pulse else None,
        static_path_mount=pulse,
        static_path_expires=0,
    )


async def serve(instance: InstanceFile) -> int:
    """Serve until SIGTERM; returns the exit status."""
    streams = OpenStreams()
    listener = Listener(instance, streams) if "TROTH_API_URL" in instance.environment else None
    application = load(instance)
    teller = Teller(instance.pulse) if instance.pulse is not None else None
    guarded = Guard(application, streams) if listener else application
    traced = Traced(guarded, routes=instance.kind == "web") if instance.spans is not None else guarded
    gate = Gate(traced, teller)
    server = make_server(instance, gate)
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(gate.note_unhandled)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    serving, stopping = asyncio.ensure_future(server.serve()), asyncio.ensure_future(asked.wait())
    beating = asyncio.ensure_future(gate.beat())
    listening = asyncio.ensure_future(listener.run()) if listener else None
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        stopping.cancel()
        serving.result()
        return 1
    await gate.drain(instance.drain_seconds)
    if listening is not None:
        listening.cancel()
    server.stop()
    await serving
    beating.cancel()
    return 0


def main(arguments: list[str]) -> int:
    """The process: `arguments` is the path of INSTANCE.json."""
    faulthandler.enable()
    instance = decode(Path(arguments[0]).read_bytes(), InstanceFile)
    logs.capture(instance.log_format, instance.name, SystemClock().now)
    if instance.spans is not None:
        trace_into(instance.spans)
    if instance.kind == "web":  # an application's logging is its own
        logs.log_as(instance.log_format, instance.name)
    print(f"{instance.name} is held to: {', '.join(confine(instance))}", file=sys.stderr)  # noqa: T201
    return uvloop.run(serve(instance))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
