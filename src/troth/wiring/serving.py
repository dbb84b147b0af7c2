"""What changes the services while they serve: the load, a spike that is rehearsed, and releases."""

import asyncio
from collections.abc import Awaitable, Callable

from troth.core.clock import Clock
from troth.core.config import Settings
from troth.core.state import State
from troth.hosting.plan import Action, Duty, Report, Step, Tell
from troth.wiring import deploying, rehearsing, scaling
from troth.wiring.deploying import Deploying
from troth.wiring.rehearsing import Rehearsal
from troth.wiring.scaling import Scaling
from troth.wiring.services import ServicesPart


class Serving:
    """Scaling, rehearsal and deploying as one part of the plan."""

    def __init__(self, settings: Settings, state: State, services: ServicesPart, clock: Clock) -> None:
        self._scaling = Scaling(settings, state, services, clock)
        self._deploying = Deploying(settings, services, clock)
        self.rehearsal = Rehearsal(state, services, self._scaling, clock)
        self.before_stop: list[Callable[[], Awaitable[None]]] = []

    def step(self) -> Step:
        """The last of the start: from then on the load is followed."""
        return Step(name="scaling", title="Scaling", start=self._begin, after=("edge",), stop=self._stop)

    def duties(self) -> tuple[Duty, ...]:
        return (
            Duty(
                name="scaling",
                every=scaling.EVERY_SECONDS,
                work=self._scaling.work,
                limit=scaling.LIMIT_SECONDS,
            ),
            Duty(
                name="former releases",
                every=deploying.EVERY_SECONDS,
                work=self._deploying.work,
                limit=deploying.LIMIT_SECONDS,
            ),
            Duty(
                name="rehearsal of a spike",
                every=rehearsing.EVERY_SECONDS,
                work=self.rehearsal.work,
                limit=rehearsing.LIMIT_SECONDS,
            ),
        )

    def follow(self, settings: Settings) -> None:
        """Settings that were read again."""
        self._scaling.follow(settings)
        self._deploying.follow(settings)

    def busy(self) -> str:
        """The application that is being deployed; empty when none is."""
        return self._deploying.busy

    def reports(self) -> dict[str, Report]:
        """For `troth status`."""
        return {"scaling": self._scaling.report, "releases": self._deploying.report}

    def actions(self) -> dict[str, Action]:
        """For the command line."""
        return {**self._scaling.actions(), **self._deploying.actions()}

    async def _begin(self, _: Tell) -> str:
        return self._scaling.bounds()

    async def _stop(self) -> None:
        """What is under way is cut short before the instances are stopped."""
        await asyncio.gather(*(stop() for stop in self.before_stop))
        await asyncio.gather(self._scaling.stop(), self._deploying.stop())
