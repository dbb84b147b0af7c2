"""What the keeper is asked to bring up and to look after. Wiring writes a Plan, the keeper carries it out."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from troth.core.settings import PrivateNetwork as Wish

Tell = Callable[[str], None]
"""Replaces the few words shown beside a running step, e.g. `2 of 3 members are running`."""

Action = Callable[[dict[str, object]], Awaitable[dict[str, object]]]
"""Something else that the control socket does on request: arguments in, answer out, both JSON objects."""

Report = Callable[[], Awaitable[object]]
"""Looks at one part of the platform; what it returns is shown by `troth status` (with a JSON form)."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What `troth up` hands to the keeper's process, as one JSON argument. It never holds a secret.

    `members`, `https_port` and `http_port` override troth.toml. With `member`, one database member of several
    hosts runs here and nothing else. `lock` is the number of the inherited
    descriptor that holds the flock on `State.lock`. `contained` says whether the kernel ends every process
    of the platform together with the first one (a PID namespace). `network` overrides troth.toml as well;
    `apart` says whether the platform stands in a private network of its own, and `not_apart` why it does not.
    """

    config: Path
    state: Path
    member: bool = False
    members: int | None = None
    https_port: int | None = None
    http_port: int | None = None
    lock: int | None = None
    contained: bool = True
    network: Wish | None = None
    apart: bool = False
    not_apart: str = ""


async def nothing_to_stop() -> None:
    """For steps that leave nothing running."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list that people see while the platform starts.

    `start` returns a few words about what now stands and raises TrothError when it cannot; steps whose
    `after` are done run side by side. `stop` runs in the reverse order, also when `start` failed or was cut
    short, so it must accept that nothing is there.
    """

    name: str
    title: str
    start: Callable[[Tell], Awaitable[str]]
    after: tuple[str, ...] = ()
    stop: Callable[[], Awaitable[None]] = nothing_to_stop


class Duty(msgspec.Struct, frozen=True, kw_only=True):
    """Work that comes back: `work` runs `every` so many seconds once the platform is ready, never twice at
    once. It returns a sentence for the log, or an empty one when there was nothing to do. After `limit`
    seconds it is cut short and counts as failed."""

    name: str
    every: float
    work: Callable[[], Awaitable[str]]
    limit: float = 120.0


class Address(msgspec.Struct, frozen=True):
    """Where people reach something."""

    title: str
    url: str


class SignIn(msgspec.Struct, frozen=True):
    """A demonstration user. Shown at the terminal of the person who ran `troth up`, never in a log."""

    url: str
    name: str
    email: str
    password: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What `troth up` prints at the end."""

    platform: str
    addresses: tuple[Address, ...]
    signins: tuple[SignIn, ...] = ()
    ca: Path | None = None
    notes: tuple[str, ...] = ()


async def no_troubles() -> tuple[str, ...]:
    """For plans whose steps, once done, cannot fall ill."""
    return ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The whole platform as the keeper sees it.

    `status` holds a provider for each part that `troth status` shows (`members`, `instances`, `edge`,
    `certificates`). `actions` are what else the control socket answers to, by name. `troubles` names, one
    sentence each, what keeps the platform from being ready; nothing means ready. `summary` is asked once,
    when every step is done. `resumable` says that the same plan, made by a keeper that is started after this
    one died, takes over what runs."""

    platform: str
    steps: tuple[Step, ...]
    summary: Callable[[], Awaitable[Summary]]
    duties: tuple[Duty, ...] = ()
    status: dict[str, Report] = {}
    actions: dict[str, Action] = {}
    troubles: Callable[[], Awaitable[tuple[str, ...]]] = no_troubles
    resumable: bool = False


Build = Callable[..., Awaitable[Plan]]
"""`async def build(launch: Launch, supervisor: Supervisor) -> Plan`; a TrothError stops before anything has
started."""
