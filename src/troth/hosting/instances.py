"""The instances of one service: brought up, watched, and replaced one after the other without a gap."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal

import msgspec

from troth.core.errors import PlatformError
from troth.core.process import Endpoint, ProcessSpec
from troth.hosting.crashes import Exit, describe
from troth.hosting.supervisor import Supervised, Supervisor

Phase = Literal["starting", "ready", "suspect", "draining", "failed", "stopped"]
Event = Literal["answered", "silent", "exited", "drained", "kept", "ended"]

NEXT: dict[tuple[Phase, Event], Phase] = {
    ("starting", "answered"): "ready",
    ("starting", "exited"): "failed",
    ("ready", "silent"): "suspect",
    ("ready", "exited"): "failed",
    ("ready", "drained"): "draining",
    ("suspect", "answered"): "ready",
    ("suspect", "exited"): "failed",
    ("suspect", "drained"): "draining",
    ("failed", "answered"): "ready",
    ("failed", "drained"): "draining",
    ("draining", "kept"): "ready",
    ("draining", "exited"): "stopped",
}
"""The whole life of an instance. What is not listed changes nothing, except that `ended` always stops."""

_GAP = 0.05


def next_phase(phase: Phase, event: Event) -> Phase:
    """Pure: where an event leads from a phase."""
    return "stopped" if event == "ended" else NEXT.get((phase, event), phase)


def replacement_order(phases: dict[str, Phase]) -> tuple[str, ...]:
    """Pure: the slots in the order in which to replace them. What serves nobody goes first, for it costs
    nothing; then by name, one at a time, so that all but one always serve."""
    return tuple(sorted(phases, key=lambda slot: (phases[slot] in ("ready", "suspect"), slot)))


class Prepared(msgspec.Struct, frozen=True):
    """An instance ready to be started: its process, and where it will answer."""

    spec: ProcessSpec
    endpoint: Endpoint


class InstanceView(msgspec.Struct, frozen=True, kw_only=True):
    """An instance as `troth status` shows it. `generation` counts its replacements from 1."""

    service: str
    name: str
    phase: Phase
    endpoint: str
    generation: int
    since: datetime
    pid: int | None
    restarts: int


class Instance:
    """One process of a service in one of its slots."""

    def __init__(self, slot: str, generation: int, prepared: Prepared, now: datetime) -> None:
        self.slot, self.generation = slot, generation
        self.endpoint, self.spec = prepared.endpoint, prepared.spec
        self.phase: Phase = "starting"
        self.since = now
        self.exit: Exit | None = None
        self.process: Supervised | None = None
        self.changed = asyncio.Event()

    def meet(self, event: Event, now: datetime) -> bool:
        """Take an event in; True when the phase changed by it."""
        before, self.phase = self.phase, next_phase(self.phase, event)
        if self.phase == before:
            return False
        self.since = now
        self.changed.set()
        return True


class Fleet:
    """`size` instances of `service` in slots `service-1`, `service-2`, ….

    `prepare(slot, generation)` makes certificate, port and files of an instance about to start. `is_ready`
    asks one. `rebalance` is awaited after every change of `in_balancing`; it returns once the edge follows.
    """

    def __init__(
        self,
        service: str,
        size: int,
        *,
        supervisor: Supervisor,
        prepare: Callable[[str, int], Awaitable[Prepared]],
        is_ready: Callable[[Endpoint], Awaitable[bool]],
        rebalance: Callable[[], Awaitable[None]],
        start_seconds: float = 30.0,
    ) -> None:
        self.service, self.size = service, size
        self._supervisor, self._prepare, self._is_ready = supervisor, prepare, is_ready
        self._rebalance, self._start_seconds = rebalance, start_seconds
        self._instances: list[Instance] = []
        self._watches: set[asyncio.Task[None]] = set()
        self._one_replacement = asyncio.Lock()

    async def start(self) -> None:
        """Start all instances side by side, without rebalancing. PlatformError unless all become ready."""
        slots = [f"{self.service}-{number}" for number in range(1, self.size + 1)]
        await asyncio.gather(*(self._bring_up(slot, 1) for slot in slots))

    async def stop(self) -> None:
        """Stop every instance side by side. Does not rebalance."""
        instances = tuple(self._instances)
        await asyncio.gather(*(self._take_down(instance) for instance in instances))

    async def replace_all(self) -> None:
        """Replace each instance by a new one that has proved itself first. A new one that does not become
        ready, or that the edge does not learn of, is stopped; the old one stays, and the error is raised."""
        async with self._one_replacement:
            old = {instance.slot: instance for instance in self._instances}
            for slot in replacement_order({name: instance.phase for name, instance in old.items()}):
                await self._replace(old[slot])

    async def check(self) -> tuple[str, ...]:
        """Ask every instance; returns a sentence for each that does not answer."""
        asked = tuple(one for one in self._instances if one.phase in ("ready", "suspect"))
        answers = await asyncio.gather(*(self._is_ready(instance.endpoint) for instance in asked))
        for instance, answer in zip(asked, answers, strict=True):
            self._meet(instance, "answered" if answer else "silent")
        return self.troubles()

    def in_balancing(self) -> tuple[Endpoint, ...]:
        """What the edge balances over: all that are not on their way in or out, in sickness and in health.

        The edge itself sees first that one is dead, and passes it by. To take it out here would load a new
        configuration, which gives up each request that waits for its next try (502), and closes connections
        on which a browser is about to ask.
        """
        staying = ("ready", "suspect", "failed")
        return tuple(instance.endpoint for instance in self._instances if instance.phase in staying)

    def troubles(self) -> tuple[str, ...]:
        """A sentence for each instance that should serve and does not."""
        sick = (instance for instance in self._instances if instance.phase in ("suspect", "failed"))
        return tuple(f"{instance.slot} is {instance.phase}" for instance in sick)

    def views(self) -> tuple[InstanceView, ...]:
        return tuple(self._view(instance) for instance in self._instances)

    async def _bring_up(self, slot: str, generation: int) -> Instance:
        instance = Instance(slot, generation, await self._prepare(slot, generation), self._now())
        instance.process = self._supervisor.start(
            instance.spec, on_exit=lambda end: self._note_exit(instance, end)
        )
        self._instances.append(instance)
        try:
            await self._prove(instance)
        except BaseException:  # cut short as well: nobody else would ever stop it
            await self._take_down(instance)
            raise
        watch = asyncio.create_task(self._watch(instance), name=f"watch {slot}")
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        return instance

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

    async def _replace(self, old: Instance) -> None:
        """Prove the new before stopping the old; the edge learns of both in one change."""
        new = await self._bring_up(old.slot, old.generation + 1)
        self._meet(old, "drained")
        try:
            await self._rebalance()
        except BaseException:
            self._meet(old, "kept")
            await self._take_down(new)
            raise
        await self._take_down(old)

    async def _take_down(self, instance: Instance) -> None:
        self._meet(instance, "drained")
        if instance.process is not None:
            await instance.process.stop()
        self._meet(instance, "ended")
        if instance in self._instances:
            self._instances.remove(instance)

    def _note_exit(self, instance: Instance, end: Exit) -> None:
        instance.exit = end
        self._meet(instance, "exited")

    def _failure(self, instance: Instance, what: str) -> PlatformError:
        how = f" ({describe(instance.exit.status)})" if instance.exit is not None else ""
        return PlatformError(
            f"{instance.slot} {what}{how}.", hint=f"Its last words are in {instance.spec.log}."
        )

    def _meet(self, instance: Instance, event: Event) -> bool:
        return instance.meet(event, self._now())

    def _now(self) -> datetime:
        return self._supervisor.clock.now()

    def _view(self, instance: Instance) -> InstanceView:
        process = instance.process
        return InstanceView(
            service=self.service,
            name=instance.slot,
            phase=instance.phase,
            endpoint=str(instance.endpoint),
            generation=instance.generation,
            since=instance.since,
            pid=process.pid if process is not None else None,
            restarts=process.restarts if process is not None else 0,
        )
