"""Introspection, session check and refresh of one web instance against node oidc-provider in memory.

`python -m bench.oauth`. Ours is an instance as the platform runs it (`troth.web.app` under
`troth.hosting.runner`: Granian, TLS 1.3, client certificate) on one PostgreSQL that waits for its disk at
each commit; theirs is one process that keeps everything in memory and forgets it. django-oauth-toolkit, on
the same PostgreSQL, is asked for refreshes too. Both are asked over 16 kept connections with mutual
TLS, in short turns. The session check of theirs is its userinfo endpoint, which looks a token up and answers
whose it is, as `/session` does for a cookie.

Each refresh rotates: ours signs an access token for it and commits the rotation, theirs gives out a random
one.
"""

import asyncio
import base64
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from bench.load import Plan, Side  # noqa: E402
from bench.peer_servers import Certificates, Peer, django_toolkit, oidc_provider  # noqa: E402
from bench.results import Entry, entry, record  # noqa: E402
from support.access import CALLBACK, Access, House, furnish  # noqa: E402
from support.client import CHALLENGE, VERIFIER  # noqa: E402
from support.clients import add_client  # noqa: E402
from support.postgres import Server  # noqa: E402
from troth.access.oauth.authorize import AuthorizationRequest  # noqa: E402
from troth.access.oauth.client_authentication import ClientRequest  # noqa: E402
from troth.access.oauth.clients import Client  # noqa: E402
from troth.access.oauth.decision import Granting  # noqa: E402
from troth.access.oauth.grant import TokenResponse  # noqa: E402
from troth.access.scopes import scope_set  # noqa: E402
from troth.access.sessions import Session  # noqa: E402
from troth.core.db import Database  # noqa: E402
from troth.core.migrations import migrate  # noqa: E402
from troth.core.names import SESSION_COOKIE  # noqa: E402
from troth.data.keys import make_root_key, read_root_key  # noqa: E402
from troth.data.postgres import find_binaries  # noqa: E402
from troth.data.roles import APP, AUDITOR, OWNER, SUPERUSER, bootstrap  # noqa: E402
from troth.hosting.instance_file import InstanceFile  # noqa: E402
from troth.hosting.ports import free_ports  # noqa: E402
from troth.hosting.wire import encode  # noqa: E402
from troth.wiring.blueprint import WebConfiguration  # noqa: E402

TURNS = 9
REQUESTS = 320
CONNECTIONS = 16
SCOPE = "tickets:read:own announcements:read"
HTTPS_PORT = 8443


class Scene(msgspec.Struct, frozen=True):
    """What our instance is asked for."""

    host: str
    secret: str
    cookie: str
    access: str
    refresh: tuple[str, ...]
    others: tuple[str, ...] = ()
    """Refresh tokens for a second comparison."""


async def prepare(server: Server, folder: Path) -> Scene:
    """Roles, schema, a tenant, a signed-in person, a client, and a refresh token for each connection."""
    await (await Database.open(server.target(SUPERUSER, "postgres"))).close()
    await bootstrap(server.target(SUPERUSER, "postgres"))
    await migrate(server.target(OWNER))
    superuser = await Database.open(server.target(SUPERUSER, "postgres"), max_size=1)
    await superuser.execute("create database peer owner troth_app template template0")
    await superuser.close()
    make_root_key(folder / "root.key")
    opened = [await Database.open(server.target(role), max_size=2) for role in (APP, OWNER, AUDITOR)]
    access = Access(*opened, root=read_root_key(folder / "root.key"))
    try:
        house = await furnish(access)
        method = "client_secret_basic"
        secret = await add_client(house, "bench", token_endpoint_auth_method=method)
        client = await access.clients.find(house.domain, "bench")
        assert client is not None
        begun = await house.begin()
        tokens = [await grant(house, client, begun.session) for _ in range(2 * CONNECTIONS)]
        host = f"{house.domain.name}:{HTTPS_PORT}"
        refresh = tuple(one.refresh_token for one in tokens)
        first, second = refresh[:CONNECTIONS], refresh[CONNECTIONS:]
        return Scene(host, secret, begun.token, tokens[0].access_token, first, second)
    finally:
        access.passwords.close()
        for database in opened:
            await database.close()


async def grant(house: House, client: Client, session: Session) -> TokenResponse:
    """What the client gets for a code."""
    access = house.access
    asked = AuthorizationRequest(
        client=client.id, redirect_uri=CALLBACK, scope=SCOPE, challenge=CHALLENGE, asked_at=0
    )
    granted = await access.decisions.issue(house.domain, asked, session, Granting(scope_set(SCOPE.split())))
    code = granted.location.partition("code=")[2].partition("&")[0]
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    return await access.token_endpoint.answer(house.domain, client, ClientRequest(form=form))


class Instance:
    """One web instance and the loader's way to it."""

    def __init__(self, folder: Path, scene: Scene) -> None:
        self.folder = folder
        self.scene = scene
        self.port = free_ports(1)[0]
        self.certificates = Certificates.make(folder)

    @contextmanager
    def running(self, server: Server) -> Generator[None]:
        """Serve while the block runs."""
        configuration = WebConfiguration(
            platform="bench",
            database=server.target(APP),
            root_key=self.folder / "root.key",
            https_port=HTTPS_PORT,
            connections=8,
            collections={},
            public={},
        )
        web = self.folder / "web.json"
        web.write_bytes(encode(configuration))
        instance = InstanceFile(
            name="web-1",
            kind="web",
            target="troth.web.app:create",
            factory=True,
            folder=self.folder,
            port=self.port,
            certificate=self.certificates.server_certificate,
            key=self.certificates.server_key,
            client_ca=self.certificates.client_ca,
            environment={"TROTH_WEB": str(web)},
        )
        file = self.folder / "instance.json"
        file.write_bytes(encode(instance))
        process = subprocess.Popen([sys.executable, "-m", "troth.hosting.runner", str(file)], env=os.environ)
        try:
            asyncio.run(self._ready())
            yield
        finally:
            process.terminate()
            process.wait(30)

    @property
    def sides(self) -> dict[str, Side]:
        """What it is asked, by the names of the results."""
        token = f"token={quote(self.scene.access)}".encode()
        renewal = b"grant_type=refresh_token&refresh_token={next}"
        cookie = f"{SESSION_COOKIE}={self.scene.cookie}"
        return {
            "oauth.introspect": self._side(self._post("/oauth/introspect", token, str(len(token)))),
            "session.check-http": self._side(
                f"GET /session HTTP/1.1\r\nhost: {self.scene.host}\r\ncookie: {cookie}\r\n\r\n".encode()
            ),
            "oauth.refresh": self._refreshing(renewal, self.scene.refresh),
            "oauth.refresh-django": self._refreshing(renewal, self.scene.others),
        }

    def _refreshing(self, body: bytes, starts: tuple[str, ...]) -> Side:
        request = self._post("/oauth/token", body, "{length}")
        return self._side(request, follow="refresh_token", starts=starts)

    def _post(self, path: str, body: bytes, length: str) -> bytes:
        basic = base64.b64encode(f"bench:{self.scene.secret}".encode()).decode()
        lines = (
            f"POST {path} HTTP/1.1",
            f"host: {self.scene.host}",
            f"authorization: Basic {basic}",
            "content-type: application/x-www-form-urlencoded",
            f"content-length: {length}",
        )
        return "\r\n".join((*lines, "", "")).encode() + body

    def _side(self, request: bytes, *, follow: str = "", starts: tuple[str, ...] = ()) -> Side:
        caller = self.certificates
        return Side(
            port=self.port,
            ca=str(caller.ca),
            certificate=str(caller.certificate),
            key=str(caller.key),
            request=request,
            follow=follow,
            starts=starts,
        )

    async def _ready(self) -> None:
        context = httpx.create_ssl_context(verify=str(self.certificates.ca))
        context.load_cert_chain(self.certificates.certificate, self.certificates.key)
        async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{self.port}", verify=context) as client:
            for _ in range(200):
                try:
                    await client.get("/.troth/ready")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)


def theirs(peer: Peer, django: Peer) -> dict[str, Side]:
    """The same questions to the peers."""
    return {
        "oauth.refresh-django": django.refreshing("/token"),
        "oauth.introspect": peer.introspecting("/token/introspection"),
        "session.check-http": peer.asking_who("/me"),
        "oauth.refresh": peer.refreshing("/token"),
    }


def load(folder: Path, ours: Side, against: Side) -> list[tuple[float, float]]:
    """Requests a second of both, turn by turn."""
    plan = Plan(ours=ours, against=against, requests=REQUESTS, connections=CONNECTIONS, turns=TURNS)
    file = folder / "plan.json"
    file.write_bytes(msgspec.json.encode(plan))
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", str(file)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    pairs = msgspec.json.decode(done.stdout, type=list[tuple[float, float]])
    return [(REQUESTS / mine, REQUESTS / other) for mine, other in pairs]


AIMS = {
    "oauth.introspect": 1.0,
    "session.check-http": 1.0,
    "oauth.refresh": 0.5,
    "oauth.refresh-django": 10.0,
}


def measure(server: Server, folder: Path) -> tuple[Entry, ...]:
    """All of them, on a server that was just started."""
    scene = asyncio.run(prepare(server, folder))
    for name in ("peer", "django"):
        (folder / name).mkdir()
    instance = Instance(folder, scene)
    with (
        instance.running(server),
        oidc_provider(folder / "peer", chains=CONNECTIONS) as peer,
        django_toolkit(folder / "django", server, chains=CONNECTIONS) as django,
    ):
        others = theirs(peer, django)
        return tuple(
            entry(name, load(folder, side, others[name]), aim=AIMS[name], unit="requests/s")
            for name, side in instance.sides.items()
        )


def main() -> None:
    """Measure, print, and note the results."""
    with tempfile.TemporaryDirectory(prefix="troth-bench-") as name:
        folder = Path(name)
        server = Server(folder, find_binaries(None), durable=True)
        server.initialise()
        server.start()
        try:
            record(*measure(server, folder))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
