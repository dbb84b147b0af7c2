"""The instances of one service: brought up, watched, and replaced one after the other without a gap."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from datetime import datetime

from troth.core.errors import PlatformError
from troth.core.process import Endpoint
from troth.hosting.crashes import Exit, tell
from troth.hosting.instance import (
    Change,
    Event,
    Instance,
    InstanceView,
    OnChange,
    Phase,
    Prepared,
    Release,
    read_note,
)
from troth.hosting.supervisor import Supervised, Supervisor

_GAP = 0.05
_LAST_WORDS_SECONDS = 0.2
_END_SECONDS = 2.0


def replacement_order(phases: dict[str, Phase]) -> tuple[str, ...]:
    """Pure: the slots in the order in which to replace them. What serves nobody goes first, for it costs
    nothing; then by name, one at a time, so that all but one always serve."""
    return tuple(sorted(phases, key=lambda slot: (phases[slot] in ("ready", "suspect"), slot)))


def next_slot(service: str, taken: frozenset[str]) -> str:
    """Pure: the slot of the lowest number that nobody is in, also nobody on his way out."""
    number = 1
    while f"{service}-{number}" in taken:
        number += 1
    return f"{service}-{number}"


def spared_first(views: tuple[InstanceView, ...]) -> tuple[InstanceView, ...]:
    """Pure: in which order a fleet that shrinks gives its instances up: what serves nobody first, then the
    highest number, so that slots stay dense."""
    return tuple(
        sorted(views, key=lambda one: (one.phase == "ready" and not one.held, -_number(one.name), one.name))
    )


class Fleet:
    """`size` instances of `service` in slots `service-1`, `service-2`, …, each with the `release` it runs.

    `prepare(slot, generation, release)` makes certificate, port and files of an instance about to start.
    `is_ready` asks one, also one that is held back from balancing. `rebalance` is awaited after every change
    of `in_balancing`; it returns once the edge follows. `drain_seconds` bound what an instance that is
    retired still works on. Who changes a fleet in several steps holds `changing` meanwhile.
    """

    def __init__(
        self,
        service: str,
        size: int,
        *,
        release: Release,
        supervisor: Supervisor,
        prepare: Callable[[str, int, Release], Awaitable[Prepared]],
        is_ready: Callable[[Endpoint], Awaitable[bool]],
        rebalance: Callable[[], Awaitable[None]],
        resume: Callable[[str, int, Release], Prepared | None] | None = None,
        start_seconds: float = 90.0,
        drain_seconds: float = 20.0,
    ) -> None:
        self.service, self.size, self.release = service, size, release
        self.changing = asyncio.Lock()
        self.watchers: list[OnChange] = []
        self._supervisor, self._prepare, self._is_ready = supervisor, prepare, is_ready
        self._resume = resume
        self._rebalance, self._start_seconds = rebalance, start_seconds
        self._drain_seconds = drain_seconds
        self._instances: list[Instance] = []
        self._watches: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start all instances side by side, without rebalancing. PlatformError unless all become ready. Those
        of this release that an earlier keeper left are taken over, as many as there are."""
        await self._take_over()
        self.size = max(self.size, len(self._instances))
        taken = frozenset(one.slot for one in self._instances)
        slots = [f"{self.service}-{number}" for number in range(1, self.size + 1 + len(taken))]
        free = [slot for slot in slots if slot not in taken][: self.size - len(self._instances)]
        await asyncio.gather(*(self._bring_up(slot, 1, self.release) for slot in free))

    async def stop(self) -> None:
        """Stop every instance side by side. Does not rebalance."""
        instances = tuple(self._instances)
        await asyncio.gather(*(self._take_down(instance) for instance in instances))

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All that have not stopped, in the order in which they came."""
        return tuple(self._instances)

    @property
    def of_release(self) -> tuple[Instance, ...]:
        """Without those of another release, which are kept for a way back, or are about to take over."""
        return tuple(one for one in self._instances if one.release == self.release)

    async def add(
        self, *, release: Release | None = None, beside: Instance | None = None, held: bool = False
    ) -> Instance:
        """One more, once it has proved itself; with `beside` in the slot of another, as its next generation.

        With `held` the edge sends it nothing until `admit`. Raises PlatformError when it does not become
        ready; it is stopped then, and nothing else has changed.
        """
        slot, generation = self._place(beside)
        return await self._bring_up(slot, generation, release or self.release, held=held)

    def hold(self, instance: Instance) -> None:
        """Keep new requests from it while it goes on running; the edge follows within `NOTICED_SECONDS`."""
        self._let(instance, held=True)

    def admit(self, instance: Instance) -> None:
        """Let it have requests (again)."""
        self._let(instance, held=False)

    def relieve(self, instance: Instance, *, relieved: bool) -> None:
        """Keep requests from it for a doubt, or no more. It counts as one that serves all the same: whoever
        changes the fleet meanwhile does not pass it by."""
        if instance.relieved != relieved:
            instance.relieved = relieved
            instance.follow()
            self._tell(instance, instance.phase)

    async def retire(self, instance: Instance, seconds: float | None = None) -> None:
        """Send it no more requests, let it finish those it has, at most for so many seconds, and stop it."""
        if self._meet(instance, "drained"):
            await self._rebalance()
            await self._until_idle(instance, self._drain_seconds if seconds is None else seconds)
        await self._take_down(instance)

    async def resize(self, wanted: int) -> None:
        """Be so many of the current release: new ones come side by side, those that go, one after the other.
        Raises PlatformError when a new one does not become ready; those that did stay, and `size` is what was
        wanted."""
        async with self.changing:
            self.size = wanted
            await self._add_many(wanted - len(self._staying()))
            staying = self._staying()
            surplus = spared_first(tuple(one.view(self.service) for one in staying))[: len(staying) - wanted]
            leaving = {(view.name, view.generation) for view in surplus}
            for instance in staying:
                if (instance.slot, instance.generation) in leaving:
                    await self.retire(instance)

    async def replace_all(self, release: Release | None = None) -> None:
        """Replace each instance by a new one that has proved itself first. A new one that does not become
        ready, or that the edge does not learn of, is stopped; the old one stays, and the error is raised."""
        async with self.changing:
            old = {instance.slot: instance for instance in self._instances if not instance.held}
            for slot in replacement_order({name: instance.phase for name, instance in old.items()}):
                await self.replace(old[slot], release)

    async def replace(self, old: Instance, release: Release | None = None) -> Instance:
        """Prove the new before stopping the old; the edge learns of both in one change. Who calls it holds
        `changing`. Raises PlatformError like `replace_all`."""
        new = await self.add(release=release or old.release, beside=old)
        if not self._others_serve(old, new):
            await self._rebalance()
        self._meet(old, "drained")
        try:
            await self._rebalance()
        except BaseException:
            self._meet(old, "kept")
            await self._take_down(new)
            raise
        await self._until_idle(old, self._drain_seconds)
        await self._take_down(old)
        return new

    async def end(self, instance: Instance, *, last_words: bool = True) -> None:
        """End one that hangs: it writes down where it stands, if it can, and is killed; then it is started
        again like any other that ended. Connections to it break at once, so that the edge tries elsewhere."""
        process = instance.process
        if process is None:
            return
        pid = process.pid
        if last_words:
            process.send(signal.SIGABRT)
            await self._until_ended(process, pid, _LAST_WORDS_SECONDS)
        if process.pid == pid:
            process.send(signal.SIGKILL)
            await self._until_ended(process, pid, _END_SECONDS)

    async def check(self) -> tuple[str, ...]:
        """Ask every instance; returns a sentence for each that does not answer."""
        asked = tuple(one for one in self._instances if one.phase in ("ready", "suspect"))
        answers = await asyncio.gather(*(self._is_ready(instance.endpoint) for instance in asked))
        for instance, answer in zip(asked, answers, strict=True):
            instance.missed = 0 if answer else instance.missed + 1
            self._meet(instance, "answered" if answer else "silent")
        return self.troubles()

    def in_balancing(self) -> tuple[Endpoint, ...]:
        """What the edge balances over: all that are not held back nor on their way in or out, in sickness and
        in health.

        The edge itself sees first that one is dead, and passes it by. To take it out here would load a new
        configuration, which gives up each request that waits for its next try (502), and closes connections
        on which a browser is about to ask.
        """
        return tuple(instance.endpoint for instance in self._instances if instance.balanced)

    def troubles(self) -> tuple[str, ...]:
        """A sentence for each instance that should serve and does not."""
        sick = (instance for instance in self._instances if instance.phase in ("suspect", "failed"))
        return tuple(f"{instance.slot} is {instance.phase}" for instance in sick)

    def views(self) -> tuple[InstanceView, ...]:
        return tuple(instance.view(self.service) for instance in self._instances)

    async def _bring_up(
        self,
        slot: str,
        generation: int,
        release: Release,
        *,
        held: bool = False,
        prepared: Prepared | None = None,
    ) -> Instance:
        prepared = prepared or await self._prepare(slot, generation, release)
        instance = Instance(slot, generation, release, prepared, self._now())
        instance.held = held
        instance.follow()
        instance.process = self._supervisor.start(
            instance.spec, on_exit=lambda end: self._note_exit(instance, end)
        )
        self._instances.append(instance)
        self._tell(instance, "starting")
        try:
            await self._prove(instance)
        except BaseException:  # cut short as well: nobody else would ever stop it
            await self._take_down(instance)
            raise
        watch = asyncio.create_task(self._watch(instance), name=f"watch {slot}")
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        return instance

    async def _take_over(self) -> None:
        """Whoever of them is not ready in time is ended, as a new one would be, and so is whoever cannot go
        on: a new one takes its place. Of two in one slot, one was about to replace the other: the newer one
        stays, if it is ready."""
        if self._resume is None:
            return
        noted = [read_note(one.about.spec.note) for one in self._supervisor.kept]
        found = [one for one in noted if one is not None and one.service == self.service]
        coming = [
            self._bring_up(one.slot, one.generation, self.release, prepared=prepared)
            for one in found
            if one.release == self.release.name
            and (prepared := self._resume(one.slot, one.generation, self.release)) is not None
            and self._supervisor.find_kept(prepared.spec) is not None
        ]
        for outcome in await asyncio.gather(*coming, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, PlatformError):
                raise outcome
        await self._supervisor.end_kept(lambda spec: spec.note.get("service") == self.service)
        newest = {one.slot: one for one in sorted(self._instances, key=lambda one: one.generation)}
        await asyncio.gather(*(self.retire(one) for one in self.instances if newest[one.slot] is not one))

    async def _prove(self, instance: Instance) -> None:
        """Return once it is ready. Raises PlatformError when it ends before or takes too long."""
        try:
            await asyncio.wait_for(self._until_ready(instance), self._start_seconds)
        except TimeoutError:
            raise self._failure(instance, f"was not ready within {self._start_seconds:g} s") from None
        if instance.phase != "ready":
            raise self._failure(instance, "ended before it was ready")

    async def _until_ready(self, instance: Instance) -> None:
        """Ask until it answers; a first start that ends is given up, for it would only end again."""
        while instance.phase == "starting":
            if await self._is_ready(instance.endpoint):
                self._meet(instance, "answered")
            elif instance.phase == "starting":
                await asyncio.sleep(_GAP)

    async def _watch(self, instance: Instance) -> None:
        """Follow an instance that was ready: failed when it ends, ready once it answers again."""
        while instance.phase not in ("draining", "stopped"):
            await instance.changed.wait()
            instance.changed.clear()
            if instance.phase != "failed":
                continue
            await self._until_back(instance)
            self._meet(instance, "answered")

    async def _until_back(self, instance: Instance) -> None:
        while instance.phase == "failed" and not await self._is_ready(instance.endpoint):  # noqa: ASYNC110
            await asyncio.sleep(_GAP)

    async def _until_ended(self, process: Supervised, pid: int | None, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while process.pid == pid:  # noqa: ASYNC110 - its end is known to the supervisor alone
                    await asyncio.sleep(_GAP)

    async def _until_idle(self, instance: Instance, seconds: float) -> None:
        """Until it works on nothing, at most so long; its own drain after SIGTERM finishes what came late."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while instance.phase == "draining" and instance.in_flight:  # noqa: ASYNC110 - a number in a file
                    await asyncio.sleep(_GAP)

    async def _take_down(self, instance: Instance) -> None:
        self._meet(instance, "drained")
        if instance.process is not None:
            await instance.process.stop()
        if instance in self._instances:
            self._instances.remove(instance)
        self._meet(instance, "ended")
        instance.close()

    def _place(self, beside: Instance | None) -> tuple[str, int]:
        """Slot and generation. A slot has two places, which its generations take in turn: where both are
        taken, as by a release that is kept for a way back, the new one takes a slot of its own."""
        taken = [one.slot for one in self._instances]
        if beside is not None and taken.count(beside.slot) == 1:
            return beside.slot, beside.generation + 1
        return next_slot(self.service, frozenset(taken)), 1

    async def _add_many(self, number: int) -> None:
        slots: list[str] = []
        for _ in range(number):
            taken = frozenset((*(one.slot for one in self._instances), *slots))
            slots.append(next_slot(self.service, taken))
        coming = (self._bring_up(slot, 1, self.release) for slot in slots)
        for outcome in await asyncio.gather(*coming, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    def _staying(self) -> list[Instance]:
        return [one for one in self.of_release if one.phase not in ("draining", "stopped")]

    def _others_serve(self, old: Instance, new: Instance) -> bool:
        return any(one.phase == "ready" and one.balanced for one in self._instances if one not in (old, new))

    def _let(self, instance: Instance, *, held: bool) -> None:
        if instance.held == held:
            return
        instance.held = held
        instance.follow()
        self._tell(instance, instance.phase)

    def _note_exit(self, instance: Instance, end: Exit) -> None:
        instance.exit = end
        self._meet(instance, "exited")

    def _failure(self, instance: Instance, what: str) -> PlatformError:
        how = f" ({tell(instance.exit)})" if instance.exit is not None else ""
        return PlatformError(
            f"{instance.slot} {what}{how}.", hint=f"Its last words are in {instance.spec.log}."
        )

    def _meet(self, instance: Instance, event: Event) -> bool:
        before = instance.phase
        if not instance.meet(event, self._now()):
            return False
        instance.follow()
        self._tell(instance, before)
        return True

    def _tell(self, instance: Instance, before: Phase) -> None:
        change = Change(
            service=self.service,
            name=instance.slot,
            generation=instance.generation,
            release=instance.release.name,
            before=before,
            phase=instance.phase,
            held=instance.held or instance.relieved,
            at=self._now(),
        )
        for watcher in self.watchers:
            watcher(change)

    def _now(self) -> datetime:
        return self._supervisor.clock.now()


def _number(slot: str) -> int:
    return int(slot.rpartition("-")[2])
