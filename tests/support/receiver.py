"""A receiver of webhooks on this machine: real HTTPS, that keeps what it is sent and answers as told."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from troth.core.ca import Authority, Subject, write_leaf
from troth.core.secret import write_secret

SECRET = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=\n"


class Received(msgspec.Struct, frozen=True):
    """One request: its target, its headers in small letters, its body."""

    target: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """`status` is answered from now on."""

    def __init__(self, port: int, ca: Path, secret_file: Path) -> None:
        self.url = f"https://localhost:{port}/hook?token=of-the-receiver"
        self.ca, self.secret_file = ca, secret_file
        self.status = 204
        self.received: list[Received] = []
        self.came = asyncio.Event()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.received.append(Received(head[0].split()[1], headers, body))
            location = "Location: https://localhost/elsewhere\r\n" if self.status == 302 else ""
            writer.write(f"HTTP/1.1 {self.status} X\r\n{location}Content-Length: 0\r\n\r\n".encode())
            await writer.drain()
            self.came.set()
        finally:
            writer.close()


@asynccontextmanager
async def running_receiver(folder: Path) -> AsyncGenerator[Receiver]:
    """On a port of loopback, with a certificate of an authority of its own."""
    now = datetime.now(UTC)
    authority = Authority.open(folder, "receiver", now=now)
    subject = Subject(common_name="localhost", dns=("localhost",), usage="server")
    leaf = write_leaf(authority.issue(subject, now=now, lifetime=timedelta(hours=1)), folder, "receiver-leaf")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(leaf.certificate, leaf.key)
    secret = folder / "webhook.secret"
    write_secret(secret, SECRET)
    held: list[Receiver] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await held[0].converse(reader, writer)

    server = await asyncio.start_server(converse, "localhost", 0, ssl=context)
    held.append(Receiver(server.sockets[0].getsockname()[1], authority.certificate_file, secret))
    async with server:
        yield held[0]
