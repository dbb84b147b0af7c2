"""Ending connections to PostgreSQL whose client certificate is no longer good.

TLS looks at a certificate once, in the handshake; a connection would otherwise outlive the certificate that
opened it. PostgreSQL remembers the serial number of each (pg_stat_ssl).
"""

from collections.abc import Iterable
from decimal import Decimal

import asyncpg

from troth.core.connection import LOST
from troth.core.leader import DatabaseTarget, SecureContext, connect
from troth.core.process import Endpoint

_OTHERS = "from pg_stat_ssl where client_serial is not null and client_serial <> all ($1::numeric[])"
_COUNT = f"select count(*) {_OTHERS}"
_END = f"select count(pg_terminate_backend(pid)) {_OTHERS}"


async def count_outlived(target: DatabaseTarget, endpoint: Endpoint, living: Iterable[int]) -> int:
    """How many connections of a member were opened with a certificate that is not among those `living`.

    `target` is the superuser's. 0 when the member cannot be asked: it has no connections then, or will be
    asked again."""
    return await _ask(target, endpoint, _COUNT, living)


async def end_outlived(target: DatabaseTarget, endpoint: Endpoint, living: Iterable[int]) -> int:
    """End them; returns how many there were."""
    return await _ask(target, endpoint, _END, living)


async def _ask(target: DatabaseTarget, endpoint: Endpoint, query: str, living: Iterable[int]) -> int:
    try:
        connection = await connect(target, endpoint, SecureContext.of(target))
    except (*LOST, asyncpg.PostgresError):
        return 0
    try:
        return await connection.fetchval(query, [Decimal(serial) for serial in living], timeout=5.0)
    except (*LOST, asyncpg.PostgresError):
        return 0
    finally:
        connection.terminate()
