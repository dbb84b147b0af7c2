"""What runs the platform's processes: the shape that a driver has, and what every driver agrees on.

The keeper decides what is to run; a driver starts it, tells of its end, and knows what an earlier keeper left
running. Processes are all that there is now (`hosting.child`, `hosting.first`); see docs/decisions/keeper.md
for how containers would fit.
"""

import asyncio
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from signal import Signals
from typing import Protocol

import msgspec

from troth.core.errors import PlatformError
from troth.core.process import ProcessSpec
from troth.hosting import isolation
from troth.hosting.cgroups.groups import entering


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a later keeper has to know of something that runs. It holds no secret, as a spec holds none.
    `mark` is what its descendants are found by, `serial` the number in it; `groups` are the folders of its
    control group."""

    spec: ProcessSpec
    mark: str
    serial: int
    since: datetime
    restarts: int = 0
    groups: tuple[Path, ...] = ()


class Work(Protocol):
    """Something that was started. `ended` is set at its end, without polling; `pid` is its first process."""

    @property
    def pid(self) -> int: ...

    @property
    def ended(self) -> asyncio.Event: ...

    def send(self, number: Signals) -> None:
        """Signal it; nothing happens when it has ended."""
        ...

    def reap(self) -> int:
        """Call once, after its end: its exit status, or minus the number of the signal that ended it. What is
        left of its process group ends with it."""
        ...


class Kept(msgspec.Struct, frozen=True):
    """Something that an earlier keeper started, dead or alive. `began` is of CLOCK_MONOTONIC; `take` is
    called once, by whoever looks after it from now on."""

    about: About
    began: float
    take: Callable[[], Work]


class Driver(Protocol):
    """Starts, and remembers what it started for the keeper that comes after this one."""

    @property
    def kind(self) -> str:
        """What it makes of a spec, in a word for people."""
        ...

    def start(self, about: About) -> Work:
        """Raises PlatformError when it cannot be started, ConfigError when not as another user."""
        ...

    def kept(self) -> tuple[Kept, ...]:
        """Everything that an earlier keeper left. Raises PlatformError."""
        ...


def command(about: About, machine: isolation.Machine) -> tuple[str, ...]:
    """What to execute: in its control group, ended by the kernel with whoever starts it, gaining no
    privileges, as root without capabilities that it has no use for, and as another user where that is asked
    for. Raises PlatformError when its program is missing, ConfigError."""
    spec = about.spec
    if shutil.which(spec.argv[0], path=spec.environment.get("PATH")) is None:
        raise PlatformError(f"{spec.name} cannot start: the program {spec.argv[0]} is missing.")
    if spec.as_other_user:
        return entering(about.groups, isolation.as_other_user(machine, isolation.guard(spec.argv)))
    return entering(about.groups, isolation.bounded(machine, spec.capabilities, spec.argv))
