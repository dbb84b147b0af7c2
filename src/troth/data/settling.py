"""Waiting until writes are confirmed again: a leader is found and a quorum has a few bytes of it on disk."""

import asyncio
import contextlib

import asyncpg

from troth.core.leader import DatabaseTarget, SecureContext, find_leader
from troth.core.process import Endpoint

PATIENCE = 60.0
"""Seconds after which nobody waits any longer."""

_GAP = 0.05
_ONCE = 5.0

_CONFIRMED = "select pg_logical_emit_message(true, 'troth', 'settled')"
"""Part of a transaction, which therefore waits for the standbys as every write does; in no table."""


async def settle(target: DatabaseTarget, seconds: float = PATIENCE) -> Endpoint | None:
    """The leader that confirmed a write, or None when none did within so many seconds."""
    context = SecureContext.of(target)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                endpoint = await _confirmed(target, context)
                if endpoint is not None:
                    return endpoint
                await asyncio.sleep(_GAP)
    return None


async def _confirmed(target: DatabaseTarget, context: SecureContext) -> Endpoint | None:
    found = await find_leader(target, context)
    if found is None:
        return None
    leader, connection = found
    try:
        async with asyncio.timeout(_ONCE):
            await connection.execute(_CONFIRMED)
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None
    finally:
        connection.terminate()
    return leader.endpoint
