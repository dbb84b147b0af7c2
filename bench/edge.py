"""Our edge against a bare Caddy with the same upstream, over HTTP/1.1 and HTTP/2: `python -m bench.edge`.

Both are the same Caddy program on the same certificate and pass `GET /login` to the same two instances over
mutual TLS; the instances are a third Caddy that answers a kilobyte at once, so that what is left is the edge.
Bare means: no access log, no limits, no header touched, no retries. `h2load` sends to both in turn; turns are
short and change places. Times of single requests come from its log.
"""

import asyncio
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from bench.results import Entry, entry, record  # noqa: E402
from support.edge import RESIDENTS, World, listening  # noqa: E402
from troth.access.bound import percentile  # noqa: E402
from troth.core.ca import Subject  # noqa: E402
from troth.core.process import ProcessSpec  # noqa: E402
from troth.hosting.edge_admin import caddy_binary  # noqa: E402
from troth.hosting.edge_state import WEB, service_name  # noqa: E402
from troth.hosting.ports import free_ports  # noqa: E402

Json = dict[str, Any]

TURNS = 15
REQUESTS = 4000
"""Of each side in a turn."""

CLIENTS = 16
PROTOCOLS = {"http1": ("--h1",), "http2": ("--max-concurrent-streams", "4")}
THROUGHPUT_AIM = 0.95
SLOWEST_AIM = 1.1
"""Of the 99th percentile."""

BODY = "x" * 1024

OURS = ("GOGC", "GOMEMLIMIT")
"""What our edge tells Go's garbage collector, and a bare Caddy does not."""

_RATE = re.compile(r"finished in .*?, ([\d.]+) req/s")


class Turn(msgspec.Struct, frozen=True):
    """Requests per second, and the 99th percentile of their times in milliseconds."""

    rate: float
    slowest: float


def upstream(world: World) -> Json:
    """Two instances of the web service that answer at once."""
    subject = Subject(common_name="web-0", dns=(service_name(WEB),), usage="server")
    leaf = world.authorities.leaf("instances", subject, "fast")
    ca = {"provider": "file", "pem_files": [str(world.authorities.ca("callers"))]}
    asking = {"mode": "require_and_verify", "ca": ca}
    server: Json = {
        "listen": [f"127.0.0.1:{port}" for port in world.web.values()],
        "routes": [{"handle": [{"handler": "static_response", "status_code": 200, "body": BODY}]}],
        "automatic_https": {"disable": True},
        "tls_connection_policies": [{"client_authentication": asking}],
        "protocols": ["h1"],
        "strict_sni_host": False,
    }
    return _configuration({"web": server}, str(leaf.certificate), str(leaf.key))


def bare(world: World, port: int) -> Json:
    """A Caddy as its manual would have it: TLS in front, the same instances behind."""
    state = world.state
    tls = {
        "ca": {"provider": "file", "pem_files": [str(state.instances_ca)]},
        "client_certificate_file": str(state.client.certificate),
        "client_certificate_key_file": str(state.client.key),
        "server_name": service_name(WEB),
    }
    proxy: Json = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": str(instance)} for instance in state.web],
        "transport": {"protocol": "http", "tls": tls},
    }
    server: Json = {
        "listen": [f"127.0.0.1:{port}"],
        "routes": [{"handle": [proxy]}],
        "automatic_https": {"disable": True},
        "tls_connection_policies": [{}],
    }
    certificate = state.domains[0].certificate
    return _configuration({"bare": server}, str(certificate.certificate), str(certificate.key))


def _configuration(servers: Json, certificate: str, key: str) -> Json:
    return {
        "admin": {"disabled": True},
        "logging": {"logs": {"default": {"level": "ERROR"}}},
        "apps": {
            "http": {"servers": servers},
            "tls": {"certificates": {"load_files": [{"certificate": certificate, "key": key}]}},
        },
    }


def _run(world: World, name: str, configuration: Json) -> None:
    file = world.folder / f"{name}.json"
    file.write_bytes(msgspec.json.encode(configuration))
    argv = (str(caddy_binary()), "run", "--config", str(file))
    spec = msgspec.structs.replace(
        world.spec, argv=argv, environment=_without_ours(world), log=world.folder / f"{name}.out"
    )
    world.processes[name] = _start(spec)


def _without_ours(world: World) -> dict[str, str]:
    """Go's own choice of how much memory to take."""
    return {name: value for name, value in world.spec.environment.items() if name not in OURS}


def _start(spec: ProcessSpec) -> "subprocess.Popen[bytes]":
    with spec.log.open("ab") as log:
        return subprocess.Popen(spec.argv, env=spec.environment, cwd=spec.folder, stdout=log, stderr=log)


@asynccontextmanager
async def stage(folder: Path) -> AsyncGenerator[tuple[int, int]]:
    """The ports of our edge and of the bare one, both ready."""
    world = World(folder)
    (port,) = free_ports(1)
    try:
        _run(world, "upstream", upstream(world))
        for each in world.web.values():
            await listening(each)
        world.run_edge(world.spec)
        _run(world, "bare", bare(world, port))
        for each in (world.state.https_port, port):
            await listening(each)
        await asyncio.sleep(2)  # until our edge has asked each place whether it is ready
        yield world.state.https_port, port
    finally:
        await world.stop()


def load(port: int, options: tuple[str, ...], folder: Path, requests: int = REQUESTS) -> Turn:
    """One turn. Ends the program when any answer was not 200."""
    log = folder / "requests.tsv"
    log.unlink(missing_ok=True)
    argv = ("h2load", *options, "-n", str(requests), "-c", str(CLIENTS), f"--log-file={log}")
    where = (f"--connect-to=127.0.0.1:{port}", f"https://{RESIDENTS}:{port}/login")
    done = subprocess.run((*argv, *where), capture_output=True, text=True, check=True, timeout=120)
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    rate = _RATE.search(done.stdout)
    if rate is None or len(rows) != requests or any(row[1] != "200" for row in rows):
        raise SystemExit(done.stdout + done.stderr)
    slowest = percentile(tuple(int(row[2]) / 1000 for row in rows), 0.99)
    return Turn(float(rate[1]), slowest or 0.0)


def measure(ours: int, against: int, protocol: str, folder: Path) -> tuple[Entry, Entry]:
    """Throughput and slowest requests of one protocol; the first turn does not count."""
    options, pairs = PROTOCOLS[protocol], list[tuple[Turn, Turn]]()
    for number in range(TURNS + 1):
        if number % 2:
            other = load(against, options, folder)
            pairs.append((load(ours, options, folder), other))
        else:
            first = load(ours, options, folder)
            pairs.append((first, load(against, options, folder)))
    rates = [(our.rate, other.rate) for our, other in pairs[1:]]
    slowest = [(our.slowest, other.slowest) for our, other in pairs[1:]]
    return (
        entry(f"edge.{protocol}", rates, aim=THROUGHPUT_AIM, unit="requests/s"),
        entry(f"edge.{protocol}-p99", slowest, aim=SLOWEST_AIM, unit="ms", at_least=False),
    )


async def compare() -> list[Entry]:
    """All entries, one protocol after the other."""
    with tempfile.TemporaryDirectory(prefix="troth-bench-") as name:
        folder = Path(name)
        async with stage(folder) as (ours, against):
            return [one for protocol in PROTOCOLS for one in measure(ours, against, protocol, folder)]


def main() -> None:
    """Measure, print, and note the results."""
    record(*asyncio.run(compare()))


if __name__ == "__main__":
    main()
