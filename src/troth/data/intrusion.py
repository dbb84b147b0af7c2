"""Trying each private port without a certificate, as an intruder on the private side would."""

import asyncio
import ssl
from pathlib import Path
from typing import Literal

import asyncpg
import msgspec

from troth.core.process import Endpoint

Protocol = Literal["https", "postgres"]
SECONDS = 3.0
_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Port(msgspec.Struct, frozen=True):
    """A private port: who listens, where, and what it speaks behind its TLS."""

    name: str
    endpoint: Endpoint
    protocol: Protocol


class Stranger(msgspec.Struct, frozen=True):
    """A certificate and key that the platform's CA did not issue (PEM files)."""

    certificate: Path
    key: Path


async def intrude(port: Port, stranger: Stranger, *, seconds: float = SECONDS) -> tuple[str, ...]:
    """Every way in that was not refused: plain text, TLS without a certificate, TLS with a stranger's.

    Raises ConnectionRefusedError when nobody listens and TimeoutError when nobody answers: a port that is
    closed or hangs shows nothing about TLS. Whoever refuses an intruder says so, or hangs up, at once.
    """
    attempts = {
        "plain text": None,
        "TLS without a certificate": _context(None),
        "TLS with a stranger's certificate": _context(stranger),
    }
    enter = _enter_postgres if port.protocol == "postgres" else _enter_https
    return tuple([way for way, context in attempts.items() if await enter(port.endpoint, context, seconds)])


def _context(stranger: Stranger | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The intruder does not care whom it talks to; the question is whether it is let in.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if stranger:
        context.load_cert_chain(stranger.certificate, stranger.key)
    return context


async def _enter_https(endpoint: Endpoint, context: ssl.SSLContext | None, seconds: float) -> bool:
    """Whether the server answered a request. In TLS 1.3 the refusal of a certificate comes after the
    client's handshake is done (RFC 8446 section 4.4.2.4), so only an answer counts as entry."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=context)
            try:
                writer.write(_REQUEST)
                await writer.drain()
                answer = await reader.read(64)
            finally:
                writer.close()
    except (ConnectionRefusedError, TimeoutError):
        raise
    except (OSError, asyncio.IncompleteReadError):
        return False
    return _is_answer(answer, plain=context is None)


def _is_answer(answer: bytes, *, plain: bool) -> bool:
    """A TLS server may tell a plain client, in plain text, that it speaks TLS (status 400); nothing else
    in plain text is tolerated."""
    if not answer.startswith(b"HTTP/"):
        return bool(answer) and not answer.startswith(b"\x15\x03")
    return not (plain and b" 400 " in answer[:16])


async def _enter_postgres(endpoint: Endpoint, context: ssl.SSLContext | None, seconds: float) -> bool:
    try:
        connection = await asyncpg.connect(
            host=endpoint.host,
            port=endpoint.port,
            user="postgres",
            database="postgres",
            ssl=context if context else False,
            timeout=seconds,
        )
    except (ConnectionRefusedError, TimeoutError):
        raise
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return False
    await connection.close()
    return True
