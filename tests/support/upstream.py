"""A small HTTPS server in a process of its own, to stand behind a real edge in tests.

`python upstream.py NAME PORT CERTIFICATE KEY CLIENT_CA FOLDER`. It demands a client certificate, notes every
request in FOLDER/NAME.jsonl before answering, and can be made sick (FOLDER/NAME.sick) or stuck
(FOLDER/NAME.stuck) by a file.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import ssl
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

Headers = list[tuple[str, str]]

LARGE = 32 << 20
"""What no buffer on the way takes in."""


class Upstream:
    """One instance: of the web service, of an application, whatever it is asked."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self.answer(reader, writer):
                pass
        writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        headers = [(n.lower(), v.strip()) for n, _, v in (line.partition(":") for line in head[1:] if line)]
        if target == "/.troth/ready":
            sick = (self.folder / f"{self.name}.sick").exists()
            return await reply(writer, 503 if sick else 200, [], b"")
        self.note({"phase": "head", "method": method, "target": target, "headers": headers})
        if dict(headers).get("upgrade", "").lower() == "websocket":
            return await self.echo_socket(dict(headers), reader, writer)
        if target == "/api/v1/early":
            await reply(writer, 200, [], b"before the body")
            return False
        body = await read_body(dict(headers), reader)
        self.note({"phase": "body", "method": method, "target": target, "length": len(body)})
        if (self.folder / f"{self.name}.stuck").exists():
            await asyncio.Event().wait()
        return await self.act(method, target, headers, body, writer)

    async def act(
        self, method: str, target: str, headers: Headers, body: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        parts = urlsplit(target)
        if parts.path == "/internal/known":
            return await reply(writer, 204 if self.knows(dict(headers)["host"]) else 404, [], b"")
        if parts.path == "/internal/forward":
            return await forward(dict(headers), writer)
        if parts.path == "/stream":
            return await self.stream(writer)
        if parts.path == "/large":
            return await reply(writer, 200, [], bytes(LARGE))
        extra = [(n.partition(":")[0], n.partition(":")[2]) for k, n in parse_qsl(parts.query) if k == "h"]
        said = {
            "name": self.name,
            "method": method,
            "target": target,
            "headers": headers,
            "length": len(body),
        }
        said["sha256"] = hashlib.sha256(body).hexdigest()
        return await reply(
            writer, 200, [("Content-Type", "application/json"), *extra], json.dumps(said).encode()
        )

    def knows(self, host: str) -> bool:
        """Whether FOLDER/domains, a name a line, has the name or whose alias it is."""
        file, name = self.folder / "domains", host.partition(":")[0].removeprefix("mtls.")
        return file.exists() and name in file.read_text().split()

    async def stream(self, writer: asyncio.StreamWriter) -> bool:
        """The first chunk at once, the second when the file FOLDER/release is there."""
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n"
        )
        await writer.drain()
        while not (self.folder / "release").exists():  # noqa: ASYNC110 a test makes this file
            await asyncio.sleep(0.02)
        writer.write(b"4\r\ntwo\n\r\n0\r\n\r\n")
        await writer.drain()
        return True

    async def echo_socket(
        self, headers: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """The handshake of RFC 6455; after it every byte comes back as it came."""
        seed = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(seed.encode()).digest()).decode()  # noqa: S324 the RFC asks for it
        writer.write(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
        return False

    def note(self, entry: dict[str, object]) -> None:
        with (self.folder / f"{self.name}.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")


async def forward(headers: dict[str, str], writer: asyncio.StreamWriter) -> bool:
    """As the web service answers: a session, an anonymous visitor of a public path, or the way to sign in."""
    if "__Host-troth=good" in headers.get("cookie", ""):
        granted = [
            ("X-Troth-Access-Token", "token-of-the-session"),
            ("X-Troth-Domain-Name", "Residents"),
            ("X-Troth-Colour", "#123456"),
            ("X-Troth-Person", "Ada%20L%C3%B6w"),
            ("X-Troth-Tenant", "north"),
            ("X-Troth-App", "nothing" if headers["host"].startswith("empty.") else "portal"),
        ]
        return await reply(writer, 200, granted, b"")
    if headers.get("x-forwarded-uri", "").startswith("/public"):
        return await reply(writer, 204, [("X-Troth-Tenant", "north")], b"")
    return await reply(writer, 302, [("Location", "/login?return_to=%2F"), ("X-Troth-Tenant", "north")], b"")


async def read_body(headers: dict[str, str], reader: asyncio.StreamReader) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int(await reader.readline() or b"0", 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def reply(writer: asyncio.StreamWriter, status: int, headers: Headers, body: bytes) -> bool:
    lines = [f"HTTP/1.1 {status} Status", *(f"{n}: {v}" for n, v in headers)]
    if status != 204:
        lines.append(f"Content-Length: {len(body)}")
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    await writer.drain()
    return True


async def main(name: str, port: str, certificate: str, key: str, client_ca: str, folder: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(
        Upstream(name, Path(folder)).serve, "127.0.0.1", int(port), ssl=context, limit=2**20
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
