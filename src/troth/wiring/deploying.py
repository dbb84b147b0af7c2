"""Releases of applications come and go while they serve: deployed, watched, and taken back."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from troth.core.clock import Clock
from troth.core.config import AppSettings, Settings
from troth.core.config_checks import is_target
from troth.core.errors import PlatformError, TrothError, UsageError, in_words
from troth.hosting.deployment import PROBATION_SECONDS
from troth.hosting.plan import Action
from troth.hosting.releases import Kept, Shelf
from troth.wiring.services import ServicesPart

RESTING_SECONDS = 15 * 60.0
"""So long the former release's instances are kept; afterwards a rollback starts them anew."""

EVERY_SECONDS = 30.0
LIMIT_SECONDS = 60.0
LONGEST_PROBATION = 600.0

_log = logging.getLogger(__name__)


class ReleaseView(msgspec.Struct, frozen=True):
    """A release as `troth status` shows it."""

    app: str
    release: int
    fate: str
    target: str
    source: str
    at: str
    why: str


class Progress(msgspec.Struct):
    """The deployment that is going on, or the last one: what was done, and why it failed or went back."""

    app: str = ""
    lines: list[str] = []
    failed: str = ""
    release: int = 0
    seconds: float = 0.0
    done: bool = True

    def tell(self, line: str) -> None:
        """One more step is done."""
        self.lines.append(line)
        _log.info("%s: %s", self.app, line)


class Deploying:
    """One deployment at a time; each application has its shelf of releases and its way back."""

    def __init__(self, settings: Settings, services: ServicesPart, clock: Clock) -> None:
        self._apps, self._services, self._clock = settings.apps, services, clock
        self._deployments = {name: services.deployment(name) for name in settings.apps}
        self._rests_until: dict[str, float] = {}
        self._progress = Progress()
        self._task: asyncio.Task[None] | None = None

    def follow(self, settings: Settings) -> None:
        """Settings that were read again: what a deployment takes that names no folder."""
        self._apps = {name: app for name, app in settings.apps.items() if name in self._services.fleets}
        self._deployments = {
            name: self._deployments.get(name) or self._services.deployment(name) for name in self._apps
        }
        self._rests_until = {name: at for name, at in self._rests_until.items() if name in self._apps}

    @property
    def busy(self) -> str:
        """The application that is being deployed; empty when none is."""
        return "" if self._progress.done else self._progress.app

    # --- for the plan ---------------------------------------------------------------------------------------

    def actions(self) -> dict[str, Action]:
        """For the command line."""
        return {"deploy": self._deploy, "rollback": self._rollback, "deploy.progress": self._tell_progress}

    async def report(self) -> tuple[ReleaseView, ...]:
        """For `troth status`."""
        return tuple(
            ReleaseView(name, one.number, one.fate, one.target, one.source, one.at.isoformat(), one.why)
            for name in self._apps
            for one in self._services.shelf(name).releases
        )

    async def work(self) -> str:
        """Let former releases go that have rested for long enough."""
        gone: list[str] = []
        if not self._progress.done:
            return ""
        for name, until in tuple(self._rests_until.items()):
            if time.monotonic() >= until:
                del self._rests_until[name]
                if (former := await self._deployments[name].let_go()) is not None:
                    gone.append(f"release {former.name} of {name} rests no more")
                self._services.forget_gone(name)
        return "; ".join(gone)

    async def stop(self) -> None:
        """Cut short what is going on; the services stop all instances themselves."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # --- the work -------------------------------------------------------------------------------------------

    async def _deploy(self, asked: dict[str, object]) -> dict[str, object]:
        """Raises UsageError for what cannot be a release; the rest is told by the progress."""
        name, app = self._find(asked)
        folder = Path(str(asked.get("folder") or app.folder))
        target = str(asked.get("target") or app.target)
        if not folder.is_absolute() or not await asyncio.to_thread(folder.is_dir):
            raise UsageError(f"There is no folder {folder}.", hint="Name the folder of the new release.")
        if not is_target(target):
            raise UsageError(f"{target[:100]!r} names no callable.", hint='Write "package.module:name".')
        probation = _read_probation(asked.get("probation"))

        async def work(progress: Progress) -> None:
            shelf = self._services.shelf(name)
            kept = await asyncio.to_thread(
                shelf.take, folder, target, self._clock.now(), declared=(app.folder, app.target)
            )
            progress.release = kept.number
            progress.tell(f"{folder} was copied as release {kept.number}")
            await self._bring_in(name, shelf, kept, probation, progress)

        return self._begin(name, work)

    async def _rollback(self, asked: dict[str, object]) -> dict[str, object]:
        """Raises UsageError when there is nothing to go back to."""
        name, _ = self._find(asked)
        shelf, deployment = self._services.shelf(name), self._deployments[name]
        former = shelf.former
        if former is None:
            raise UsageError(f"There is no former release of {name}.", hint="See: troth status")

        async def work(progress: Progress) -> None:
            progress.release = former.number
            if deployment.resting == shelf.release(former):
                await deployment.go_back()
                shelf.promote(former.number)
                progress.tell(f"release {former.number} serves again")
                return
            await self._bring_in(name, shelf, former, 0.0, progress)

        return self._begin(name, work)

    async def _bring_in(
        self, name: str, shelf: Shelf, kept: Kept, probation: float, progress: Progress
    ) -> None:
        """Let a release take over and prove itself, or have it back."""
        deployment = self._deployments[name]
        try:
            await deployment.take_over(shelf.release(kept), progress.tell)
        except TrothError as error:
            shelf.fail(kept.number, error.public)
            raise
        shelf.promote(kept.number)
        self._rests_until[name] = time.monotonic() + RESTING_SECONDS
        if not probation:
            return
        why = await deployment.probation(probation)
        if not why:
            progress.tell(f"no fault was seen in {probation:g} s; troth rollback {name} goes back")
            return
        former = await deployment.go_back(erring=True)
        shelf.fail(kept.number, why)
        raise PlatformError(f"Release {kept.number} went back to release {former.name}: {why}.")

    def _begin(self, name: str, work: Callable[[Progress], Awaitable[None]]) -> dict[str, object]:
        if not self._progress.done:
            raise UsageError(f"{self._progress.app} is being deployed.", hint="Wait until that is done.")
        self._progress = Progress(app=name, lines=[], done=False)
        self._task = asyncio.create_task(self._carry_out(self._progress, work), name=f"deploy {name}")
        return {"app": name}

    async def _carry_out(self, progress: Progress, work: Callable[[Progress], Awaitable[None]]) -> None:
        began = time.monotonic()
        try:
            await work(progress)
        except TrothError as error:
            progress.failed = in_words(error)
            _log.error("%s: %s", progress.app, error.public)
        except Exception as error:  # noqa: BLE001 - a defect, of which the person has to learn as well
            progress.failed = f"The deployment failed: {error}"
            _log.exception("the deployment of %s failed", progress.app)
        finally:
            self._services.forget_gone(progress.app)
            progress.seconds = round(time.monotonic() - began, 1)
            progress.done = True

    async def _tell_progress(self, asked: dict[str, object]) -> dict[str, object]:
        seen = asked.get("seen")
        answer = msgspec.to_builtins(self._progress)
        answer["lines"] = self._progress.lines[seen if isinstance(seen, int) else 0 :]
        return answer

    def _find(self, asked: dict[str, object]) -> tuple[str, AppSettings]:
        name = str(asked.get("app", ""))
        if name not in self._apps:
            raise UsageError(
                f"There is no application {name[:100]!r}.", hint=f"Try one of: {', '.join(self._apps)}"
            )
        return name, self._apps[name]


def _read_probation(asked: object) -> float:
    if asked is None:
        return PROBATION_SECONDS
    if isinstance(asked, int | float) and 0 <= asked <= LONGEST_PROBATION:
        return float(asked)
    raise UsageError(f"A probation lasts 0 to {LONGEST_PROBATION:g} seconds.")
