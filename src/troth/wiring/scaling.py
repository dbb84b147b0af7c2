"""The number of instances follows the load, and a person's word before it."""

import asyncio
import contextlib
import logging
import time
from collections import deque

import msgspec

from troth.core.clock import Clock, to_wire
from troth.core.config import Settings
from troth.core.errors import PlatformError, TrothError, UsageError
from troth.core.process import Endpoint
from troth.core.secret import write_public
from troth.core.state import State
from troth.hosting.edge_state import WEB
from troth.hosting.observing import Counts, is_at_rest, observe, room_for_instances
from troth.hosting.plan import Action
from troth.hosting.pulse import Pulse
from troth.hosting.scaling import Decision, Observation, Past, Policy, decide
from troth.wiring.services import ServicesPart

EVERY_SECONDS = 0.5
LIMIT_SECONDS = 20.0

_KEPT_CHANGES = 20
_log = logging.getLogger(__name__)


class ServiceView(msgspec.Struct, frozen=True):
    """A service as `troth status` shows it. `mode` is `auto`, or `fixed` by a person; `held_back` says why it
    cannot have the instances that it needs."""

    service: str
    instances: int
    least: int
    most: int
    mode: str
    under_way: int
    last_change: str
    held_back: str


class Served:
    """One service: what it is allowed, what was seen of it, and the change that is under way."""

    def __init__(self, name: str, least: int, most: int) -> None:
        self.name = name
        self.bounds = Policy(least=least, most=most)
        self.policy = self.bounds
        self.fixed: int | None = None
        self.past = Past()
        self.counts: Counts = {}
        self.seen: Observation | None = None
        self.held_back = ""
        self.changes: deque[str] = deque(maxlen=_KEPT_CHANGES)
        self.changing: asyncio.Task[None] | None = None

    @property
    def is_changing(self) -> bool:
        return self.changing is not None and not self.changing.done()

    def in_effect(self) -> Policy:
        """A number that a person asked for leaves nothing to decide."""
        if self.fixed is None:
            return self.policy
        return msgspec.structs.replace(self.policy, least=self.fixed, most=self.fixed)


class Scaling:
    """Observes each service twice a second and changes the number of its instances. While `halted`, nothing
    is changed: for the drill of the promise."""

    def __init__(self, settings: Settings, state: State, services: ServicesPart, clock: Clock) -> None:
        self._state, self._services, self._clock = state, services, clock
        self.halted = False
        self.served = {WEB: Served(WEB, settings.web.instances, settings.web.most)}
        self.served |= {name: Served(name, app.instances, app.most) for name, app in settings.apps.items()}
        for name, number in _read(state).items():
            if name in self.served and number <= self.served[name].bounds.most:
                self.served[name].fixed = number

    def follow(self, settings: Settings) -> None:
        """Settings that were read again; the next look brings the numbers into the new bounds."""
        sizes = {WEB: (settings.web.instances, settings.web.most)}
        sizes |= {name: (app.instances, app.most) for name, app in settings.apps.items()}
        there = {name: size for name, size in sizes.items() if name in self._services.fleets}
        self.served = {name: self.served.get(name) or Served(name, *size) for name, size in there.items()}
        for name, one in self.served.items():
            least, most = sizes[name]
            one.bounds = msgspec.structs.replace(one.bounds, least=least, most=most)
            one.policy = msgspec.structs.replace(one.policy, least=least, most=most)
            if one.fixed is not None and one.fixed > most:
                one.fixed = None

    # --- for the plan ---------------------------------------------------------------------------------------

    async def work(self) -> str:
        """One look at every service; what it leads to goes on beside it."""
        now = time.monotonic()
        told = {name: self._told(name) for name in self.served}
        in_flight: dict[str, int] = {}
        if not all(is_at_rest(told[one.name], one.counts, now) for one in self.served.values()):
            # While the edge is started again, the instances' own word is enough.
            with contextlib.suppress(PlatformError):
                in_flight = await self._services.in_flight()
        room = room_for_instances()
        looks = (self._look(one, told[one.name], in_flight, room) for one in self.served.values())
        return "; ".join(filter(None, looks))

    def _told(self, name: str) -> dict[Endpoint, Pulse | None]:
        instances = self._services.fleets[name].instances
        return {each.endpoint: each.told for each in instances if each.balanced}

    def bounds(self) -> str:
        """Between which numbers each service stays, in words."""
        bounds = (f"{one.name} {one.bounds.least} to {one.bounds.most}" for one in self.served.values())
        return f"{', '.join(bounds)} instances"

    def hindered(self) -> tuple[str, ...]:
        """A sentence for each service whose number cannot follow its load."""
        fixed = (f"{one.name} stays at {one.fixed}, by a person's word" for one in self._all(fixed=True))
        narrow = (
            f"{one.name} can have no more than {one.bounds.most} instances, which it always has"
            for one in self._all(fixed=False)
            if one.bounds.most <= one.bounds.least
        )
        return (*fixed, *narrow)

    def _all(self, *, fixed: bool) -> tuple[Served, ...]:
        return tuple(one for one in self.served.values() if (one.fixed is not None) == fixed)

    def actions(self) -> dict[str, Action]:
        """For the command line."""
        return {"scaling.set": self._set}

    async def report(self) -> tuple[ServiceView, ...]:
        """For `troth status`."""
        return tuple(self._view(one) for one in self.served.values())

    async def stop(self) -> None:
        """Give up what is under way; the services themselves stop their instances."""
        tasks = [one.changing for one in self.served.values() if one.changing is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- the work -------------------------------------------------------------------------------------------

    def _look(
        self, one: Served, told: dict[Endpoint, Pulse | None], in_flight: dict[str, int], room: int
    ) -> str:
        """Returns a sentence about a decision."""
        fleet = self._services.fleets[one.name]
        number, now = fleet.size, time.monotonic()
        ledger = self._services.tending.ledger
        times = [seconds for place in told if (seconds := ledger.slow(str(place), now)) is not None]
        one.seen, one.counts = observe(
            told,
            in_flight,
            one.counts,
            now=now,
            instances=number,
            room=room,
            slow=max(times, default=None),
        )
        decision, past = decide(one.seen, one.in_effect(), one.past)
        one.held_back = decision.reason if decision.wanted == number else ""
        if decision.wanted == number or self.halted or one.is_changing or fleet.changing.locked():
            one.past = msgspec.structs.replace(one.past, looks=past.looks)
            return ""
        one.past = past
        one.changing = asyncio.create_task(self._change(one, decision, number), name=f"resize {one.name}")
        return f"{one.name} goes from {number} to {decision.wanted} instances: {decision.reason}"

    async def _change(self, one: Served, decision: Decision, before: int) -> None:
        began = time.monotonic()
        try:
            await self._services.resize(one.name, decision.wanted)
        except TrothError as error:
            _log.error("%s could not become %d instances: %s", one.name, decision.wanted, error.public)
            self._note(one, f"{before} to {decision.wanted} failed: {error.public}")
            self._services.fleets[one.name].size = before
            return
        seconds = time.monotonic() - began
        _log.info("%s has %d instances after %.1f s", one.name, decision.wanted, seconds)
        self._note(one, f"{before} to {decision.wanted} in {seconds:.1f} s: {decision.reason}")

    def _note(self, one: Served, words: str) -> None:
        one.changes.append(f"{to_wire(self._clock.now())[:19]} {words}")

    async def _set(self, asked: dict[str, object]) -> dict[str, object]:
        """Raises UsageError for a service or a number that cannot be."""
        one, number = self._find(asked), asked.get("number")
        if number is not None and not (isinstance(number, int) and 1 <= number <= one.bounds.most):
            raise UsageError(
                f"{one.name} can have 1 to {one.bounds.most} instances.",
                hint="Raise `max_instances` of it in troth.toml, then: troth reload",
            )
        one.fixed = number
        self._keep()
        wanted = number if number is not None else max(one.bounds.least, self._services.fleets[one.name].size)
        if one.is_changing:
            await asyncio.gather(one.changing or asyncio.sleep(0), return_exceptions=True)
        await self._services.resize(one.name, wanted)
        self._note(one, f"{wanted} by a person's word" if number is not None else "left to the load again")
        return {"service": one.name, "instances": wanted, "mode": self._mode(one)}

    def _find(self, asked: dict[str, object]) -> Served:
        name = str(asked.get("service", ""))
        if name not in self.served:
            raise UsageError(
                f"There is no service {name[:100]!r}.", hint=f"Try one of: {', '.join(self.served)}"
            )
        return self.served[name]

    def _view(self, one: Served) -> ServiceView:
        return ServiceView(
            service=one.name,
            instances=self._services.fleets[one.name].size,
            least=one.bounds.least,
            most=one.bounds.most,
            mode=self._mode(one),
            under_way=one.seen.in_flight if one.seen is not None else 0,
            last_change=one.changes[-1] if one.changes else "",
            held_back=one.held_back,
        )

    def _mode(self, one: Served) -> str:
        return "auto" if one.fixed is None else "fixed"

    def _keep(self) -> None:
        wanted = {name: one.fixed for name, one in self.served.items() if one.fixed is not None}
        write_public(self._state.scaling, msgspec.json.encode(wanted))


def _read(state: State) -> dict[str, int]:
    """Raises PlatformError when the file is none of ours."""
    if not state.scaling.exists():
        return {}
    try:
        return msgspec.json.decode(state.scaling.read_bytes(), type=dict[str, int])
    except msgspec.DecodeError as error:
        raise PlatformError(
            f"{state.scaling} cannot be read.", hint="Delete it; every service then follows its load."
        ) from error
