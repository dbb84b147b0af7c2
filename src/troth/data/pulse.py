"""One small question to a member's PostgreSQL, over a connection that is kept: does it answer, does it lead?

A leader is asked to write a few bytes of WAL and to have them on disk, which waits for no standby: a set
without standbys is no hang. Nothing of it stays in any table.
"""

import asyncio
import ssl
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import msgspec

from troth.core.leader import DatabaseTarget, SecureContext, connect
from troth.core.process import Endpoint
from troth.data.vitals import Answer

if TYPE_CHECKING:
    _Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:  # generic for the type checker only
    _Connection = asyncpg.Connection

PATIENCE = 1.0
"""Seconds for one question."""

_BEAT = """
select case when pg_is_in_recovery() then null
       else pg_logical_emit_message(false, 'troth', 'pulse', true)::text end,
       (select coalesce(sum(checksum_failures), 0)::bigint from pg_stat_database)
"""


class Beat(msgspec.Struct, frozen=True):
    """How one question went. `leads` is None when there was no answer to tell; `damaged` counts the pages
    that failed their checksum when somebody read them."""

    answer: Answer
    leads: bool | None = None
    damaged: int = 0


class Pulse:
    """Asks one member. Use it from one event loop, one question at a time; `close` it."""

    def __init__(self, target: DatabaseTarget, endpoint: Endpoint) -> None:
        self._target, self._endpoint = target, endpoint
        self._context = SecureContext.of(target)
        self._connection: _Connection | None = None

    async def ask(self) -> Beat:
        """One question, answered within `PATIENCE` or not at all; a broken connection is opened again."""
        try:
            async with asyncio.timeout(PATIENCE):
                connection = await self._connected()
                row = await connection.fetchrow(_BEAT)
                return Beat("answers", row is not None and row[0] is not None, row[1] if row else 0)
        except TimeoutError:
            self.close()
            return Beat("silent")
        except (OSError, ssl.SSLError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self.close()
            return Beat("refuses")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _connected(self) -> _Connection:
        if self._connection is None or self._connection.is_closed() or self._context.renewed():
            self.close()
            self._connection = await connect(self._target, self._endpoint, self._context)
        return self._connection
