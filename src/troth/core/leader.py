"""Connections to the database's members over mutual TLS 1.3, and the search for the one that leads."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec

from troth.core.errors import PlatformError
from troth.core.process import Endpoint

CONNECT_SECONDS = 1.0
"""For each member. A member that is down refuses at once; one that hangs costs this much."""

LEADER_SECONDS = 30.0
"""How long a leader that is named already may take until it writes."""

LOST_SECONDS = 5
"""After so long without a sign of life from its kernel, a member behind a cut cable is given up."""

_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, LOST_SECONDS - 2),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_SECONDS * 1000),
)
"""tcp(7). By default a connection whose packets vanish would stand for a quarter of an hour, or for ever."""

_SEARCH_GAP = 0.1

_RIVAL_SECONDS = 0.2
"""After a first claim, how long to listen for a rival with a later timeline."""

_ROLE = "select case when pg_is_in_recovery() then null else pg_walfile_name(pg_current_wal_insert_lsn()) end"
"""The first eight hexadecimal digits of a WAL file's name are the timeline, which each promotion raises."""


class DatabaseTarget(msgspec.Struct, frozen=True):
    """All members, and the role to be there. The role is the common name of the client certificate."""

    hosts: tuple[Endpoint, ...]
    user: str
    ca: Path
    certificate: Path
    key: Path
    database: str = "troth"


class Leader(msgspec.Struct, frozen=True):
    """The member that takes writes."""

    endpoint: Endpoint
    timeline: int


class SecureContext:
    """The TLS context of a client, read again whenever its files have been replaced.

    `problem` keeps the last reason why no member could be used, for the operator.
    """

    def __init__(self, ca: Path, certificate: Path, key: Path) -> None:
        self._files = (ca, certificate, key)
        self._stamp: tuple[int, ...] | None = None
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.problem = ""

    @classmethod
    def of(cls, target: DatabaseTarget) -> "SecureContext":
        """The context for a database target."""
        return cls(target.ca, target.certificate, target.key)

    def current(self) -> ssl.SSLContext:
        """A context with the certificates that lie on disk now. Raises OSError when they cannot be read."""
        if self.renewed():
            stamp = self._stamp_now()
            self._context = client_context(*self._files)
            self._stamp = stamp
        return self._context

    def renewed(self) -> bool:
        """Whether the files differ from those of the context in use."""
        return self._stamp_now() != self._stamp

    def _stamp_now(self) -> tuple[int, ...]:
        stats = [file.stat() for file in self._files]
        return tuple(number for stat in stats for number in (stat.st_mtime_ns, stat.st_ino))


def client_context(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.3 alone, our certificate shown, the server's checked for chain and address.

    Only the given authority is trusted: a certificate of a public CA opens nothing here.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(ca)
    context.load_cert_chain(certificate, key)
    return context


class _Watched(asyncpg.Connection[asyncpg.Record] if TYPE_CHECKING else asyncpg.Connection):
    """A connection that the kernel gives up when nothing arrives at the other side or comes from it."""

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        for level, name, value in _KEEPALIVE:
            transport.get_extra_info("socket").setsockopt(level, name, value)


async def connect(
    target: DatabaseTarget, endpoint: Endpoint, context: SecureContext, **options: Any
) -> "asyncpg.Connection[asyncpg.Record]":
    """One connection to one member. Raises what asyncpg raises; TimeoutError after a second."""
    options["connection_class"] = _Watched
    return await asyncpg.connect(
        host=endpoint.host,
        port=endpoint.port,
        user=target.user,
        database=target.database,
        ssl=context.current(),
        timeout=CONNECT_SECONDS,
        passfile=None,
        **options,
    )


async def find_leader(
    target: DatabaseTarget, context: SecureContext
) -> "tuple[Leader, asyncpg.Connection[asyncpg.Record]] | None":
    """Ask all members at once. The leader with an open connection to it, or None.

    A leader that was cut off may still believe in itself: of several claims the latest timeline counts.
    """
    tasks = [asyncio.create_task(_ask(target, endpoint, context)) for endpoint in target.hosts]
    claims: list[tuple[Leader, asyncpg.Connection[asyncpg.Record]]] = []
    try:
        claims = await _listen(tasks, context)
    finally:  # a search that is cut short keeps no connection either
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        best = max(claims, key=lambda claim: claim[0].timeline, default=None)
        for result in results:
            if isinstance(result, tuple) and (best is None or result[1] is not best[1]):
                result[1].terminate()
    return best


async def wait_for_leader(
    target: DatabaseTarget, context: SecureContext, *, seconds: float
) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection to the leader, which may still have to recover from a crash and to be promoted.

    Raises PlatformError when there is none after so many seconds.
    """
    try:
        async with asyncio.timeout(seconds):
            while (found := await find_leader(target, context)) is None:  # noqa: ASYNC110 - it is asked
                await asyncio.sleep(_SEARCH_GAP)
    except TimeoutError:
        raise PlatformError(
            f"The database had no leader for {seconds:.0f} seconds.", detail=context.problem
        ) from None
    return found[1]


async def _listen(
    tasks: "list[asyncio.Task[tuple[Leader, asyncpg.Connection[asyncpg.Record]] | None]]",
    context: SecureContext,
) -> "list[tuple[Leader, asyncpg.Connection[asyncpg.Record]]]":
    claims: list[tuple[Leader, asyncpg.Connection[asyncpg.Record]]] = []
    waiting = set(tasks)
    while waiting:
        done, waiting = await asyncio.wait(
            waiting,
            return_when=asyncio.FIRST_COMPLETED,
            timeout=_RIVAL_SECONDS if claims else None,
        )
        if not done:
            break
        for task in done:
            error = task.exception()
            if error is not None:
                context.problem = repr(error)
                continue
            claim = task.result()
            if claim is not None:
                claims.append(claim)
    return claims


async def _ask(
    target: DatabaseTarget, endpoint: Endpoint, context: SecureContext
) -> "tuple[Leader, asyncpg.Connection[asyncpg.Record]] | None":
    connection = await connect(target, endpoint, context, server_settings={"statement_timeout": "3s"})
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            wal_file = await connection.fetchval(_ROLE)
    except BaseException:
        connection.terminate()
        raise
    if wal_file is None:
        connection.terminate()
        return None
    return Leader(endpoint, int(wal_file[:8], 16)), connection
