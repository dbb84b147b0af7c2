"""The drills of data.https and data.hsts: a careless server stands in the edge's place, and its probe looks.

Both doors are on loopback, on ports that nobody is told of, and serve nothing but what a careless server
would say of itself.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec

from troth.core.ca import LeafFiles
from troth.core.promise import Drill, Probe
from troth.core.reach import PublicFace
from troth.hosting.promises import probe_hsts, probe_https
from troth.hosting.tls.promise import Issue

_LOOPBACK = "127.0.0.1"
_SECONDS = 5.0
_HEAD_BYTES = 16 << 10


def drills(face: PublicFace, issue: Issue) -> tuple[Drill, ...]:
    """The drills of both promises."""
    return (
        Drill(
            "data.https", "a server that answers without TLS stood in the edge's place", lambda: _plain(face)
        ),
        Drill(
            "data.hsts", "a server without HSTS stood in the edge's place", lambda: _without_hsts(face, issue)
        ),
    )


@asynccontextmanager
async def _plain(face: PublicFace) -> AsyncGenerator[Probe]:
    async with _door("200 OK") as port:
        seen = msgspec.structs.replace(face, domains=face.domains[:1], address=_LOOPBACK, http_port=port)
        yield Probe("data.https", lambda: probe_https(seen))


@asynccontextmanager
async def _without_hsts(face: PublicFace, issue: Issue) -> AsyncGenerator[Probe]:
    domain = face.domains[0]
    redirect = "308 Permanent Redirect", f"Location: {face.origin(domain)}/"
    with issue(domain) as leaf:
        async with _door(*redirect) as plain, _door("200 OK", leaf=leaf) as secure:
            seen = msgspec.structs.replace(
                face, domains=(domain,), address=_LOOPBACK, http_port=plain, https_port=secure
            )
            yield Probe("data.hsts", lambda: probe_hsts(seen))


def _door(status: str, *headers: str, leaf: LeafFiles | None = None) -> AbstractAsyncContextManager[int]:
    lines = (f"HTTP/1.1 {status}", *headers, "Content-Length: 5", "Connection: close", "", "open\n")
    return _serve("\r\n".join(lines).encode(), leaf)


@asynccontextmanager
async def _serve(answer: bytes, leaf: LeafFiles | None) -> AsyncGenerator[int]:
    """One answer to every request, with TLS where there is a certificate; the port is what is yielded."""
    context = None
    if leaf is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.certificate, leaf.key)

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError)
        with contextlib.closing(writer), contextlib.suppress(*gone):
            async with asyncio.timeout(_SECONDS):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()

    server = await asyncio.start_server(say, _LOOPBACK, 0, ssl=context, limit=_HEAD_BYTES)
    async with server:
        yield int(server.sockets[0].getsockname()[1])
