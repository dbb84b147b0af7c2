"""What a keeper that takes over goes on with: the settings and the ports of the keeper before it.

`troth.toml` may have changed since, and what runs has not: a keeper that dies must put nothing into effect.
Both lie in `State.run`, which each start of the platform makes anew.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from troth.core.config import Settings, load_settings
from troth.core.errors import PlatformError
from troth.core.secret import write_secret
from troth.core.state import State
from troth.hosting.plan import Launch
from troth.hosting.ports import PublicPorts
from troth.hosting.wire import decode, encode


def settings_of(launch: Launch, *, resume: bool) -> Settings:
    """What the platform runs with. Raises ConfigError, and PlatformError when there is nothing to go on
    with."""
    state = State(launch.state)
    if resume:
        try:
            return decode(_file(state).read_bytes(), Settings)
        except (OSError, msgspec.DecodeError) as error:
            raise PlatformError("The keeper before left no settings.", detail=str(error)) from error
    settings = effective_settings(launch)
    keep_settings(state, settings)
    return settings


def keep_settings(state: State, settings: Settings) -> None:
    """A keeper that takes over goes on with these."""
    write_secret(_file(state), encode(settings))


def _file(state: State) -> Path:
    return state.run / "settings.json"


def effective_settings(launch: Launch) -> Settings:
    """troth.toml with what the command line overrides. Raises ConfigError."""
    settings = load_settings(launch.config)
    edge, database = settings.edge, settings.database
    if launch.https_port is not None:
        edge = msgspec.structs.replace(edge, https_port=launch.https_port)
    if launch.http_port is not None:
        edge = msgspec.structs.replace(edge, http_port=launch.http_port)
    if launch.members is not None:
        database = msgspec.structs.replace(database, members=launch.members)
    return msgspec.structs.replace(settings, edge=edge, database=database)


class PortBook:
    """Writes down each port that is chosen, in their order, and gives a keeper that takes over the same ones
    in the same order: its parts ask in the order in which those of the keeper before asked."""

    def __init__(self, state: State, *, resume: bool) -> None:
        self._file = state.run / "ports"
        self._known = self._read() if resume else []
        if not resume:
            self._file.unlink(missing_ok=True)

    def public(self, choose: Callable[[], PublicPorts]) -> PublicPorts:
        """The edge's. Ask for these first."""
        if self._known:
            https, http, *self._known = self._known
            return PublicPorts(https, http)
        ports = choose()
        self._write(ports.https)
        self._write(ports.http)
        return ports

    def private(self, choose: Callable[[frozenset[int]], Iterator[int]]) -> Iterator[int]:
        """Those on loopback. `choose` makes new ones, none of those that it is given."""
        yield from self._known
        for port in choose(frozenset(self._known)):
            self._write(port)
            yield port

    def _read(self) -> list[int]:
        try:
            return [int(line) for line in self._file.read_text().splitlines()]
        except (OSError, ValueError) as error:
            raise PlatformError("The keeper before left no ports.", detail=str(error)) from error

    def _write(self, port: int) -> None:
        with self._file.open("a") as file:
            file.write(f"{port}\n")
