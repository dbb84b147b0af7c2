"""troth.toml is read again while the platform runs: checked, compared, brought into force, or taken back.

What has to be proved goes first and can be taken back: instances with the new configuration, the edge. What
the file declares in the database follows, and at last the parts of the keeper. At a failure everything that
was done is undone in the opposite order, and the former configuration goes on.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from troth.core.config import Settings
from troth.core.errors import ConfigError, TrothError, UsageError, in_words
from troth.core.settings_changes import Changes, compare, fingerprints
from troth.hosting.edge_admin import EdgeRefused
from troth.hosting.plan import Action
from troth.hosting.progress import failed

APPLIED, WENT_BACK = "configuration.reloaded", "configuration.went_back"
"""The events of the trail."""

_log = logging.getLogger(__name__)

Follow = Callable[[Settings], None]
Back = Callable[[], Awaitable[None]]
Undo = list[Back]


class Served(Protocol):
    """The services as a reload sees them, see `ServicesPart`."""

    def edge_gist(self) -> dict[str, Any]: ...
    async def load_edge(self) -> None: ...
    async def add_applications(self, tell: Callable[[str], None]) -> None: ...
    async def drop_applications(self, tell: Callable[[str], None]) -> None: ...
    async def roll_web(self, tell: Callable[[str], None]) -> Back: ...
    async def replace_instances(self, *, applications: bool = False) -> int: ...
    def forget_all_gone(self) -> None: ...


class Progress(msgspec.Struct):
    """The reload that is going on, or the last one. `failed` says why it went back."""

    lines: list[str] = []
    failed: str = ""
    seconds: float = 0.0
    done: bool = True

    def tell(self, line: str) -> None:
        """One more step is done."""
        self.lines.append(line)
        _log.info("reload: %s", line)


class Noted(msgspec.Struct, frozen=True):
    """What the trail keeps: the keys, never the values."""

    keys: tuple[str, ...]
    why: str = ""


class Hands(msgspec.Struct, frozen=True):
    """What a reload works with. `read` gives the file as it is now, checked, or raises ConfigError (it
    is told what is in force); `follow`
    tells every part of the keeper; `declare` brings the database in line; `keep` has a
    keeper that takes over go on with them; `busy` says who else is changing
    the services, `note` writes to the trail."""

    read: Callable[[Settings], Settings]
    follow: Follow
    declare: Callable[[Settings], Awaitable[None]]
    keep: Follow
    busy: Callable[[], str]
    note: Callable[[str, object], Awaitable[None]]


class Reloading:
    """One reload at a time."""

    def __init__(self, settings: Settings, services: Served, hands: Hands) -> None:
        self._settings, self._services, self._hands = settings, services, hands
        self._files = fingerprints(settings)
        self._progress = Progress()
        self._task: asyncio.Task[None] | None = None

    def actions(self) -> dict[str, Action]:
        """For the command line."""
        return {"reload": self._reload, "reload.progress": self._tell_progress}

    async def stop(self) -> None:
        """Cut short what is going on; what it had begun is undone as far as it goes."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # --- the work -------------------------------------------------------------------------------------------

    async def _reload(self, asked: dict[str, object]) -> dict[str, object]:
        """Read, check and compare; with `dry` nothing more. A fault of the file is told in the answer, with
        its place. Raises UsageError while another change is going on."""
        try:
            settings = await asyncio.to_thread(self._hands.read, self._settings)
            files = await asyncio.to_thread(fingerprints, settings)
        except ConfigError as error:
            return {"fault": msgspec.to_builtins(failed(error), enc_hook=str)}
        changes = compare(self._settings, settings, self._files, files)
        refused = bool(changes.refused)
        answer: dict[str, object] = {"changes": msgspec.to_builtins(changes.all), "refused": refused}
        if asked.get("dry") or refused or not changes.all:
            return {**answer, "begun": False}
        if not self._progress.done:
            raise UsageError("The configuration is being reloaded.", hint="Wait until that is done.")
        if who := self._hands.busy():
            raise UsageError(f"{who} is being deployed.", hint="Wait until that is done.")
        self._progress = Progress(lines=[], done=False)
        work = self._carry_out(self._progress, settings, files, changes)
        self._task = asyncio.create_task(work, name="reload")
        return {**answer, "begun": True}

    async def _carry_out(
        self, progress: Progress, settings: Settings, files: dict[str, str], changes: Changes
    ) -> None:
        began = time.monotonic()
        keys = tuple(one.key for one in changes.all)
        try:
            await self._bring_in(progress, settings, changes)
            self._settings, self._files = settings, files
            self._hands.keep(settings)
            await self._note(APPLIED, Noted(keys))
        except TrothError as error:
            progress.failed = in_words(error)
            _log.error("the former configuration goes on: %s %s", error.public, error.detail)
            await self._note(WENT_BACK, Noted(keys, error.public))
        except Exception as error:  # noqa: BLE001 - a defect, of which the person has to learn as well
            progress.failed = f"The reload failed: {error!r}"
            _log.exception("the reload failed; the former configuration goes on")
        finally:
            self._services.forget_all_gone()
            progress.seconds = round(time.monotonic() - began, 1)
            progress.done = True

    async def _bring_in(self, progress: Progress, settings: Settings, changes: Changes) -> None:
        """Every step leaves behind how to undo it. Raises what it failed with, once all is undone."""
        former, edge = self._settings, self._services.edge_gist()
        undo: Undo = [lambda: self._follow(former)]
        try:
            await self._follow(settings)
            await self._add_applications(progress, settings, undo)
            await self._replace_instances(progress, changes, undo)
            # Only where something changes for it: a reload makes clients connect anew.
            if self._services.edge_gist() != edge or changes.renews_edge:
                await self._load_edge(former, undo)
                progress.tell("the edge follows")
            undo.append(lambda: self._hands.declare(former))
            await self._hands.declare(settings)
            progress.tell("the database is in line")
            await self._services.drop_applications(progress.tell)
            await self._follow(settings)
        except Exception:
            await _undo(undo, progress)
            raise

    async def _add_applications(self, progress: Progress, settings: Settings, undo: Undo) -> None:
        """Scaling and deployments hear of them once they are there."""
        former = self._settings

        async def drop() -> None:
            self._hands.follow(former)
            await self._services.drop_applications(progress.tell)
            self._hands.follow(former)

        if settings.apps.keys() - former.apps.keys():
            undo.append(drop)
            await self._services.add_applications(progress.tell)
            await self._follow(settings)

    async def _follow(self, settings: Settings) -> None:
        self._hands.follow(settings)

    async def _load_edge(self, former: Settings, undo: Undo) -> None:
        """What was refused need not be taken back; an edge that did not answer may have taken it."""

        async def take_back() -> None:
            self._hands.follow(former)
            await self._services.load_edge()

        undo.append(take_back)
        try:
            await self._services.load_edge()
        except EdgeRefused:
            undo.remove(take_back)
            raise

    async def _replace_instances(self, progress: Progress, changes: Changes, undo: Undo) -> None:
        """The web service with a trial; applications afterwards, which run the same release as before."""
        former = self._settings
        if changes.replaces_web:
            undo.append(await self._services.roll_web(progress.tell))
        if not changes.replaces_applications:
            return

        async def go_back() -> None:
            self._hands.follow(former)
            await self._services.replace_instances(applications=True)

        undo.append(go_back)
        number = await self._services.replace_instances(applications=True)
        progress.tell(f"{number} instances of applications were replaced")

    async def _note(self, event: str, noted: Noted) -> None:
        """A trail that cannot be written to changes nothing of what was done; the log has to do."""
        try:
            await self._hands.note(event, noted)
        except TrothError as error:
            _log.error("%s could not be written to the trail: %s", event, error.public)

    async def _tell_progress(self, asked: dict[str, object]) -> dict[str, object]:
        seen = asked.get("seen")
        answer = msgspec.to_builtins(self._progress)
        answer["lines"] = self._progress.lines[seen if isinstance(seen, int) else 0 :]
        return answer


async def _undo(steps: Undo, progress: Progress) -> None:
    """All of them, the last first, whatever becomes of one."""
    for step in reversed(steps):
        try:
            await step()
        except TrothError as error:
            progress.tell(f"could not be undone: {error.public}")
