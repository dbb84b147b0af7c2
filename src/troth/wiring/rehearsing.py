"""A spike is made on purpose, and the number of instances has to follow it up and down."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import msgspec

from troth.core.clock import Clock
from troth.core.errors import PlatformError
from troth.core.promise import Drill, Finding, Probe
from troth.core.secret import write_public
from troth.core.state import State
from troth.hosting.balancing import PROMISE, Acting, Rehearsed, drill, judge_balancing, problem_of
from troth.hosting.edge_state import WEB
from troth.hosting.promises import HostingView, look_at_instances
from troth.hosting.scaling import Past
from troth.hosting.spike import flood
from troth.wiring.declaration import PROBE_DOMAIN
from troth.wiring.scaling import Scaling, Served
from troth.wiring.services import ServicesPart

EVERY_SECONDS = 24 * 3600.0
LIMIT_SECONDS = 120.0

_PATH = "/login"
"""A page costs its instance more than the edge and the client, so that the instance is what is loaded."""

_RISE_SECONDS, _IN_VAIN_SECONDS, _FALL_SECONDS = 40.0, 6.0, 40.0
_TRICKLE = 2
_MOST_CLIENTS = 96
_GAP = 0.1


class Rehearsal:
    """Rehearses a spike of the web service: for a drill, and once a day when there is little to do."""

    def __init__(self, state: State, services: ServicesPart, scaling: Scaling, clock: Clock) -> None:
        self._state, self._services, self._scaling, self._clock = state, services, scaling, clock
        self._one_at_a_time = asyncio.Lock()

    async def work(self) -> str:
        """The daily duty. While people are at work they are not disturbed: their own load is followed."""
        one = self._scaling.served[WEB]
        if self._scaling.hindered() or one.seen is None or one.seen.in_flight > one.policy.target / 2:
            return ""
        rehearsed = await self._rehearse(one)
        if rehearsed.problem:
            raise PlatformError(f"A spike of {WEB} was rehearsed: {rehearsed.problem}")
        return f"a spike of {WEB} was followed within {rehearsed.rise_seconds:.1f} s"

    async def acting(self) -> Acting:
        """For the probe."""
        return Acting(hindered=self._scaling.hindered(), rehearsed=_read(self._state))

    def probe(self, view: HostingView) -> Probe:
        """What the drill looks with: a spike is made for each look."""

        async def look() -> Finding:
            if not self._scaling.hindered():
                await self._rehearse(self._scaling.served[WEB])
            return judge_balancing(await look_at_instances(view), await self.acting(), self._clock.now())

        return Probe(PROMISE, look)

    def drill(self, view: HostingView) -> Drill:
        """For `troth drill`."""

        async def look(rehearsed: Rehearsed) -> Finding:
            seen = await look_at_instances(view)
            return judge_balancing(seen, Acting(rehearsed=rehearsed), self._clock.now())

        return drill(look, self._in_vain)

    @asynccontextmanager
    async def _in_vain(self) -> AsyncGenerator[Rehearsed]:
        self._scaling.halted = True
        try:
            yield await self._spike(self._scaling.served[WEB], seconds=_IN_VAIN_SECONDS)
        finally:
            self._scaling.halted = False

    async def _rehearse(self, one: Served) -> Rehearsed:
        rehearsed = await self._spike(one, seconds=_RISE_SECONDS)
        write_public(self._state.rehearsal, msgspec.json.encode(rehearsed))
        return rehearsed

    async def _spike(self, one: Served, *, seconds: float) -> Rehearsed:
        """With a lull that counts after seconds, not a minute. Whatever happens, the policy is restored."""
        async with self._one_at_a_time:
            one.policy = msgspec.structs.replace(one.bounds, calm=3.0, down_rest=1.0, up_rest=3.0)
            one.past = Past()
            try:
                rehearsed = await self._up_and_down(one, seconds)
            finally:
                one.policy, one.past = one.bounds, Past()
        return msgspec.structs.replace(rehearsed, problem=problem_of(rehearsed))

    async def _up_and_down(self, one: Served, seconds: float) -> Rehearsed:
        face, before, at = self._services.face, self._serving(), self._clock.now()
        clients = min(_MOST_CLIENTS, round(2 * before * one.policy.target))
        began = time.monotonic()
        async with flood(face, PROBE_DOMAIN, _PATH, clients) as spike:
            await self._until(lambda: self._serving() > before, seconds)
            rise = time.monotonic() - began
        top, began = self._serving(), time.monotonic()
        async with flood(face, PROBE_DOMAIN, _PATH, _TRICKLE, pause=0.1) as lull:
            if top > before:
                await self._until(lambda: self._serving() <= before and not one.is_changing, _FALL_SECONDS)
            fall = time.monotonic() - began
        return Rehearsed(
            at=at,
            service=one.name,
            before=before,
            top=top,
            after=self._serving(),
            rise_seconds=round(rise, 2),
            fall_seconds=round(fall, 2),
            sent=spike.sent + lull.sent,
            failed=spike.failed + lull.failed,
        )

    def _serving(self) -> int:
        return sum(one.phase == "ready" and one.balanced for one in self._services.fleets[WEB].instances)

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Return once it holds, or after so many seconds."""
        end = time.monotonic() + seconds
        while not holds() and time.monotonic() < end:  # noqa: ASYNC110 - the phases of several instances
            await asyncio.sleep(_GAP)


def _read(state: State) -> Rehearsed | None:
    if not state.rehearsal.exists():
        return None
    try:
        return msgspec.json.decode(state.rehearsal.read_bytes(), type=Rehearsed)
    except msgspec.DecodeError as error:
        raise PlatformError(
            f"{state.rehearsal} cannot be read.", hint="Delete it, and run: troth drill hosting.balancing"
        ) from error
