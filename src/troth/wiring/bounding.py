"""The keeper measures the bound: twice a minute it begins a session of the probes' member, ends it, and asks
every web instance, past the edge, until it refuses.

The session is begun as the web service does it after a sign-in, without a password: hashing one each time
would cost more than all the rest. Nothing is kept but milliseconds, and those of the last hour alone.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import msgspec

from troth.access.accounts.people import Accounts
from troth.access.bound import Hearing, Measurement, Ring, Trial, Watched, deaf, slowest, until_refused
from troth.access.errors import NoSession
from troth.access.sessions import Sessions
from troth.access.tenants import Domain, DomainDirectory
from troth.core.clock import SystemClock
from troth.core.db import Database
from troth.core.errors import PlatformError, Unavailable
from troth.core.leader import client_context
from troth.core.names import SESSION_COOKIE
from troth.core.state import State
from troth.data.epochs import open_epochs
from troth.data.keys import KeyRing, Sealer
from troth.data.roles import APP
from troth.hosting.edge_state import WEB
from troth.wiring.certificates import Certificates
from troth.wiring.database import DatabasePart
from troth.wiring.declaration import CANARIES, PROBE_DOMAIN, PROBE_MEMBER
from troth.wiring.services import KEEPER, ServicesPart

EVERY_SECONDS = 30.0
_ASK_SECONDS = 5.0
_HEAR_SECONDS = 1.0
"""`troth status` waits for it."""

_SERVING = ("ready", "suspect", "failed")
_FEED_PATH = "/internal/feed"

Ask = Callable[[], Awaitable[int]]


class _Answer(msgspec.Struct):
    """Of `/internal/feed`."""

    lively: bool
    silent_seconds: float | None = None


class _Held(msgspec.Struct):
    """A session that is about to end."""

    domain: Domain
    cookie: str
    sessions: Sessions

    async def end(self) -> None:
        await self.sessions.end(self.domain, self.cookie)


class Bounding:
    """Measures once for each call of `measure`, and keeps what it saw."""

    def __init__(
        self, state: State, certificates: Certificates, database: DatabasePart, services: ServicesPart
    ) -> None:
        self._state = state
        self._certificates = certificates
        self._database = database
        self._services = services
        self._clock = SystemClock()
        self._ring = Ring()

    async def measure(self) -> str:
        """One measurement; a sentence when there was none, or nobody refused. While the database has no
        leader nobody can sign out, and there is nothing to measure."""
        try:
            async with self._session() as held, self._instances() as instances:
                measured = await self._try(held, instances)
        except (Unavailable, NoSession) as error:
            return f"not measured: {error.public}"
        if measured is None:
            return "not measured: no instance of the web service could be asked"
        self._ring.add(measured)
        return "an instance did not refuse an ended session" if measured.refused is None else ""

    async def watched(self) -> Watched:
        """The bound so far, and how every instance hears now."""
        async with self._instances() as instances:
            return Watched(self._ring.bound(), await _hear(instances))

    async def _try(self, held: _Held, instances: "tuple[_Instance, ...]") -> Measurement | None:
        # 1. Every instance accepts, and what it may remember of the session it remembers now.
        asks = await _willing(instances, held.cookie)
        before = await _hear(instances)
        # 2. The clock runs from the commit that the person is told of.
        await held.end()
        ended = time.monotonic()
        trials = await asyncio.gather(*(until_refused(name, ask, ended) for name, ask in asks))
        # 3. Who heard nothing in all that time must not have accepted at all.
        silent = deaf(before, await _hear(instances))
        return slowest(self._clock.now(), _known(trials), silent)

    @asynccontextmanager
    async def _session(self) -> AsyncGenerator[_Held]:
        """Ended in any case."""
        database = await Database.open(self._database.target(APP), max_size=1)
        try:
            sealer = Sealer(KeyRing(database, open_epochs(self._state.root_key)))
            directory = DomainDirectory(database, self._clock, port=self._services.face.https_port)
            domain = await directory.find(PROBE_DOMAIN)
            person = await Accounts(database, sealer).find(domain.name, domain.tenant_id, PROBE_MEMBER)
            if person is None:
                raise PlatformError("The probes' member is missing.", hint="Run `troth down` and `troth up`.")
            sessions = Sessions(database, sealer)
            held = _Held(domain, (await sessions.begin(domain, person.id)).token, sessions)
            try:
                yield held
            finally:
                await held.end()
        finally:
            await database.close()

    @asynccontextmanager
    async def _instances(self) -> "AsyncGenerator[tuple[_Instance, ...]]":
        """A way to each web instance, as the edge has one: over mutual TLS, as one of its callers."""
        files = self._certificates.files(KEEPER)
        context = client_context(self._certificates.ca("instances"), files.certificate, files.key)
        authority = self._services.face.origin(PROBE_DOMAIN).removeprefix("https://")
        async with AsyncExitStack() as stack:
            opened: list[_Instance] = []
            for view in self._services.instances():
                if view.service == WEB and view.phase in _SERVING:
                    client = httpx.AsyncClient(
                        base_url=f"https://{view.endpoint}",
                        headers={"Host": authority},
                        verify=context,
                        trust_env=False,
                    )
                    opened.append(_Instance(view.name, await stack.enter_async_context(client)))
            yield tuple(opened)


class _Instance:
    """One instance of the web service."""

    def __init__(self, name: str, client: httpx.AsyncClient) -> None:
        self.name = name
        self._client = client

    async def hear(self) -> Hearing | None:
        """How its feed does; None when it does not answer."""
        answer = await self._get(_FEED_PATH, {}, seconds=_HEAR_SECONDS)
        if answer is None or answer.status_code != 200:
            return None
        told = msgspec.json.decode(answer.content, type=_Answer)
        return Hearing(self.name, told.lively, told.silent_seconds)

    async def token(self, cookie: str) -> str | None:
        """The access token of the session; None when there is none to be had here."""
        answer = await self._get(
            "/session/token", {"Cookie": f"{SESSION_COOKIE}={cookie}", "Sec-Fetch-Site": "same-origin"}
        )
        if answer is None or answer.status_code != 200:
            return None
        return str(answer.json()["access_token"])

    def asks(self, cookie: str, token: str) -> tuple[Ask, Ask]:
        """What its memory may answer, and what the database answers at every use."""
        return (
            lambda: self._status("/session", {"Cookie": f"{SESSION_COOKIE}={cookie}"}),
            lambda: self._status(f"/api/v1/{CANARIES}?limit=1", {"Authorization": f"Bearer {token}"}),
        )

    async def _status(self, path: str, headers: dict[str, str]) -> int:
        answer = await self._get(path, headers)
        return 0 if answer is None else answer.status_code

    async def _get(
        self, path: str, headers: dict[str, str], *, seconds: float = _ASK_SECONDS
    ) -> httpx.Response | None:
        """None for an instance that is going, or gone."""
        try:
            return await self._client.get(path, headers=headers, timeout=seconds)
        except httpx.TransportError:
            return None


async def _willing(instances: tuple[_Instance, ...], cookie: str) -> list[tuple[str, Ask]]:
    """The questions that are answered 200 while the session lives, all on connections that stand then."""
    tokens = await asyncio.gather(*(one.token(cookie) for one in instances))
    asks = [
        (one.name, ask)
        for one, token in zip(instances, tokens, strict=True)
        if token is not None
        for ask in one.asks(cookie, token)
    ]
    statuses = await asyncio.gather(*(ask() for _, ask in asks))
    return [ask for ask, status in zip(asks, statuses, strict=True) if status == 200]


async def _hear(instances: tuple[_Instance, ...]) -> tuple[Hearing, ...]:
    heard = await asyncio.gather(*(one.hear() for one in instances))
    return tuple(one for one in heard if one is not None)


def _known(trials: list[Trial | None]) -> tuple[Trial, ...]:
    return tuple(trial for trial in trials if trial is not None)
