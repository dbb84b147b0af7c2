"""One instance of a service: what it runs, the phases of its life, and what is told of it."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from troth.core.process import Endpoint, ProcessSpec
from troth.hosting.crashes import Exit
from troth.hosting.pulse import Pulse, PulseFile
from troth.hosting.supervisor import Supervised

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


_FRESH_SECONDS = 3.0


def next_phase(phase: Phase, event: Event) -> Phase:
    """Pure: where an event leads from a phase."""
    return "stopped" if event == "ended" else NEXT.get((phase, event), phase)


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """What the instances of a service run: an ASGI callable `target` (`module:name`) in `folder`.

    `environment` is set beside what the platform gives. It must hold no secret: it lies in a file and is
    shown by the process to its own user.
    """

    name: str
    target: str
    folder: Path
    environment: dict[str, str] = {}


class Prepared(msgspec.Struct, frozen=True):
    """An instance ready to be started: its process, where it will answer, and the file of its pulse. `runs`:
    an earlier keeper has started it."""

    spec: ProcessSpec
    endpoint: Endpoint
    pulse: Path | None = None
    runs: bool = False


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """The instance that a process is: what a keeper that takes over reads in its note."""

    service: str
    slot: str
    generation: int
    release: str


def note_of(service: str, slot: str, generation: int, release: Release) -> dict[str, str]:
    """For the spec of an instance's process."""
    return {"service": service, "slot": slot, "generation": str(generation), "release": release.name}


def read_note(note: dict[str, str]) -> Resumed | None:
    """The instance of a note; None when it is that of something else."""
    try:
        return msgspec.convert(note, Resumed, strict=False)
    except msgspec.ValidationError:
        return None


class InstanceView(msgspec.Struct, frozen=True, kw_only=True):
    """An instance as `troth status` shows it. `generation` counts its replacements from 1; `held` means that
    the edge is to send it nothing, although it could answer."""

    service: str
    name: str
    phase: Phase
    endpoint: str
    generation: int
    since: datetime
    pid: int | None
    restarts: int
    release: str = ""
    held: bool = False


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """An instance came from one phase into another, or was held back from balancing, or let in."""

    service: str
    name: str
    generation: int
    release: str
    before: Phase
    phase: Phase
    held: bool
    at: datetime


OnChange = Callable[[Change], None]
"""Hears of every change, at once and in order; it must not block."""


class Instance:
    """One process of a service in one of its slots."""

    def __init__(
        self, slot: str, generation: int, release: Release, prepared: Prepared, now: datetime
    ) -> None:
        self.slot, self.generation, self.release = slot, generation, release
        self.endpoint, self.spec = prepared.endpoint, prepared.spec
        self.pulse = PulseFile(prepared.pulse, told=prepared.runs) if prepared.pulse is not None else None
        self.phase: Phase = "starting"
        self.held = self.relieved = False
        self.missed = 0
        self.since = now
        self.exit: Exit | None = None
        self.process: Supervised | None = None
        self.changed = asyncio.Event()

    @property
    def balanced(self) -> bool:
        """Whether the edge may send it requests."""
        return not self.held and not self.relieved and self.phase in ("ready", "suspect", "failed")

    @property
    def told(self) -> Pulse | None:
        """What it last told of itself; None when it does not tell."""
        return self.pulse.read() if self.pulse is not None else None

    @property
    def in_flight(self) -> int | None:
        """Requests that it works on; None when it does not tell, or hangs, or has ended."""
        told = self.told
        if told is None or time.monotonic() - told.at > _FRESH_SECONDS:
            return None
        return told.in_flight

    def meet(self, event: Event, now: datetime) -> bool:
        """Take an event in; True when the phase changed by it."""
        before, self.phase = self.phase, next_phase(self.phase, event)
        if self.phase == before:
            return False
        self.since = now
        self.changed.set()
        return True

    def follow(self) -> None:
        """Let its gate answer the edge as it is meant to."""
        if self.pulse is not None:
            held = self.held or self.relieved or self.phase == "draining"
            self.pulse.order("hold" if held else "serve")

    def close(self) -> None:
        """It has stopped for good."""
        if self.pulse is not None:
            self.pulse.close()
            self.pulse = None

    def view(self, service: str) -> InstanceView:
        process = self.process
        return InstanceView(
            service=service,
            name=self.slot,
            phase=self.phase,
            endpoint=str(self.endpoint),
            generation=self.generation,
            since=self.since,
            pid=process.pid if process is not None else None,
            restarts=process.restarts if process is not None else 0,
            release=self.release.name,
            held=self.held or self.relieved,
        )
