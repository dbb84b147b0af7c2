"""What the keeper says to the database members: Patroni's REST interface over mutual TLS."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Literal, cast

import httpx
import msgspec

from troth.core.asking import HEAD_BYTES, ask, close
from troth.core.asking import Answer as PlainAnswer
from troth.core.errors import PlatformError
from troth.core.leader import SecureContext
from troth.data.replicas import Member, ReplicaSet, shared_settings
from troth.data.vitals import Answer

Role = Literal["leader", "sync_standby", "quorum_standby", "replica"]

_ASK_SECONDS = 2.0
_LOOK_SECONDS = 1.0
_LATELY_SECONDS = 1.5
_HAND_OVER_SECONDS = 30.0
_POLL_SECONDS = 0.2
_SETTINGS_SECONDS = 30.0


class MemberStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One member as the cluster sees it. `lag` is in bytes, `replayed` a place in the log (LSN); None when it
    is not known."""

    name: str
    role: Role
    state: str
    timeline: int | None = None
    lag: int | None = None
    replayed: str | None = None

    @property
    def is_running(self) -> bool:
        return self.state in ("running", "streaming")


class Command:
    """Asks and commands the members. Make it, use it from one event loop, `close` it."""

    def __init__(self, replicas: ReplicaSet) -> None:
        self._replicas = replicas
        leaf = replicas.consensus_client
        self._context = SecureContext(replicas.server_authority, leaf.certificate, leaf.key)
        self._http: httpx.AsyncClient | None = None
        self._spoke: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[tuple[MemberStatus, ...] | None]] = {}

    async def close(self) -> None:
        """End all connections, after the questions under way have been answered or have timed out."""
        await asyncio.gather(*self._asking.values())
        await self._disconnect()

    async def _disconnect(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def status(self) -> tuple[MemberStatus, ...]:
        """All members, as the first one to answer knows them. Raises PlatformError when none answers."""
        for answer in asyncio.as_completed([self._ask(member) for member in self._replicas.members]):
            members = await answer
            if members is not None:
                return members
        raise PlatformError(
            "No database member answers.", hint=f"Look into the logs in {self._replicas.logs}."
        )

    async def wait_until_ready(self, *, seconds: float) -> tuple[MemberStatus, ...]:
        """Wait for a leader and, in a replicated set, for a standby that acknowledges its writes.

        Raises PlatformError after `seconds`.
        """
        condition = is_ready(self._replicas)
        seen: tuple[MemberStatus, ...] = ()
        try:
            async with asyncio.timeout(seconds):
                while True:
                    seen = await _or_nothing(self.status())
                    if condition(seen):
                        return seen
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise PlatformError(
                f"The database did not take writes within {seconds:.0f} seconds: {describe(seen)}.",
                hint=f"Look into the logs in {self._replicas.logs}.",
            ) from None

    async def apply_settings(self, *, seconds: float = _SETTINGS_SECONDS) -> None:
        """Bring the settings in the consensus store to those of this start (another number of members).

        A leader of a new consensus store may say 503 for a round of its loop: it leads before it has written
        the first settings there. Raises PlatformError when no member takes them within `seconds`.
        """
        answer: httpx.Response | None = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    answer = await self._first("PATCH", "config", shared_settings(self._replicas))
                    if answer is not None and answer.status_code == 200:
                        return
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise PlatformError(
                "The database members did not take their settings.", detail=_said(answer)
            ) from None

    async def reload(self, member: Member) -> None:
        """Have Patroni and its PostgreSQL read their certificates again. Raises PlatformError."""
        answer = await self._send(member, "POST", "reload", None, seconds=_ASK_SECONDS)
        if answer is None or answer.status_code not in (200, 202):
            raise PlatformError(f"{member.name} did not reload its certificates.", detail=_said(answer))

    async def answers(self, member: Member) -> Answer:
        """Whether this member's Patroni answers at all, whatever it says; silent after a second. It is not
        asked when it has just answered something else: each question is a handshake."""
        if time.monotonic() - self._spoke.get(member.name, -_LATELY_SECONDS) < _LATELY_SECONDS:
            return "answers"
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._get(member, "/liveness")
        except TimeoutError:
            return "silent"
        except (OSError, EOFError, ValueError):
            return "refuses"
        return "answers"

    async def hand_over(self, leader: Member, candidate: Member) -> None:
        """Have a living leader hand its lead over; returns once it has. Raises PlatformError."""
        wanted = {"leader": leader.name, "candidate": candidate.name}
        answer = await self._send(leader, "POST", "switchover", wanted, seconds=_HAND_OVER_SECONDS)
        if answer is None or answer.status_code != 200:
            raise PlatformError(
                f"{leader.name} did not hand its lead over to {candidate.name}.", detail=_said(answer)
            )

    def follow(self, replicas: ReplicaSet) -> None:
        """The set has other members now."""
        self._replicas = replicas

    def _ask(self, member: Member) -> asyncio.Task[tuple[MemberStatus, ...] | None]:
        """One question at a time to each member, whoever asks. It is never cancelled, only timed out."""
        task = self._asking.get(member.name)
        if task is None or task.done():
            task = asyncio.create_task(self._cluster(member))
            self._asking[member.name] = task
        return task

    async def _cluster(self, member: Member) -> tuple[MemberStatus, ...] | None:
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                answer = await self._get(member, "/cluster")
            if answer.status != 200:
                return None
            return read_cluster(msgspec.json.decode(answer.body), self._replicas)
        except (OSError, EOFError, ValueError, TimeoutError, msgspec.DecodeError):
            return None

    async def _get(self, member: Member, path: str) -> PlainAnswer:
        """One question on a connection of its own: Patroni ends each after its answer. Asked every second,
        and therefore not by way of httpx."""
        rest = member.rest
        context = self._context.current()
        streams = await asyncio.open_connection(
            rest.host, rest.port, ssl=context, server_hostname=rest.host, limit=HEAD_BYTES
        )
        try:
            answer = await ask(streams, str(rest), path)
            self._spoke[member.name] = time.monotonic()
            return answer
        finally:
            close(streams)

    async def _first(self, method: str, path: str, body: object) -> httpx.Response | None:
        answer: httpx.Response | None = None
        for member in self._replicas.members:
            answer = await self._send(member, method, path, body, seconds=_ASK_SECONDS)
            if answer is not None and answer.status_code == 200:
                return answer
        return answer

    async def _send(
        self, member: Member, method: str, path: str, body: object, *, seconds: float
    ) -> httpx.Response | None:
        """The answer, or None when there is none: a member that is down is a normal state of affairs."""
        try:
            http = await self._client()
            return await http.request(method, f"https://{member.rest}/{path}", json=body, timeout=seconds)
        except (httpx.HTTPError, OSError):
            return None

    async def _client(self) -> httpx.AsyncClient:
        if self._http is None or self._context.renewed():
            await self._disconnect()
            limits = httpx.Limits(max_connections=8, max_keepalive_connections=4, keepalive_expiry=10)
            self._http = httpx.AsyncClient(verify=self._context.current(), limits=limits, trust_env=False)
        return self._http


def read_cluster(answer: object, replicas: ReplicaSet) -> tuple[MemberStatus, ...]:
    """Patroni's `/cluster` document, or nothing when it has another shape.

    After a crash the store still tells of the members as they were. Each start has ports of its own, so an
    entry with another port is such a memory: its state reads `starting`. One that has left the set is in
    that memory for a while too, and is left out.
    """
    members = cast("dict[str, object]", answer).get("members") if isinstance(answer, dict) else None
    if not isinstance(members, list):
        return ()
    ports = {member.name: member.postgres.port for member in replicas.members}
    told = (_read_member(cast("dict[str, object]", entry), ports) for entry in cast("list[object]", members))
    return tuple(member for member in told if member.name in ports)


def _read_member(entry: dict[str, object], ports: dict[str, int]) -> MemberStatus:
    timeline, lag, replayed = entry.get("timeline"), entry.get("lag"), entry.get("replay_lsn")
    role = str(entry.get("role", "replica"))
    name = str(entry.get("name", ""))
    is_present = entry.get("port") == ports.get(name)
    return MemberStatus(
        name=name,
        role=cast("Role", role) if role in ("leader", "sync_standby", "quorum_standby") else "replica",
        state=str(entry.get("state", "unknown")) if is_present else "starting",
        timeline=timeline if isinstance(timeline, int) else None,
        lag=lag if isinstance(lag, int) else None,
        replayed=replayed if isinstance(replayed, str) and is_present else None,
    )


def is_ready(replicas: ReplicaSet) -> "Callable[[tuple[MemberStatus, ...]], bool]":
    """A leader runs, and in a replicated set at least one standby acknowledges its writes."""

    def holds(members: tuple[MemberStatus, ...]) -> bool:
        leads = any(member.role == "leader" and member.is_running for member in members)
        follows = any(
            member.role in ("quorum_standby", "sync_standby") and member.is_running for member in members
        )
        return leads and (follows or not replicas.is_replicated)

    return holds


def describe(members: tuple[MemberStatus, ...]) -> str:
    """One line for a person: who leads, who follows, how far behind."""
    if not members:
        return "no member answers"
    return ", ".join(
        f"{member.name} {member.role.replace('_', ' ')} ({member.state}"
        + (f", {member.lag} bytes behind)" if member.lag else ")")
        for member in members
    )


async def _or_nothing(
    asked: "Awaitable[tuple[MemberStatus, ...]]",
) -> tuple[MemberStatus, ...]:
    try:
        return await asked
    except PlatformError:
        return ()


def _said(answer: httpx.Response | None) -> str:
    return "no answer" if answer is None else f"{answer.status_code} {answer.text[:200]}"
