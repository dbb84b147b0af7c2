"""The pool to the database's leader.

`Database` keeps connections to the one member that takes writes and follows it when another member takes
over. Four things make that safe:

- A leader is found by asking all members at once; when two claim to be it, the later timeline wins, and there
  is no way back to an earlier one while a superseded leader may still be there.
- One extra connection, the sentry, notices a lost, hung or demoted leader within seconds and has the pool
  replaced. Patroni restarts a member that it demotes, which breaks the sentry's connection at once, so that
  stale reads end with it; the sentry's question covers a member that only hangs or was demoted in place.
- No statement is ever cancelled from this side while it waits for its synchronous standby: PostgreSQL would
  keep the row locally, show it to readers and lose it with the leader. Calls therefore run to their end in a
  task of their own, and what exceeds its deadline loses its connection, which cancels nothing.
- What was under way when a connection broke is repeated on the next leader only where that is safe: a call
  that says of itself that it is idempotent, and one that says nothing but reads, by its text and by what the
  database knows of the functions in it (core/statements.py). All others raise OutcomeUnknown.

Every call goes to the leader, those that only read included: no answer comes from a standby.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from troth.core.connection import (
    LOST,
    NOT_DONE,
    Connection,
    Pool,
    bounded,
    cut,
    drain,
    is_gone,
    is_lost,
    keep,
    release,
)
from troth.core.errors import OutcomeUnknown, Unavailable
from troth.core.leader import (
    DatabaseTarget,
    Leader,
    SecureContext,
    connect,
    find_leader,
)
from troth.core.statements import SIDE_EFFECTS, called, may_change
from troth.core.tracing import asking, over

__all__ = ["Connection", "Database", "DatabaseTarget"]

T = TypeVar("T")

DEADLINE_SECONDS = 10.0
"""How long a call looks for a leader and repeats itself."""

STATEMENT_SECONDS = 8.0
"""The server ends a statement after this; the wait for a standby at commit does not count."""

SUPERSEDED_SECONDS = 60.0
"""For so long no member of an earlier timeline is believed: three leases, within which it gives up."""

_SEARCH_PAUSE_SECONDS = 0.1
_SENTRY_SECONDS = 1.0
_SENTRY_PATIENCE_SECONDS = 3.0


class _Lost(Exception):
    """The connection broke over the work; `error` is what it broke with."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(repr(error))
        self.error = error


class Database:
    """A pool to the leader, used as one role. Make it with `open`, end it with `close`."""

    def __init__(self, target: DatabaseTarget, *, min_size: int, max_size: int) -> None:
        self._target = target
        self._sizes = (min_size, max_size)
        self._context = SecureContext.of(target)
        self._pool: Pool | None = None
        self._leader: Leader | None = None
        self._effects: frozenset[str] = frozenset()
        self._latest = (0, 0.0)
        self._searching = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @classmethod
    async def open(cls, target: DatabaseTarget, *, min_size: int = 1, max_size: int = 8) -> "Database":
        """Connect to the leader. Raises Unavailable when there is none within the deadline."""
        database = cls(target, min_size=min_size, max_size=max_size)
        await database._current(_soon())
        return database

    async def fetch(self, query: str, *args: object, idempotent: bool | None = None) -> list[asyncpg.Record]:
        """All rows. JSON columns come as text.

        Of this and the three methods below: a statement that changes something says whether doing it twice
        leaves the same and answers the same (`idempotent`). Raises Unavailable when nothing was done, and
        OutcomeUnknown when it may have been done and is not to be repeated.
        """
        return await self._call(query, lambda connection: connection.fetch(query, *args), idempotent)

    async def fetchrow(
        self, query: str, *args: object, idempotent: bool | None = None
    ) -> asyncpg.Record | None:
        """The first row, or None."""
        return await self._call(query, lambda connection: connection.fetchrow(query, *args), idempotent)

    async def fetchval(self, query: str, *args: object, idempotent: bool | None = None) -> Any:
        """The first column of the first row, or None."""
        return await self._call(query, lambda connection: connection.fetchval(query, *args), idempotent)

    async def execute(self, query: str, *args: object, idempotent: bool | None = None) -> str:
        """Run a statement and return its tag, e.g. `INSERT 0 1`."""
        return await self._call(query, lambda connection: connection.execute(query, *args), idempotent)

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction on one connection, committed at the end of the block; never repeated.

        Raises Unavailable when the connection is lost before the commit, OutcomeUnknown when at it.
        """
        return over(self._transaction())

    async def close(self) -> None:
        """End all connections. Calls under way get a few seconds to finish."""
        self._closed = True
        pool = self._pool
        self._forget()
        if pool is not None:
            await drain(pool)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def leader(self) -> Leader | None:
        """The member in use at present, None while one is being searched."""
        return self._leader

    def follow(self, leader: Leader) -> None:
        """Somebody else found this leader. Where it leads on a later timeline than ours, ours is superseded:
        it may go on answering for a while, and what it says of sessions is old."""
        self._note(leader)
        pool, ours = self._pool, self._leader
        if pool is not None and ours is not None and ours.timeline < leader.timeline:
            self._drop(pool)

    async def _call(
        self, query: str, work: Callable[[Connection], Awaitable[T]], idempotent: bool | None
    ) -> T:
        """Shielded: a caller that goes away must not cancel a commit that waits for its standby."""
        with asking(query):
            return await asyncio.shield(self._spawn(self._repeat(query, work, idempotent, _soon())))

    async def _repeat(
        self,
        query: str,
        work: Callable[[Connection], Awaitable[T]],
        idempotent: bool | None,
        deadline: float,
    ) -> T:
        lost: _Lost | None = None
        while True:
            try:
                return await self._once(work, deadline)
            except _Lost as error:
                lost = error
            except Unavailable as error:
                if lost is None or self._only_reads(query):
                    raise
                # The attempt before may have been the one that counted: nothing may be said that denies it.
                raise _unknown(lost.error, error.detail) from error
            if not (self._only_reads(query) if idempotent is None else idempotent):
                raise _unknown(lost.error) from lost.error

    def _only_reads(self, query: str) -> bool:
        """Asked once a connection was lost, never before."""
        return not may_change(query) and self._effects.isdisjoint(called(query))

    async def _once(self, work: Callable[[Connection], Awaitable[T]], deadline: float) -> T:
        """Do the work on the leader. Raises _Lost when it may or may not have been done, Unavailable when it
        was not done."""
        while True:
            pool = await self._current(deadline)
            connection = await self._acquire(pool, deadline)
            if connection is None:
                continue
            try:
                return await bounded(connection, work, deadline)
            except asyncpg.QueryCanceledError as error:
                raise Unavailable("The database took too long; nothing was changed.") from error
            except NOT_DONE:
                self._drop(pool)
            except LOST as error:
                if not is_lost(error, connection):
                    raise
                cut(connection)
                self._drop(pool)
                raise _Lost(error) from error
            finally:
                await release(pool, connection)

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[Connection]:
        pool, connection = await self._checkout(_soon())
        committing = False
        try:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            except BaseException:
                if not is_gone(connection):
                    await self._finish(bounded(connection, lambda _: transaction.rollback(), _soon()))
                raise
            committing = True
            await self._finish(bounded(connection, lambda _: transaction.commit(), _soon()))
        except NOT_DONE as error:
            self._drop(pool)
            raise Unavailable("Another member leads now; nothing was changed.", detail=repr(error)) from error
        except LOST as error:
            if not is_lost(error, connection):
                raise
            self._drop(pool)
            if committing:
                raise _unknown(error) from error
            raise Unavailable("The database was lost; nothing was changed.", detail=repr(error)) from error
        finally:
            await self._finish(release(pool, connection))

    async def _checkout(self, deadline: float) -> tuple[Pool, Connection]:
        while True:
            pool = await self._current(deadline)
            connection = await self._acquire(pool, deadline)
            if connection is not None:
                return pool, connection

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the end of a transaction to its end, whatever becomes of the caller."""
        return await asyncio.shield(self._spawn(work))

    async def _acquire(self, pool: Pool, deadline: float) -> Connection | None:
        """A connection, or None after the pool turned out to be of no use."""
        try:
            return await pool.acquire(timeout=max(deadline - _now(), 0.001))
        except (*LOST, *NOT_DONE) as error:
            if _now() >= deadline:
                raise Unavailable("The database is busy.", detail="no free connection") from error
            self._drop(pool)
            await asyncio.sleep(_SEARCH_PAUSE_SECONDS)
            return None

    async def _current(self, deadline: float) -> Pool:
        """The pool to the leader; a single search however many callers wait for it."""
        if self._pool is not None:
            return self._pool
        async with self._searching:
            while self._pool is None:
                if self._closed:
                    raise Unavailable("The database connection was closed.")
                if _now() >= deadline:
                    raise Unavailable("The database has no leader at present.", detail=self._context.problem)
                await self._search(deadline)
            return self._pool

    async def _search(self, deadline: float) -> None:
        found = await find_leader(self._target, self._context)
        if found is None:
            await asyncio.sleep(min(_SEARCH_PAUSE_SECONDS, max(deadline - _now(), 0)))
            return
        leader, sentry = found
        if self._is_superseded(leader):
            self._context.problem = f"{leader.endpoint} leads on a timeline that was left behind"
            sentry.terminate()
            await asyncio.sleep(_SEARCH_PAUSE_SECONDS)
            return
        try:
            async with asyncio.timeout(_SENTRY_PATIENCE_SECONDS):
                self._effects = frozenset(await sentry.fetchval(SIDE_EFFECTS))
            pool = await self._make_pool(leader)
        except (*LOST, *NOT_DONE, asyncpg.QueryCanceledError) as error:
            self._context.problem = repr(error)
            sentry.terminate()
            return
        self._note(leader)
        self._pool, self._leader = pool, leader
        sentry.add_termination_listener(lambda _: self._drop(pool))
        self._spawn(self._stand_watch(pool, sentry))

    def _note(self, leader: Leader) -> None:
        if not self._is_superseded(leader):
            self._latest = (leader.timeline, _now())

    def _is_superseded(self, leader: Leader) -> bool:
        timeline, seen = self._latest
        return leader.timeline < timeline and _now() - seen < SUPERSEDED_SECONDS

    async def _make_pool(self, leader: Leader) -> Pool:
        async def connect_to_leader(*_: object, **options: Any) -> Any:
            return await connect(self._target, leader.endpoint, self._context, **options)

        low, high = self._sizes
        return await asyncpg.create_pool(
            connect=connect_to_leader,
            min_size=low,
            max_size=high,
            max_inactive_connection_lifetime=60,
            reset=keep,
            server_settings={"statement_timeout": f"{STATEMENT_SECONDS:.0f}s"},
        )

    async def _stand_watch(self, pool: Pool, sentry: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Ask the leader every second whether it still leads; drop the pool when it does not say so."""
        try:
            while self._pool is pool:
                if self._context.renewed():
                    break  # so that a connection does not outlive the certificate that opened it
                async with asyncio.timeout(_SENTRY_PATIENCE_SECONDS):
                    if await sentry.fetchval("select pg_is_in_recovery()"):
                        break
                await asyncio.sleep(_SENTRY_SECONDS)
        except (*LOST, asyncpg.PostgresError) as error:
            self._context.problem = repr(error)
        finally:
            self._drop(pool)
            sentry.terminate()

    def _drop(self, pool: Pool) -> None:
        """Stop using this pool. Calls under way on it end by themselves, at their deadline at the latest."""
        if self._pool is not pool:
            return
        self._forget()
        if not self._closed:
            self._spawn(drain(pool))

    def _forget(self) -> None:
        self._pool = None
        self._leader = None

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _unknown(error: BaseException, detail: str = "") -> OutcomeUnknown:
    said = (
        "The database was lost meanwhile: it is not known whether this was done. Look before you repeat it."
    )
    return OutcomeUnknown(said, detail=f"{error!r} {detail}".strip())


def _now() -> float:
    return asyncio.get_running_loop().time()


def _soon() -> float:
    return _now() + DEADLINE_SECONDS
