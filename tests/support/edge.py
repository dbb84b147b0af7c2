"""A real edge with real upstreams behind it, each a process of its own, for tests."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec

from support.waiting import until
from troth.core.ca import Authority, LeafFiles, Subject, write_leaf
from troth.core.process import Endpoint, ProcessSpec
from troth.core.secret import write_secret
from troth.hosting.edge_admin import EdgeAdmin, caddy_binary, config_file, start_spec
from troth.hosting.edge_limits import Limits
from troth.hosting.edge_state import (
    Acme,
    EdgeApp,
    EdgeDomain,
    EdgeState,
    OnDemand,
    PrivateListener,
    service_name,
)
from troth.hosting.ports import free_ports

RESIDENTS = "residents.localhost"
OWNERS = "owners.localhost"


class Authorities:
    """Short-lived authorities of one test run, and leaves on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.leaves = folder / "leaves"
        self.leaves.mkdir()
        now = datetime.now(UTC)
        names = ("public", "callers", "instances", "apps")
        self.by_name = {name: Authority.open(folder / "authorities", name, now=now) for name in names}

    def ca(self, name: str) -> Path:
        return self.by_name[name].certificate_file

    def leaf(self, authority: str, subject: Subject, name: str) -> LeafFiles:
        leaf = self.by_name[authority].issue(subject, now=datetime.now(UTC), lifetime=timedelta(hours=1))
        return write_leaf(leaf, self.leaves, name)

    def domain(self, name: str, app: str) -> EdgeDomain:
        subject = Subject(common_name=name, dns=(name, f"mtls.{name}"), addresses=(), usage="server")
        return EdgeDomain(name, app, self.leaf("public", subject, name))


class World:
    """The edge, two instances of the web service, two of the application `portal`."""

    def __init__(
        self,
        folder: Path,
        *,
        acme: Acme | None = None,
        on_demand: bool = False,
        traced: int = 0,
        limits: Limits | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.authorities = Authorities(folder)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.state = msgspec.structs.replace(self._state(limits or Limits()), traced=traced)
        if on_demand:
            self.state = msgspec.structs.replace(self.state, on_demand=self._on_demand(acme))
        self.admin = EdgeAdmin(self.state.admin_socket, config_file(self.state))
        spec = start_spec(self.state, binary=caddy_binary(), log=folder / "caddy.out")
        self.spec = msgspec.structs.replace(spec, environment={**spec.environment, **(environment or {})})

    def _state(self, limits: Limits) -> EdgeState:
        self.web = {f"web-{n}": port for n, port in enumerate(free_ports(2))}
        self.portal = {f"portal-{n}": port for n, port in enumerate(free_ports(2))}
        https, http, private = free_ports(3)
        issue, folder = self.authorities.leaf, self.folder
        storage = folder / "edge"
        storage.mkdir(mode=0o700)
        client = Subject(common_name="edge", usage="client", uri="spiffe://troth/edge/edge")
        server = Subject(common_name="edge", usage="server")
        return EdgeState(
            address="127.0.0.1",
            https_port=https,
            http_port=http,
            domains=(self.authorities.domain(RESIDENTS, "portal"), self.authorities.domain(OWNERS, "portal")),
            web=tuple(Endpoint("127.0.0.1", port) for port in self.web.values()),
            apps=(EdgeApp("portal", tuple(Endpoint("127.0.0.1", port) for port in self.portal.values())),),
            client=issue("callers", client, "edge-client"),
            instances_ca=self.authorities.ca("instances"),
            private=PrivateListener(
                Endpoint("127.0.0.1", private),
                issue("instances", server, "edge-server"),
                self.authorities.ca("apps"),
            ),
            admin_socket=folder / "edge.sock",
            storage=storage,
            access_log=folder / "access.log",
            log=folder / "edge.log",
            limits=limits,
        )

    def _on_demand(self, acme: Acme | None) -> OnDemand:
        password = self.folder / "gate.secret"
        write_secret(password, b"the-password-of-the-gate")
        place = self.folder / "authorities" / "public"
        return OnDemand(
            gate=Endpoint("127.0.0.1", free_ports(1)[0]),
            password=password,
            authority=LeafFiles(place / "ca.pem", place / "ca.key"),
            acme=acme,
            kept=4,
        )

    def serve(self, *names: str) -> None:
        """Which domains the web service knows from now on beside those that the edge was told."""
        (self.folder / "domains").write_text("\n".join(names))

    async def start(self, *, edge: bool = True) -> None:
        """Everything, or all but the edge."""
        for name, port in self.web.items():
            self.start_upstream(name, port, "web")
        for name, port in self.portal.items():
            self.start_upstream(name, port, "portal")
        for name, port in (*self.web.items(), *self.portal.items()):
            await listening(port, self.processes[name])
        if edge:
            self.run_edge(self.spec)
            await self.edge_listens()

    async def edge_listens(self) -> None:
        for port in (self.state.https_port, self.state.http_port, self.state.private.endpoint.port):
            await listening(port, self.processes["edge"], self.spec.log)

    def start_upstream(self, name: str, port: int, service: str) -> None:
        subject = Subject(common_name=name, dns=(service_name(service),), usage="server")
        leaf = self.authorities.leaf("instances", subject, f"{name}-{port}")
        script = Path(__file__).with_name("upstream.py")
        files = (leaf.certificate, leaf.key, self.authorities.ca("callers"), self.folder)
        self.processes[name] = subprocess.Popen([sys.executable, script, name, str(port), *files])

    def run_edge(self, spec: ProcessSpec) -> None:
        with spec.log.open("ab") as log:
            self.processes["edge"] = subprocess.Popen(
                spec.argv, env=spec.environment, cwd=spec.folder, stdout=log, stderr=log
            )

    async def stop(self) -> None:
        await self.admin.close()
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()

    def kill(self, name: str) -> None:
        os.kill(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()

    def trust(self, *, certificate: LeafFiles | None = None, ca: str = "public") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authorities.ca(ca)))
        if certificate is not None:
            context.load_cert_chain(certificate.certificate, certificate.key)
        return context

    def browser(self, domain: str = RESIDENTS, **options: Any) -> "Browser":
        return Browser(self, domain, **options)

    def seen(self, *, target: str = "", phase: str = "head") -> list[dict[str, Any]]:
        """What every upstream noted, oldest first within each; `by` is the instance."""
        notes: list[dict[str, Any]] = []
        for file in sorted(self.folder.glob("*.jsonl")):
            lines = file.read_text().splitlines()
            notes += [{**json.loads(line), "by": file.stem} for line in lines]
        return [note for note in notes if note["phase"] == phase and note["target"].startswith(target)]

    async def until_seen(self, target: str, phase: str = "body") -> dict[str, Any]:
        """Wait until an instance has noted a request for `target`."""
        await until(lambda: bool(self.seen(target=target, phase=phase)))
        return self.seen(target=target, phase=phase)[-1]

    async def raw(self, data: bytes, *, domain: str = RESIDENTS, until_closed: bool = True) -> bytes:
        """Send bytes as they are over TLS; return the answer, which says its length or ends with closing."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.state.https_port, ssl=self.trust(), server_hostname=domain
        )
        try:
            writer.write(data)
            if until_closed:
                return await asyncio.wait_for(reader.read(), 10)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            return head + await asyncio.wait_for(reader.readexactly(int(length.partition(b":")[2])), 10)
        finally:
            writer.transport.abort()


class Browser:
    """A client of one domain that trusts the platform's authority and resolves the name to this machine."""

    def __init__(self, world: World, domain: str, *, http2: bool = False, session: bool = False) -> None:
        self.authority = f"{domain}:{world.state.https_port}"
        headers = {"Host": self.authority}
        if session:
            headers["Cookie"] = "theme=dark; __Host-troth=good; tour=done"
        self.client = httpx.AsyncClient(
            verify=world.trust(),
            http1=not http2,
            http2=http2,
            base_url=f"https://127.0.0.1:{world.state.https_port}",
            headers=headers,
            timeout=20,
        )
        self.extensions = {"sni_hostname": domain}

    async def __aenter__(self) -> "Browser":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    async def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        return await self.client.request(method, path, extensions=self.extensions, **request)

    async def get(self, path: str, **request: Any) -> httpx.Response:
        return await self.ask("GET", path, **request)


def told(answer: httpx.Response) -> dict[str, list[str]]:
    """The request headers that an upstream received, as it told them in its answer."""
    headers: dict[str, list[str]] = {}
    for name, value in answer.json()["headers"]:
        headers.setdefault(name, []).append(value)
    return headers


async def listening(
    port: int, server: subprocess.Popen[bytes] | None = None, log: Path | None = None
) -> None:
    """Wait until something accepts connections on a port here; fail with what it said when it ends."""
    async with asyncio.timeout(60):
        while server is None or server.poll() is None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)
    raise AssertionError(f"the server of port {port} ended with {server.returncode}: {_end_of(log)}")


def _end_of(log: Path | None) -> str:
    return log.read_text()[-2000:] if log else ""


@contextlib.asynccontextmanager
async def running_world(
    folder: Path,
    *,
    acme: Acme | None = None,
    on_demand: bool = False,
    traced: int = 0,
    limits: Limits | None = None,
    environment: dict[str, str] | None = None,
) -> AsyncGenerator[World]:
    """A World that runs inside the block. The edge's process is told `environment` besides its own."""
    world = World(
        folder, acme=acme, on_demand=on_demand, traced=traced, limits=limits, environment=environment
    )
    try:
        await world.start()
        yield world
    finally:
        await world.stop()


def udp_bound(port: int) -> bool:
    """Whether somebody holds this UDP port of 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
