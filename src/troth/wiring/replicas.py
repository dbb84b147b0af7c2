"""`replicas.*` on the control socket: a change runs on its own, whoever asked follows it line by line."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec

from troth.core.errors import PlatformError, TrothError, UsageError, in_words
from troth.core.state import State
from troth.data.failovers import describe_failover, read_failovers
from troth.data.standing import explain
from troth.hosting.plan import Action, Duty, Tell
from troth.wiring.administration.office import Answer, read_arguments
from troth.wiring.changes import Changes
from troth.wiring.database import DatabasePart
from troth.wiring.mending import MendingTools, mending_duty

WithoutStandby = Callable[[], AbstractAsyncContextManager[str]]
_LINES = 200


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a change may be told. `member` is a name, `binaries` a folder."""

    member: str = ""
    binaries: str = ""


class Since(msgspec.Struct, frozen=True, kw_only=True):
    """How many lines were seen already."""

    seen: int = 0


class ReplicaSetReport(msgspec.Struct, frozen=True, kw_only=True):
    """The replica set as `troth status` explains it."""

    now: str
    last_failover: str
    change: str


class Replicas:
    """The set's changes as actions, and its standing as a part of the status."""

    def __init__(self, state: State, database: DatabasePart) -> None:
        self.changes = Changes(database)
        self._state, self._database = state, database
        self._lines: list[str] = []
        self._running: asyncio.Task[None] | None = None
        self._failed = ""
        database.before_stop.append(self._stop)

    def drills(self) -> tuple[WithoutStandby, ...]:
        """How a drill takes a standby out of service; nothing where the members run elsewhere."""
        return (self.changes.without_standby,) if self._database.is_here else ()

    def duties(self) -> tuple[Duty, ...]:
        """Members that cannot help themselves are mended, where they run here."""
        database = self._database
        if not database.is_here:
            return ()
        tools = MendingTools(
            members=lambda: database.replicas.members,
            report=database.report,
            server=database.patroni_of,
            damaged=database.watch.damaged,
            copy_anew=self.changes.copy_anew,
            relieve=self.changes.relieve,
            end=self.changes.end,
            is_changing=lambda: self.changes.is_under_way,
            remarks=database.remarks,
        )
        return (mending_duty(tools),)

    def actions(self) -> dict[str, Action]:
        """By the names under which the control socket knows them."""
        changes = self.changes
        return {
            "replicas.switchover": self._starting(lambda tell, a: changes.switch_over(tell, a.member)),
            "replicas.add": self._starting(lambda tell, _: changes.add(tell)),
            "replicas.remove": self._starting(lambda tell, a: changes.remove(tell, a.member)),
            "replicas.upgrade": self._starting(
                lambda tell, a: changes.upgrade(tell, Path(a.binaries) if a.binaries else None)
            ),
            "replicas.progress": self._progress,
            "replicas.list": self._list,
        }

    async def report(self) -> ReplicaSetReport:
        """For the status."""
        return ReplicaSetReport(
            now=explain(await self._database.standing()),
            last_failover=self.last_failover() or "none was noted",
            change=self._lines[-1] if self._is_running and self._lines else "",
        )

    def last_failover(self) -> str:
        """The last change of leader in a sentence; empty when none was noted."""
        kept = read_failovers(self._state.failovers)
        return describe_failover(kept[-1]) if kept else ""

    @property
    def _is_running(self) -> bool:
        return self._running is not None and not self._running.done()

    def _starting(self, work: Callable[[Tell, Asked], Awaitable[str]]) -> Action:
        async def start(asked: Answer) -> Answer:
            arguments = read_arguments(asked, Asked)
            if not self._database.is_here:
                raise UsageError("The members run elsewhere and are changed there.")
            if self._is_running:
                raise PlatformError("The replica set is being changed already.", hint="See: troth status")
            self._lines, self._failed = [], ""
            self._running = asyncio.create_task(self._run(work, arguments), name="change of the replica set")
            return {"started": True}

        return start

    async def _run(self, work: Callable[[Tell, Asked], Awaitable[str]], asked: Asked) -> None:
        try:
            self._tell(await work(self._tell, asked))
        except TrothError as error:
            self._failed = in_words(error)
        except Exception as error:
            self._failed = f"It failed: {error or type(error).__name__}"
            raise

    def _tell(self, line: str) -> None:
        self._lines = [*self._lines, line][-_LINES:]

    async def _progress(self, asked: Answer) -> Answer:
        seen = read_arguments(asked, Since).seen
        return {"lines": self._lines[seen:], "done": not self._is_running, "failed": self._failed}

    async def _list(self, _: Answer) -> Answer:
        members = await self._database.report()
        kept = read_failovers(self._state.failovers)
        return {
            "members": msgspec.to_builtins(members),
            "standing": explain(await self._database.standing()),
            "failovers": msgspec.to_builtins(kept),
        }

    async def _stop(self) -> None:
        """A change under way is given up when the platform stops; what it had begun is undone or finished at
        the next start."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
