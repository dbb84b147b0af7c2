"""Starting the edge and talking to it over its administration socket."""

from pathlib import Path
from typing import Any

import msgspec

from troth.core.process import ProcessSpec
from troth.hosting.edge_state import EdgeState


class Upstream(msgspec.Struct, frozen=True):
    """An instance as the edge sees it. `fails` counts recent failed requests, `requests` those in flight."""

    address: str
    requests: int
    fails: int


def start_spec(state: EdgeState, *, binary: Path, log: Path) -> ProcessSpec:
    """Write the rendered configuration into `state.storage` and describe the process that serves it.

    `log` receives what Caddy says before its own log is open. Raises PlatformError when the file cannot be
    written, ConfigError when the path of the administration socket is too long for the system.
    """
    raise NotImplementedError


class EdgeAdmin:
    """A client of Caddy's administration API on a unix socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def load(self, config: dict[str, Any], *, force: bool = False) -> None:
        """Put a configuration into effect without dropping a connection.

        `force` reloads even when it is the same, so that renewed certificate files are read again. Raises
        PlatformError with Caddy's own words when it is refused; the old one then goes on serving.
        """
        raise NotImplementedError

    async def upstreams(self) -> tuple[Upstream, ...]:
        """Every instance that the edge knows. Raises PlatformError when the edge does not answer."""
        raise NotImplementedError

    async def close(self) -> None:
        """Give the connection back."""
        raise NotImplementedError
