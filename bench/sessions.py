"""How long two web instances accept a session after its sign-out was sent to one of them.

`python -m bench.sessions`. Two instances as the platform runs them (`troth.web.app` under
`troth.hosting.runner`: Granian, TLS 1.3, client certificate) on one PostgreSQL. Both remember the session
when it ends: they were asked about it a moment before. One is told by the browser, the other only by the feed
of endings. The clock runs from the sending of the sign-out, so the commit counts, until both have refused the
cookie; what stands in the table is the median over the rounds of the 99th percentile of each.
"""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from uuid import UUID

import httpx
import msgspec

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from bench.oauth import HTTPS_PORT, Instance, Scene  # noqa: E402
from bench.results import Entry, entry, record  # noqa: E402
from support.access import Access, furnish, password_hash  # noqa: E402
from support.postgres import Server  # noqa: E402
from troth.access.accounts.people import Profile  # noqa: E402
from troth.access.bound import percentile, until_refused  # noqa: E402
from troth.access.sessions import Sessions  # noqa: E402
from troth.access.tenants import Domain, DomainDirectory  # noqa: E402
from troth.core.clock import SystemClock  # noqa: E402
from troth.core.db import Database  # noqa: E402
from troth.core.migrations import migrate  # noqa: E402
from troth.core.names import SESSION_COOKIE  # noqa: E402
from troth.data.keys import KeyRing, Sealer, make_root_key, read_root_key  # noqa: E402
from troth.data.postgres import find_binaries  # noqa: E402
from troth.data.roles import APP, AUDITOR, OWNER, SUPERUSER, bootstrap  # noqa: E402
from troth.web.endings import FEED_PATH  # noqa: E402

AIM_MS = 50.0
ROUNDS = 3
LOGOUTS = 100
"""In each round."""

VISITOR = "ben.visitor@lindenhof.example"

PEOPLE = "told by the browser", "told by the feed"


class Signed(msgspec.Struct, frozen=True):
    """Whose sessions are begun and ended."""

    domain: str
    person: UUID


async def prepare(server: Server, folder: Path) -> Signed:
    """Waits for the server, then makes roles, schema, a tenant and a person."""
    await (await Database.open(server.target(SUPERUSER, "postgres"))).close()
    await bootstrap(server.target(SUPERUSER, "postgres"))
    await migrate(server.target(OWNER))
    make_root_key(folder / "root.key")
    opened = [await Database.open(server.target(role), max_size=2) for role in (APP, OWNER, AUDITOR)]
    app, owner, auditor = opened
    access = Access(app, owner, auditor, root=read_root_key(folder / "root.key"))
    try:
        house = await furnish(access)
        # One person's oldest sessions end when there are too many: whoever only looks on is somebody else.
        await access.registrar.add(
            house.tenant.id, Profile(VISITOR, "Ben Visitor"), ("resident",), await password_hash(access)
        )
        return Signed(house.domain.name, house.person)
    finally:
        access.passwords.close()
        for database in opened:
            await database.close()


class Bench:
    """Two instances, and somebody who signs in and out."""

    def __init__(
        self, sessions: Sessions, domain: Domain, person: UUID, clients: list[httpx.AsyncClient]
    ) -> None:
        self._sessions = sessions
        self._domain = domain
        self._person = person
        self._clients = clients

    async def until_lively(self) -> None:
        """Both feeds hear."""
        for client in self._clients:
            for _ in range(200):
                if (await client.get(FEED_PATH)).json()["lively"]:
                    break
                await asyncio.sleep(0.05)
            else:
                raise SystemExit("a feed of endings hears nothing")

    async def logout(self) -> float:
        """Milliseconds of one. Ends the program when an instance accepts before and never refuses after."""
        begun = await self._sessions.begin(self._domain, self._person)
        cookie = {"Cookie": f"{SESSION_COOKIE}={begun.token}"}
        before = [(await client.get("/session", headers=cookie)).status_code for client in self._clients]
        own = {"Origin": self._domain.issuer, "Sec-Fetch-Site": "same-origin"}
        began = time.monotonic()
        left = await self._clients[0].post("/logout", headers={**cookie, **own})
        trials = await asyncio.gather(
            *(
                self._refused(name, client, cookie, began)
                for name, client in zip(PEOPLE, self._clients, strict=True)
            )
        )
        if before != [200, 200] or left.status_code != 303 or None in trials:
            raise SystemExit(f"before {before}, sign-out {left.status_code}, refused after {trials}")
        return max(one for one in trials if one is not None)

    async def _refused(
        self, name: str, client: httpx.AsyncClient, cookie: dict[str, str], began: float
    ) -> float | None:
        async def ask() -> int:
            return (await client.get("/session", headers=cookie)).status_code

        trial = await until_refused(name, ask, began)
        return trial.refused if trial else None


@asynccontextmanager
async def opened(
    server: Server, folder: Path, signed: Signed, instances: list[Instance]
) -> AsyncGenerator[Bench]:
    """The way to the instances and to the database that they share."""
    database = await Database.open(server.target(APP), max_size=1)
    sealer = Sealer(KeyRing(database, read_root_key(folder / "root.key")))
    domain = await DomainDirectory(database, SystemClock(), port=HTTPS_PORT).find(signed.domain)
    clients = [instance_client(instance, f"{signed.domain}:{HTTPS_PORT}") for instance in instances]
    try:
        yield Bench(Sessions(database, sealer), domain, signed.person, clients)
    finally:
        for client in clients:
            await client.aclose()
        await database.close()


def instance_client(instance: Instance, host: str, *, connections: int = 10) -> httpx.AsyncClient:
    """Asks one instance as the edge does, for one domain."""
    held = instance.certificates
    context = httpx.create_ssl_context(verify=str(held.ca))
    context.load_cert_chain(held.certificate, held.key)
    return httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{instance.port}",
        headers={"Host": host},
        verify=context,
        trust_env=False,
        limits=httpx.Limits(max_connections=connections),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # nobody's cookie becomes another's
    )


async def measure(server: Server, folder: Path, signed: Signed, instances: list[Instance]) -> Entry:
    """ROUNDS times the 99th percentile of LOGOUTS."""
    async with opened(server, folder, signed, instances) as bench:
        await bench.until_lively()
        for _ in range(5):
            await bench.logout()
        pairs: list[tuple[float, float]] = []
        for _ in range(ROUNDS):
            values = tuple([await bench.logout() for _ in range(LOGOUTS)])
            pairs.append((percentile(values, 0.99) or 0.0, AIM_MS))
            print(
                f"  p50 {percentile(values, 0.5):.1f}, p99 {pairs[-1][0]:.1f}, at most {max(values):.1f} ms"
            )
    return entry("session.logout-p99", pairs, aim=1.0, unit="ms", at_least=False)


def main() -> None:
    """Measure, print, and note the result."""
    with tempfile.TemporaryDirectory(prefix="troth-bench-") as name:
        folder = Path(name)
        server = Server(folder, find_binaries(None))
        server.initialise()
        server.start()
        try:
            signed = asyncio.run(prepare(server, folder))
            instances = [_instance(folder, signed, place) for place in ("told", "hears")]
            with ExitStack() as running:
                for instance in instances:
                    running.enter_context(instance.running(server))
                result = asyncio.run(measure(server, folder, signed, instances))
        finally:
            server.stop()
    record(result)


def _instance(folder: Path, signed: Signed, place: str) -> Instance:
    """Each has a folder, and so certificates, of its own."""
    own = folder / place
    own.mkdir()
    shutil.copy(folder / "root.key", own / "root.key")
    return Instance(own, Scene(f"{signed.domain}:{HTTPS_PORT}", "", "", "", ()))


if __name__ == "__main__":
    main()
