"""The keeper's watch over the database members: it sees one die or hang, fences it, and gives up its lead.

Patroni alone would wait for the lease of 20 seconds. Here the end of a PostgreSQL is seen at once (pidfd), a
hang within seconds (`data.vitals` says what is one), and the others may elect as soon as nothing of the old
leader can write any more: SIGKILL has reached every one of its processes before its lead is given up.
"""

import asyncio
import logging
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from troth.core.clock import Clock
from troth.core.errors import PlatformError
from troth.core.leader import DatabaseTarget
from troth.data.failovers import Failover
from troth.data.patroni import Command
from troth.data.pulse import Pulse
from troth.data.replicas import Member, ReplicaSet
from troth.data.settling import settle
from troth.data.vitals import Answer, Look, Motion, Part, Seen, find_hang, is_suspect
from troth.hosting import processes
from troth.hosting.motion import EndWatch, activity, family, working_in
from troth.hosting.processes import Process

EVERY = 1.0
"""Seconds between two looks at a member that answers."""

AGAIN = 0.1
"""Seconds until the next look at one that was silent."""

RELEASE_SECONDS = 25.0
"""How long a lead is tried to be given up while the consensus store is silent; its lease is over by then."""

_LOOKS = 12
_RELEASE_GAP = 0.5
_log = logging.getLogger(__name__)


class Hands(msgspec.Struct, frozen=True):
    """What the watch may do. `server` is the first process of a member's Patroni here, None while there is
    none; `fence` ends a member with SIGKILL, PostgreSQL included; `release` gives up a dead member's lead and
    says whether it had it; `note` is told of each change of leader that has settled."""

    server: Callable[[Member], int | None]
    fence: Callable[[Member], None]
    release: Callable[[str], Awaitable[bool]]
    note: Callable[[Failover], None]


class MemberWatch:
    """Looks at every member in a loop of its own. `start` it once the set takes writes; `close` it before the
    members are stopped."""

    def __init__(
        self, replicas: ReplicaSet, command: Command, target: DatabaseTarget, hands: Hands, clock: Clock
    ) -> None:
        self.leader: str | None = None
        self.damaged: set[str] = set()
        """Members with pages that fail their checksum, until they have a new copy."""
        self._replicas, self._command, self._target = replicas, command, target
        self._hands, self._clock = hands, clock
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._errands: set[asyncio.Task[Any]] = set()
        self._ends: dict[str, EndWatch] = {}
        self._beats: dict[str, float] = {}
        self._causes: dict[str, str] = {}
        self._settling = False

    def start(self) -> None:
        """Begin to look at members that are not looked at yet."""
        for member in self._replicas.members:
            if member.name not in self._loops:
                self._loops[member.name] = asyncio.create_task(self._watch(member), name=f"see {member.name}")

    async def follow(self, replicas: ReplicaSet, target: DatabaseTarget) -> None:
        """The set has other members now."""
        self._replicas, self._target = replicas, target
        present = {member.name for member in replicas.members}
        gone = [self._loops.pop(name) for name in tuple(self._loops) if name not in present]
        await _cancelled(gone)
        self.start()

    async def close(self) -> None:
        """Look no more."""
        await _cancelled([*self._loops.values(), *self._errands])
        self._loops.clear()
        for end in self._ends.values():
            end.close()
        self._ends.clear()

    def expect(self, cause: str) -> None:
        """The next change of leader has this cause: somebody asked for it."""
        self._causes["*"] = cause

    def member_ended(self, name: str, words: str) -> None:
        """Patroni and PostgreSQL of a member are both gone, unasked."""
        self._causes.setdefault(name, f"{name} {words}")
        self._errand(self._give_up(name, (), time.monotonic()))

    async def _watch(self, member: Member) -> None:
        looks: deque[Look] = deque(maxlen=_LOOKS)
        pulse = Pulse(self._target, member.postgres)
        try:
            while True:
                try:
                    pause = await self._look(member, pulse, looks)
                except Exception:  # noqa: BLE001 - a defect of the watch must not end it
                    _log.exception("%s could not be looked at", member.name)
                    pause = EVERY
                await asyncio.sleep(pause)
        finally:
            pulse.close()

    async def _look(self, member: Member, pulse: Pulse, looks: deque[Look]) -> float:
        """One look, and what follows from it; returns the seconds until the next."""
        self._watch_server(member)
        beat, rest = await asyncio.gather(pulse.ask(), self._command.answers(member))
        if beat.leads:
            self._note_leader(member.name)
        if beat.damaged and member.name not in self.damaged:
            _log.error("%s: pages of its data fail their checksum (%d so far)", member.name, beat.damaged)
            self.damaged.add(member.name)
        if "silent" in (beat.answer, rest):
            looks.append(await asyncio.to_thread(self._see, member, beat.answer, rest))
        else:
            looks.append(Look(time.monotonic(), Seen(beat.answer), Seen(rest)))
        if not is_suspect(looks[-1]):
            return EVERY
        part = find_hang(looks)
        if part is None:
            return AGAIN
        looks.clear()
        self._fence(member, part)
        return EVERY

    def _see(self, member: Member, postgres: Answer, patroni: Answer) -> Look:
        def seen(answer: Answer, pid: int | None) -> Seen:
            if answer != "silent" or pid is None:
                return Seen(answer)
            found = activity(family(pid))
            return Seen(answer, Motion(found.stopped, found.counts, found.waiting))

        server = postmaster(member.data)
        return Look(
            time.monotonic(),
            seen(postgres, server.pid if server else None),
            seen(patroni, self._hands.server(member)),
        )

    def _fence(self, member: Member, part: Part) -> None:
        _log.error("%s of %s hangs; the member is ended and started again", part, member.name)
        self._causes[member.name] = f"{part} of {member.name} hung"
        self._hands.fence(member)

    def _note_leader(self, name: str) -> None:
        self._beats[name] = time.monotonic()
        before, self.leader = self.leader, name
        if before not in (None, name) and not self._settling:
            self._errand(self._settle(before or "", self._beats.get(before or "", time.monotonic())))

    def _watch_server(self, member: Member) -> None:
        """Have the end of this member's PostgreSQL told, whichever process it is by now."""
        known = self._ends.get(member.name)
        server = postmaster(member.data)
        if server is None or (known is not None and known.process == server):
            return
        if known is not None:
            known.close()
        try:
            self._ends[member.name] = EndWatch(server, lambda: self._server_ended(member, server))
        except OSError:  # it has ended in between
            self._ends.pop(member.name, None)

    def _server_ended(self, member: Member, server: Process) -> None:
        """PostgreSQL is gone, killed or stopped. Its children may outlive it for moments: were one of them to
        confirm a write after the next leader is elected, that write would be lost."""
        began = time.monotonic()
        self._ends.pop(member.name, None)
        if self._replicas.is_replicated and self.leader == member.name and _crashed(member.data, server):
            # The others would ask its Patroni before they elect, which takes it more than a second now.
            self._causes.setdefault(member.name, f"PostgreSQL of {member.name} was killed")
            self._hands.fence(member)
        orphans = working_in(member.data)
        for one in orphans:
            processes.send(one, signal.SIGKILL)
        if self._replicas.is_replicated:
            self._errand(self._give_up(member.name, orphans, began))

    async def _give_up(self, name: str, orphans: tuple[Process, ...], began: float) -> None:
        """The lead of a member that can write no more, if it had it."""
        left = await asyncio.to_thread(processes.wait_until_gone, orphans, 5.0)
        if left:
            _log.error("%s left processes behind that do not end", name)
        if not await self._released(name):
            if not self._settling:
                self._causes.pop(name, None)
            return
        _log.warning("%s led and cannot write any more; its lead was given up on its behalf", name)
        self.leader = None if self.leader == name else self.leader
        if not self._settling:
            cause = self._causes.setdefault(name, f"PostgreSQL of {name} stopped")
            hung = cause.endswith("hung")
            await self._settle(name, self._beats.get(name, began) if hung else began)

    async def _released(self, name: str) -> bool:
        deadline = time.monotonic() + RELEASE_SECONDS
        while True:
            try:
                return await self._hands.release(name)
            except PlatformError as error:
                if time.monotonic() > deadline:
                    _log.error("the lead of %s could not be given up: %s", name, error.public)
                    return False
            await asyncio.sleep(_RELEASE_GAP)

    async def _settle(self, old: str, began: float) -> None:
        """Wait for the next leader's first confirmed write, and note the change."""
        self._settling, noticed = True, self._clock.now()
        try:
            endpoint = await settle(self._target)
        finally:
            self._settling = False
        new = next((one.name for one in self._replicas.members if one.postgres == endpoint), "nobody")
        self.leader = new if endpoint else self.leader
        planned, own = self._causes.pop("*", None), self._causes.pop(old, None)
        failover = Failover(
            noticed=noticed,
            cause=planned or own or f"{old} lost its lead",
            old=old,
            new=new,
            seconds=round(time.monotonic() - began, 2) if endpoint else None,
        )
        if new != old:
            self._hands.note(failover)

    def _errand(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._errands.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a change of leader was not followed to its end", exc_info=error)


def postmaster(data: Path) -> Process | None:
    """The first process of the PostgreSQL that runs in this folder. A number alone says nothing, since
    another process may have it by now: it counts when that process stands in the folder."""
    try:
        found = processes.read(int((data / "postmaster.pid").read_text().split("\n", 1)[0]))
        stands = found is not None and Path(f"/proc/{found.pid}/cwd").samefile(data)
    except (OSError, ValueError):
        return None
    return found if stands else None


def _crashed(data: Path, server: Process) -> bool:
    """Whether a PostgreSQL that has ended did not stop by itself: that would have removed its pid file."""
    try:
        return int((data / "postmaster.pid").read_text().split("\n", 1)[0]) == server.pid
    except (OSError, ValueError):
        return False


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
