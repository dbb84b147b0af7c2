"""The services as a reload of the configuration changes them, see `wiring/reloading.py`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from troth.core.config import Settings
from troth.hosting.edge import render
from troth.hosting.edge_state import WEB
from troth.hosting.plan import Tell
from troth.hosting.rolling import Rolling
from troth.wiring.fronting import public_holder
from troth.wiring.services import ServicesPart, notice


class ReloadedServices(ServicesPart):
    """`follow` comes first; the rest brings what was read into force, or takes it back."""

    def follow(self, settings: Settings) -> None:
        """Settings that were read again: places and certificates for what is new. `load_edge` and the
        instances' replacement bring them into force. Certificates of what is gone stay until then."""
        self._settings = settings
        self._blueprint.follow(settings)
        held = {one.name for one in self._certificates.holders(lambda one: one.trust == "public")}
        for domain in settings.domains:
            if domain.name not in held:
                self._certificates.issue(public_holder(domain.name))

    async def add_applications(self, tell: Tell) -> None:
        """Start those that are new in the settings. Raises TrothError when one is not fit to serve."""
        for name in [one for one in self._settings.apps if one not in self.fleets]:
            release = await asyncio.to_thread(self._blueprint.first_release, name)
            fleet = self._fleet(name, self._settings.apps[name].instances, release)
            try:
                await fleet.start()
            except BaseException:
                await fleet.stop()
                raise
            self.fleets[name] = fleet
            self.tending.adopt(name, fleet)
            tell(f"{fleet.size} instances of {name} are ready")

    async def drop_applications(self, tell: Tell) -> None:
        """End those that are in the settings no more, once they have finished what they are at."""
        for name in [one for one in self.fleets if one != WEB and one not in self._settings.apps]:
            fleet = self.fleets.pop(name)
            await self.tending.drop(name)
            async with fleet.changing:
                await fleet.stop()
            tell(f"the instances of {name} have ended")

    async def roll_web(self, tell: Tell) -> Callable[[], Awaitable[None]]:
        """Replace the instances of the web service by some that are configured as the settings are now, and
        return the way back. Raises PlatformError when they are not fit; all are as before then."""
        fleet = self.fleets[WEB]
        rolling, before = Rolling(fleet, notice=notice, check=self._compare), fleet.release
        await rolling.bring(self._blueprint.web_release(), tell)
        return lambda: rolling.go_back(before, tell)

    def edge_gist(self) -> dict[str, Any]:
        """What the edge has to be told again under the present settings. A domain that any network may reach
        is not among it: the edge asks for what it was not told of, and shows nothing of what is gone."""
        told = tuple(one for one in self._settings.domains if one.allow or one.deny)
        return render(self._front.describe(msgspec.structs.replace(self._settings, domains=told)))

    async def load_edge(self) -> None:
        """Have the edge follow the present settings. Raises PlatformError when it refuses; all is as before
        then."""
        if self._admin is not None:
            await self._admin.load(render(self._front.describe(self._settings)), force=True)
            self._forget_domains()

    def keep_web_release(self) -> None:
        """A keeper that takes over goes on with the release of the web service that runs now."""
        self._blueprint.keep_web_release(self.fleets[WEB].release)

    def forget_all_gone(self) -> None:
        """The same of all services."""
        for service in self.fleets:
            self._forget_gone(service)
