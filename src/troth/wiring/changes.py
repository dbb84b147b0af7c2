"""Changes of the running replica set that somebody asked for: hand the lead over, add, remove, upgrade.

One at a time, and each in an order in which an acknowledged write is on the disk of the leader and of a
standby at every moment. Only a set that becomes, or is, a single member has no standby to be on.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from troth.core.errors import PlatformError, UsageError
from troth.data.consensus import consensus_is_ready
from troth.data.postgres import find_binaries
from troth.data.replicas import Member
from troth.data.roles import SUPERUSER
from troth.data.settling import settle
from troth.hosting.plan import Tell
from troth.wiring.database import DatabasePart
from troth.wiring.places import forget_copy, forget_member

COPY_SECONDS = 3600.0
"""For a new member to have copied the database."""

RETURN_SECONDS = 120.0
"""For a member that was restarted to confirm writes again."""

_GAP = 0.2


class Changes:
    """Works on the set of a running platform."""

    def __init__(self, database: DatabasePart) -> None:
        self._database = database
        self._one_at_a_time = asyncio.Lock()

    @property
    def is_under_way(self) -> bool:
        """Whether something is being changed, or a drill keeps a member out of service."""
        return self._one_at_a_time.locked()

    async def switch_over(self, tell: Tell, candidate: str = "") -> str:
        """Hand the lead to a standby. Raises UsageError for one that cannot take it, PlatformError."""
        async with self._one_at_a_time:
            return await self._switch_over(tell, candidate)

    async def add(self, tell: Tell) -> str:
        """One more member, which copies the database from the leader. Raises UsageError when there are
        enough, PlatformError when it does not come to confirm writes; it is gone again then."""
        async with self._one_at_a_time:
            return await self._add(tell)

    async def remove(self, tell: Tell, name: str = "") -> str:
        """One member less: the one named, else the newest standby. Its copy of the data is deleted once the
        others have confirmed a write without it. Raises UsageError, PlatformError."""
        async with self._one_at_a_time:
            return await self._remove(tell, name)

    async def upgrade(self, tell: Tell, binaries: Path | None = None) -> str:
        """Restart every member, one after the other and the leader last, with the programs of this folder or
        of the one in use. Raises ConfigError, PlatformError."""
        async with self._one_at_a_time:
            return await self._upgrade(tell, binaries)

    async def copy_anew(self, name: str) -> None:
        """Delete the copy of a standby that is no use, and have it copy the database from the leader again.
        Returns once it has begun. Raises PlatformError when nobody else leads or the consensus store is
        away, for then it would have nothing to copy."""
        async with self._one_at_a_time:
            database = self._database
            member = database.replicas.member(name)
            client = database.replicas.consensus_client
            if await self._leader() == member or not await consensus_is_ready(database.consensus, client):
                raise PlatformError(f"There is nobody whom {name} could copy now; it keeps what it has.")
            await database.stop_member(name)
            try:
                await asyncio.to_thread(forget_copy, member.folder)
            finally:
                database.start_member(member)

    async def relieve(self, name: str, successor: str, cause: str) -> None:
        """Hand the lead over from a leader that should not go on for this cause. Raises UsageError when the
        successor cannot take it, PlatformError."""
        async with self._one_at_a_time:
            if (await self._leader()).name == name:
                await self._switch_over(_say_nothing, successor, cause)

    def end(self, name: str, cause: str) -> None:
        """End a leader that cannot stop in order any more, with SIGKILL: another takes over at once."""
        self._database.watch.expect(cause)
        self._database.fence(self._database.replicas.member(name))

    @asynccontextmanager
    async def without_standby(self) -> AsyncGenerator[str]:
        """A standby is out of service for as long as the block lasts; yields its name. Raises PlatformError
        when there is none to spare, and when it does not come back."""
        async with self._one_at_a_time:
            confirming = sorted(await self._database.streaming())
            if len(confirming) < 2:
                raise PlatformError(
                    "There is no standby to spare.", hint="Three members have one: troth up --members 3"
                )
            member = self._database.replicas.member(confirming[-1])
            await self._database.stop_member(member.name)
            try:
                yield member.name
            finally:
                self._database.start_member(member)
                await self._confirms(member.name, RETURN_SECONDS)

    async def _switch_over(self, tell: Tell, candidate: str, cause: str = "") -> str:
        leader = await self._leader()
        standbys = sorted(await self._database.streaming() - {leader.name})
        chosen = candidate or (standbys[0] if standbys else "")
        if chosen == leader.name:
            return f"{leader.name} leads already"
        if chosen not in standbys:
            if not standbys:
                raise UsageError("There is no standby that confirms writes and could take the lead.")
            raise UsageError(
                f"{chosen} cannot take the lead: it does not confirm writes.",
                hint=f"Those that can: {', '.join(standbys)}",
            )
        tell(f"{leader.name} hands its lead to {chosen}")
        self._database.watch.expect(cause or f"{leader.name} handed its lead over on request")
        replicas = self._database.replicas
        await self._database.command.hand_over(replicas.member(leader.name), replicas.member(chosen))
        await self._writes()
        return f"{(await self._leader()).name} leads"

    async def _add(self, tell: Tell) -> str:
        database = self._database
        if not database.free_names:
            raise UsageError("The set has as many members as it can have.")
        member = database.describe_member(database.free_names[0])
        tell(f"{member.name} copies the database from the leader")
        members = (*database.replicas.members, member)
        await database.adopt(msgspec.structs.replace(database.replicas, members=members))
        database.start_member(member)
        try:
            await self._follows(member.name)
            tell("writes are to wait for it")
            await database.command.apply_settings()
            await self._confirms(member.name, RETURN_SECONDS)
        except BaseException:
            await asyncio.shield(self._let_go(member))
            raise
        return f"{member.name} confirms writes; the set has {len(members)} members"

    async def _remove(self, tell: Tell, name: str) -> str:
        database = self._database
        member = await self._chosen(name)
        rest = tuple(one for one in database.replicas.members if one != member)
        if not rest:
            raise UsageError("The last member cannot be removed.", hint="Stop the platform: troth down")
        left = {one.name for one in rest}
        if (await self._leader()).name == member.name:
            able = sorted(await database.streaming() & left)
            await self._switch_over(tell, able[0] if able else "")
        if len(rest) > 1 and not await database.streaming() & left:
            raise PlatformError("No other standby confirms writes; nothing was removed.")
        tell(f"{member.name} stops")
        await self._let_go_safely(member, rest)
        tell(f"its copy of the data is deleted from {member.folder}")
        await asyncio.to_thread(forget_member, member.folder)
        return f"{member.name} is gone; the set has {len(rest)} members"

    async def _let_go_safely(self, member: Member, rest: tuple[Member, ...]) -> None:
        """The member leaves once the others have confirmed a write without it; else it is back."""
        database, before = self._database, self._database.replicas
        after = msgspec.structs.replace(before, members=rest)
        database.command.follow(after)
        await database.command.apply_settings()
        await database.stop_member(member.name)
        if await settle(database.target(SUPERUSER), RETURN_SECONDS) is None:
            database.command.follow(before)
            database.start_member(member)
            raise PlatformError(f"The others confirm no writes without {member.name}; it was started again.")
        await database.adopt(after)

    async def _upgrade(self, tell: Tell, binaries: Path | None) -> str:
        database = self._database
        before = database.replicas
        programs = find_binaries(binaries or before.binaries.folder)
        if programs.major != before.binaries.major:
            raise UsageError(
                f"These programs are PostgreSQL {programs.major}, the data are {before.binaries.major}'s.",
                hint="Only minor releases take over data as they are.",
            )
        await database.adopt(msgspec.structs.replace(before, binaries=programs))
        leader = await self._leader()
        for member in (one for one in before.members if one.name != leader.name):
            await self._restart(tell, member)
        if before.is_replicated:
            await self._switch_over(tell, "")
        await self._restart(tell, leader)
        return f"{len(before.members)} members run PostgreSQL {programs.major}.{programs.minor}"

    async def _restart(self, tell: Tell, member: Member) -> None:
        tell(f"{member.name} starts again")
        await self._database.stop_member(member.name)
        self._database.start_member(member)
        if self._database.replicas.is_replicated:
            await self._confirms(member.name, RETURN_SECONDS)
        else:
            await self._writes()

    async def _chosen(self, name: str) -> Member:
        members = self._database.replicas.members
        if name:
            found = [one for one in members if one.name == name]
            if not found:
                raise UsageError(f"There is no member {name[:60]!r}.", hint=f"There are: {_names(members)}")
            return found[0]
        leader = await self._leader()
        return next((one for one in reversed(members) if one != leader), leader)

    async def _let_go(self, member: Member) -> None:
        """Undo an addition: nobody has waited for this member yet, or somebody else confirms as well."""
        database = self._database
        rest = tuple(one for one in database.replicas.members if one != member)
        await database.stop_member(member.name)
        await database.adopt(msgspec.structs.replace(database.replicas, members=rest))
        await database.command.apply_settings()
        await asyncio.to_thread(forget_member, member.folder)

    async def _leader(self) -> Member:
        """Raises PlatformError when nobody leads."""
        for one in await self._database.report():
            if one.role == "leader" and one.is_running:
                return self._database.replicas.member(one.name)
        raise PlatformError("Nobody leads at present.", hint="See: troth status")

    async def _writes(self) -> None:
        if await settle(self._database.target(SUPERUSER)) is None:
            raise PlatformError("No write was confirmed within a minute.", hint="See: troth status")

    async def _follows(self, name: str) -> None:
        async def follows() -> bool:
            return any(one.name == name and one.is_running for one in await self._database.report())

        await _until(follows, COPY_SECONDS, f"{name} did not copy the database")

    async def _confirms(self, name: str, seconds: float) -> None:
        async def confirms() -> bool:
            return name in await self._database.streaming()

        await _until(confirms, seconds, f"{name} does not confirm writes")


async def _until(holds: Callable[[], Awaitable[bool]], seconds: float, otherwise: str) -> None:
    """Raises PlatformError saying so after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            while not await _or_not(holds):  # noqa: ASYNC110 - other processes set no event here
                await asyncio.sleep(_GAP)
    except TimeoutError:
        raise PlatformError(f"{otherwise} within {seconds:.0f} s.", hint="See: troth status") from None


async def _or_not(holds: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await holds()
    except PlatformError:
        return False


def _say_nothing(_: str) -> None:
    """Nobody asked."""


def _names(members: tuple[Member, ...]) -> str:
    return ", ".join(member.name for member in members)
