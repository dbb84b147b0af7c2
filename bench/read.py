"""An authenticated read through the API against a bare SELECT answered by the same server.

`python -m bench.read`. One PostgreSQL, one instance as the platform runs it (`troth.hosting.runner`: Granian,
TLS 1.3, client certificate), two routes of it, and a loader in a process of its own with a bounded count.
Both routes are loaded in short turns; the ratio is the median over the pairs of turns.

What helps ours here: every read brings the same token, whose signature is checked once, and asks for the same
document; and reads under way at once travel to the database together (`data.reading`), while each bare SELECT
makes its own round trip. With one lane for each read the ratio was 0.58 (2 cores, 2026-11-23).
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import msgspec

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from bench.load import Plan, Side  # noqa: E402
from bench.read_app import SCHEMA  # noqa: E402
from bench.results import entry, record  # noqa: E402
from support.postgres import Server, Tenant, new_tenant  # noqa: E402
from troth.access.accounts.people import Accounts, Profile  # noqa: E402
from troth.access.sessions import Sessions  # noqa: E402
from troth.access.signing import SigningKeys  # noqa: E402
from troth.access.tenants import DomainDirectory  # noqa: E402
from troth.access.tokens import AccessTokens, Bearer  # noqa: E402
from troth.core.ca import Authority, Subject, write_leaf  # noqa: E402
from troth.core.clock import SystemClock  # noqa: E402
from troth.core.db import Database  # noqa: E402
from troth.core.migrations import migrate  # noqa: E402
from troth.data.collections import compile_collection  # noqa: E402
from troth.data.document import Document  # noqa: E402
from troth.data.documents import Documents  # noqa: E402
from troth.data.grants import Caller, read_grants  # noqa: E402
from troth.data.keys import KeyRing, Sealer, make_root_key, read_root_key  # noqa: E402
from troth.data.postgres import find_binaries  # noqa: E402
from troth.data.roles import APP, OWNER, SUPERUSER, bootstrap  # noqa: E402
from troth.hosting.instance_file import InstanceFile  # noqa: E402
from troth.hosting.ports import free_ports  # noqa: E402
from troth.hosting.wire import encode  # noqa: E402

AIM = 0.6
TURNS = 41
REQUESTS = 640
CONNECTIONS = 16
SCOPES = ("tickets:create", "tickets:read", "tickets:update:own", "announcements:read")
TICKET = {"title": "The heating on the third floor is cold", "status": "open", "text": "since Monday " * 55}
"""About 800 bytes of JSON, a usual ticket."""


class Scene(msgspec.Struct, frozen=True):
    """What both routes are asked for."""

    tenant: Tenant
    document: Document
    token: str


async def prepare(server: Server, folder: Path) -> Scene:
    """Waits for the server, then makes roles, schema, a tenant, a person's session and 1,000 documents."""
    await (await Database.open(server.target(SUPERUSER, "postgres"))).close()
    await bootstrap(server.target(SUPERUSER, "postgres"))
    await migrate(server.target(OWNER))
    database = await Database.open(server.target(APP))
    owner = await Database.open(server.target(OWNER))
    superuser = await Database.open(server.target(SUPERUSER))
    make_root_key(folder / "root.key")
    ring = KeyRing(database, read_root_key(folder / "root.key"))
    clock = SystemClock()
    tenant = await new_tenant(owner)
    domain = await DomainDirectory(database, clock, port=8443).find(tenant.domain)
    accounts = Accounts(owner, Sealer(ring))
    person = await accounts.add(tenant.id, Profile("ada@example.org", "Ada"), ("resident",), "unused")
    session = (await Sessions(database, Sealer(ring)).begin(domain, person)).session.id
    tokens = AccessTokens(SigningKeys(database, Sealer(ring), clock), clock)
    token = (
        await tokens.mint(domain, Bearer(session=session, person=person, client="session", scopes=SCOPES))
    ).token
    documents = Documents(database, ring, {"tickets": compile_collection("tickets", "", SCHEMA)})
    caller = Caller(tenant.id, person, session, read_grants(SCOPES))
    document = await documents.create(caller, "tickets", TICKET)
    for _ in range(999):
        await documents.create(caller, "tickets", TICKET)
    await superuser.execute("create table troth.bench_plain (id uuid primary key, body bytea not null)")
    await superuser.execute("grant select on troth.bench_plain to troth_app")
    await superuser.execute(
        "insert into troth.bench_plain select gen_random_uuid(), $1 from generate_series(1, 999)",
        document.to_wire(),
    )
    await superuser.execute("insert into troth.bench_plain values ($1, $2)", document.id, document.to_wire())
    await superuser.execute("analyze")
    for opened in (database, owner, superuser):
        await opened.close()
    return Scene(tenant, document, token)


class Instance:
    """One web instance as the platform runs it, and the loader's way to it."""

    def __init__(self, folder: Path) -> None:
        now = SystemClock().now()
        day = timedelta(days=1)
        self.folder = folder
        self.port = free_ports(1)[0]
        self.servers = Authority.open(folder, "instances", now=now)
        self.callers = Authority.open(folder, "callers", now=now)
        self.server = write_leaf(
            self.servers.issue(Subject(common_name="web-1", usage="server"), now=now, lifetime=day),
            folder,
            "web",
        )
        self.caller = write_leaf(
            self.callers.issue(Subject(common_name="edge", usage="client"), now=now, lifetime=day),
            folder,
            "edge",
        )

    @contextmanager
    def running(self, server: Server) -> Generator[None]:
        """Serve while the block runs."""
        instance = InstanceFile(
            name="web-1",
            kind="web",
            target="bench.read_app:make",
            factory=True,
            folder=ROOT,
            port=self.port,
            certificate=self.server.certificate,
            key=self.server.key,
            client_ca=self.callers.certificate_file,
            environment={
                "BENCH_FOLDER": str(self.folder),
                "BENCH_DATABASE_PORT": str(server.endpoint.port),
                "BENCH_DATABASE_CA": str(server.target(APP).ca),
            },
        )
        file = self.folder / "instance.json"
        file.write_bytes(encode(instance))
        process = subprocess.Popen([sys.executable, "-m", "troth.hosting.runner", str(file)])
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)

    def load(self, ours: str, against: str, headers: dict[str, str]) -> list[tuple[float, float]]:
        """Requests a second on both paths, turn by turn."""
        plan = Plan(
            ours=self._side(ours, headers),
            against=self._side(against, headers),
            requests=REQUESTS,
            connections=CONNECTIONS,
            turns=TURNS,
        )
        file = self.folder / "plan.json"
        file.write_bytes(msgspec.json.encode(plan))
        done = subprocess.run(
            [sys.executable, "-m", "bench.load", str(file)],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        pairs = msgspec.json.decode(done.stdout, type=list[tuple[float, float]])
        return [(REQUESTS / mine, REQUESTS / bare) for mine, bare in pairs]

    async def ready(self, headers: dict[str, str], *paths: str) -> set[bytes]:
        """The answers of these paths, once the instance serves."""
        async with self._client() as client:
            for _ in range(200):
                try:
                    await client.get("/.troth/ready")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
            return {(await client.get(path, headers=headers)).content for path in paths}

    def _side(self, path: str, headers: dict[str, str]) -> Side:
        return Side(
            port=self.port,
            ca=str(self.servers.certificate_file),
            certificate=str(self.caller.certificate),
            key=str(self.caller.key),
            request=_request(path, headers),
        )

    def _client(self) -> httpx.AsyncClient:
        context = httpx.create_ssl_context(verify=str(self.servers.certificate_file))
        context.load_cert_chain(self.caller.certificate, self.caller.key)
        return httpx.AsyncClient(base_url=f"https://127.0.0.1:{self.port}", verify=context)


def _request(path: str, headers: dict[str, str]) -> bytes:
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def main() -> None:
    """Measure, print, and note the result."""
    with tempfile.TemporaryDirectory(prefix="troth-bench-") as name:
        folder = Path(name)
        server = Server(folder, find_binaries(None))
        server.initialise()
        server.start()
        try:
            scene = asyncio.run(prepare(server, folder))
            instance = Instance(folder)
            headers = {
                "host": scene.tenant.domain,
                "authorization": f"Bearer {scene.token}",
                "x-request-id": uuid4().hex,
            }
            ours = f"/api/v1/tickets/{scene.document.id}"
            bare = f"/plain/{scene.document.id}"
            with instance.running(server):
                answers = asyncio.run(instance.ready(headers, ours, bare))
                if answers != {scene.document.to_wire()}:
                    raise SystemExit(f"the two routes differ: {answers}")
                pairs = instance.load(ours, bare, headers)
        finally:
            server.stop()
    record(entry("api.read", pairs, aim=AIM, unit="requests/s"))


if __name__ == "__main__":
    main()
