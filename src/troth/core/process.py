"""What a room asks the keeper to run. Rooms describe processes; only `hosting` starts them."""

from pathlib import Path

import msgspec


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """The most that a process may take together with all that it starts, where this machine can hold it to
    that: bytes of `memory`, and `tasks`, which are processes and their threads."""

    memory: int
    tasks: int


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the platform.

    `environment` is the whole environment: a child inherits nothing. `argv` never holds a secret, for any
    user of the machine may read it. `as_other_user` asks for a user id other than 0 when the platform runs as
    root (PostgreSQL refuses root); `capabilities` are what anybody else keeps of root's then. `given` sums up
    what it reads when it starts: two that differ in it are not the same process. `note` is for a later
    keeper, which finds the process running. `log` takes its standard output and error; `own_log` is what it
    writes by itself beside that, and has its last words too. `bounds` are None for what everything needs."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    folder: Path
    log: Path
    own_log: Path | None = None
    as_other_user: bool = False
    capabilities: tuple[str, ...] = ()
    stop_seconds: float = 10.0
    given: str = ""
    note: dict[str, str] = {}
    bounds: Bounds | None = None


class Endpoint(msgspec.Struct, frozen=True):
    """A TCP endpoint on this machine."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def read(cls, text: str) -> "Endpoint":
        """The endpoint of `host:port`. Raises ValueError on anything else."""
        host, _, port = text.rpartition(":")
        return cls(host, int(port))
