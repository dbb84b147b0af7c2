"""The keeper's care for members that cannot help themselves: copied anew, or relieved of the lead.

A standby that does not come back (`data.mending` says when), or whose pages fail their checksum, gets a new
copy from the leader. A leader whose disk is as good as full, or whose pages fail, hands its lead to a standby
that is better off, before PostgreSQL has to stop.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from troth.core.errors import PlatformError, TrothError
from troth.data.mending import LOW, NOTHING, Sight, describe_room, has_room, is_stuck, pause_after, roomier
from troth.data.patroni import MemberStatus
from troth.data.replicas import Member
from troth.hosting.backoff import Restart
from troth.hosting.motion import works_long
from troth.hosting.plan import Duty

EVERY_SECONDS = 3.0

LIMIT_SECONDS = 300.0
"""For a member to stop and its copy to be deleted; the new one is not waited for."""

RESTART = Restart(longest=5.0, steady=20.0)
"""A database member that ended is tried again soon, however often it has failed: as long as it is away, one
copy of each write is missing."""

_WORK_SECONDS = 2.0
_SIGHTS = 256
_log = logging.getLogger(__name__)


class MendingTools(msgspec.Struct, frozen=True):
    """What is known and done by others. `members` are those that run here; `server` is the first process of a
    member's Patroni, None while there is none; `damaged` the members with pages that fail their checksum; for
    `copy_anew`, `relieve` and `end` see `Changes`, which says while `is_changing` that somebody takes members
    out of service on purpose; `remarks` is what the status says of members. Where one member runs alone it is
    not relieved: nobody here knows whether the others are better off."""

    members: Callable[[], tuple[Member, ...]]
    report: Callable[[], Awaitable[tuple[MemberStatus, ...]]]
    server: Callable[[Member], int | None]
    damaged: set[str]
    copy_anew: Callable[[str], Awaitable[None]]
    remarks: dict[str, str]
    is_changing: Callable[[], bool]
    relieve: Callable[[str, str, str], Awaitable[None]] | None = None
    end: Callable[[str, str], None] | None = None


class Mending:
    """Looks at every member now and then. `work` is a duty of the keeper's."""

    def __init__(self, tools: MendingTools, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._tools, self._monotonic = tools, monotonic
        self._sights: dict[str, deque[Sight]] = {}
        self._copies: dict[str, tuple[int, float]] = {}

    async def work(self) -> str:
        """One look, and what follows from it; returns what was done in a sentence."""
        if self._tools.is_changing():  # members come and go, and their folders
            self._sights.clear()
            return ""
        try:
            reported = await self._tools.report()
        except TrothError:
            return ""
        leader = next((one.name for one in reported if one.role == "leader" and one.is_running), None)
        members = {one.name: one for one in self._tools.members()}
        free = {name: await asyncio.to_thread(free_bytes, one.folder) for name, one in members.items()}
        self._remark(members, free)
        if leader is None:
            self._sights.clear()
            return ""
        confirming = [
            one.name for one in reported if one.role == "quorum_standby" and one.state == "streaming"
        ]
        done = [await self._relieve(leader, free, confirming)]
        if leader not in self._tools.damaged:  # else a copy of it would fail, and the old one be gone
            states = {one.name: one for one in reported}
            for name in sorted(members.keys() - {leader}):
                done += [await self._look(members[name], members.get(leader), states.get(name), confirming)]
        return "; ".join(filter(None, done))

    async def _relieve(self, leader: str, free: Mapping[str, int], confirming: list[str]) -> str:
        relieve, end = self._tools.relieve, self._tools.end
        if relieve is None or end is None:
            return ""
        sound = [name for name in confirming if name not in self._tools.damaged]
        better = roomier(leader, free, sound)
        if leader in self._tools.damaged and sound:
            cause, successor = f"pages of {leader} fail their checksum", better or sound[0]
        elif better:
            cause, successor = f"the disk of {leader} is as good as full", better
        else:
            return ""
        if free.get(leader, LOW) < NOTHING:
            end(leader, cause)
            return f"{cause}; it was ended, and another member leads"
        try:
            await relieve(leader, successor, cause)
        except TrothError as error:
            _log.error("%s, but its lead was not handed over: %s", cause, error.public)
            return ""
        return f"{cause}; it handed its lead over"

    async def _look(
        self, member: Member, leader: Member | None, status: MemberStatus | None, confirming: list[str]
    ) -> str:
        sights = self._sights.setdefault(member.name, deque(maxlen=_SIGHTS))
        sights.append(await asyncio.to_thread(self._see, member, status))
        spare = [name for name in confirming if name != member.name]
        if member.name in self._tools.damaged and spare:
            return await self._copy_anew(member, leader, confirming, "pages of its data fail their checksum")
        if sights[-1].follows and member.name not in self._tools.damaged:
            self._copies.pop(member.name, None)
        if is_stuck(sights):
            why = f"it was {sights[-1].state} and came no further"
            return await self._copy_anew(member, leader, confirming, why)
        return ""

    def _see(self, member: Member, status: MemberStatus | None) -> Sight:
        pid = self._tools.server(member)
        return Sight(
            at=self._monotonic(),
            state=status.state if status else "missing",
            working=pid is not None and works_long(pid, _WORK_SECONDS),
            replayed=status.replayed if status else None,
        )

    async def _copy_anew(self, member: Member, leader: Member | None, confirming: list[str], why: str) -> str:
        copies, last = self._copies.get(member.name, (0, 0.0))
        if self._monotonic() - last < pause_after(copies):
            return ""
        own = await asyncio.to_thread(size, member.data)
        needed = await asyncio.to_thread(size, leader.data) if leader else own  # elsewhere: about as much
        if not has_room(own, free_bytes(member.folder), needed):
            return ""  # the remark on its disk says so
        try:
            await self._tools.copy_anew(member.name)
        except PlatformError as error:
            _log.error("%s was to copy the database anew: %s", member.name, error.public)
            return ""
        self._copies[member.name] = copies + 1, self._monotonic()
        self._tools.damaged.discard(member.name)
        self._sights.pop(member.name, None)
        if member.name in confirming:
            confirming.remove(member.name)  # nobody counts on it any more in this look
        return f"{member.name} copies the database anew: {why}"

    def _remark(self, members: Mapping[str, Member], free: Mapping[str, int]) -> None:
        """What `troth status` says of a member besides what the set knows."""
        self._tools.remarks.clear()
        for name, member in members.items():
            if name in self._tools.damaged:
                self._tools.remarks[name] = (
                    "has pages that fail their checksum, and is to copy the database anew"
                )
            if free[name] < LOW:
                self._tools.remarks[name] = describe_room(free[name], str(member.folder))


def mending_duty(tools: MendingTools) -> Duty:
    """For the keeper."""
    work = Mending(tools).work
    return Duty(name="mending of members", every=EVERY_SECONDS, work=work, limit=LIMIT_SECONDS)


def free_bytes(folder: Path) -> int:
    """What anybody but root may still write there."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def size(folder: Path) -> int:
    """Bytes of all files in a folder, as far as they stay while one looks."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(where, name).lstat().st_size
    return total
