"""What may happen to one connection of the pool, and what is done about it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

if TYPE_CHECKING:
    Connection: TypeAlias = PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:  # generic for the type checker only
    Connection = PoolConnectionProxy
    Pool = asyncpg.Pool

T = TypeVar("T")

DRAIN_SECONDS = 10.0
"""How long calls under way may go on with a pool that is no longer used."""

SEVERED = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
)
"""The connection is gone; a statement that was under way may or may not have happened."""

LOST = (*SEVERED, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""The same, if the connection is really gone: asyncpg raises some of these for a caller's mistake too."""

NOT_DONE = (asyncpg.ReadOnlySQLTransactionError, asyncpg.TooManyConnectionsError)
"""The member refused: nothing happened, and another one may accept."""


async def bounded(connection: Connection, work: Callable[[Connection], Awaitable[T]], deadline: float) -> T:
    """Do the work; at the deadline the connection is cut, which raises here and cancels nothing there."""
    timer = asyncio.get_running_loop().call_at(deadline, cut, connection)
    try:
        return await work(connection)
    finally:
        timer.cancel()


async def release(pool: Pool, connection: Connection) -> None:
    with contextlib.suppress(*LOST):  # the pool replaces a connection that cannot be handed back
        await pool.release(connection)


async def drain(pool: Pool) -> None:
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await pool.close()
    except (*LOST, asyncpg.PostgresError):
        pool.terminate()


async def keep(connection: object) -> None:
    """Hand a connection back as it is, saving a round trip a call.

    Nothing lives on it beyond a transaction: the context of row-level security is transaction-local, and an
    open transaction is rolled back by asyncpg before this is called.
    """


def cut(connection: Connection) -> None:
    with contextlib.suppress(asyncpg.InterfaceError):  # broken already, and back in its pool
        connection.terminate()


def is_gone(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool took it back when it broke
        return True


def is_lost(error: BaseException, connection: Connection) -> bool:
    return isinstance(error, SEVERED) or is_gone(connection)
