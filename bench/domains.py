"""Ten thousand domains in one platform: what they cost in memory, and in the time of a sign-in.

`python -m bench.domains`. Two real platforms side by side with one database member each: one has ten domains,
the other ten thousand, three thousand of which are visited, each with a certificate made for it. Then people
sign in at both by turns, so that whatever else the machine does slows both.
"""

import asyncio
import random
import ssl
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import msgspec
import psutil

from bench.results import Entry, entry, record
from bench.start import Platform
from troth.access.ownership import NameServers
from troth.access.tenancy import Tenancy
from troth.access.visit import Account, sign_in
from troth.core.db import Database
from troth.core.leader import DatabaseTarget
from troth.core.reach import PublicFace, Visitor
from troth.core.secret import Secret
from troth.core.state import State
from troth.hosting.wire import decode
from troth.wiring.blueprint import WebConfiguration

FEW, MANY = 10, 10_000
TENANT, APP, EMAIL = "lindenhof", "portal", "anna.weber@lindenhof.example"
SIGN_INS = 20
VISITED = 3_000
"""More than the edge and the instances keep in memory at once: what comes after them takes their places."""

AT_ONCE = 4
MEMORY_AIM, LATENCY_AIM = 50.0, 1.1
"""Megabytes more, and how much longer a sign-in may take."""

DOMAINS = [f"d{number}.bench.localhost" for number in range(MANY)]


class Bench:
    """A running platform, and a way into its database as the operator's."""

    def __init__(self, platform: Platform, owner: Database) -> None:
        state = State(platform.folder)
        self._folder = platform.folder
        self._owner = owner
        self._tenancy = Tenancy(owner, frozenset({APP}), NameServers())
        self._face = PublicFace(
            address="127.0.0.1",
            https_port=platform.https,
            http_port=platform.http,
            domains=tuple(DOMAINS),
            ca=state.public_ca,
        )
        self._context = ssl.create_default_context(cafile=str(state.public_ca))
        signins: dict[str, str] = msgspec.json.decode(state.signins.read_bytes())
        self._password = Secret(signins[f"{TENANT}/{EMAIL}"].encode())

    async def fill(self, names: list[str], visited: list[str]) -> float:
        """Add the domains and visit some; returns how many megabytes edge and web instances grew by it."""
        await self._tenancy.add_local_domains(TENANT, APP, DOMAINS[:FEW])
        await self._visit(DOMAINS[:FEW] * 100)
        before = self._memory()
        await self._tenancy.add_local_domains(TENANT, APP, names)
        await self._visit(visited)
        return self._memory() - before

    async def _visit(self, names: list[str]) -> None:
        """The sign-in page of each, over a connection of its own."""
        for start in range(0, len(names), AT_ONCE):
            await asyncio.gather(*(self._page(name) for name in names[start : start + AT_ONCE]))

    async def _page(self, name: str) -> None:
        async with httpx.AsyncClient(verify=self._context, timeout=30, trust_env=False) as client:
            answer = await client.get(
                f"https://127.0.0.1:{self._face.https_port}/login",
                headers={"Host": f"{name}:{self._face.https_port}"},
                extensions={"sni_hostname": name},
            )
        answer.raise_for_status()

    async def sign_in(self, name: str) -> float:
        """Milliseconds of a sign-in, on a connection that is warm."""
        async with Visitor(self._face) as visitor:
            await visitor.request("GET", name, "/login")
            began = time.perf_counter()
            await sign_in(visitor, self._face, Account(name, EMAIL, self._password))
            return (time.perf_counter() - began) * 1000

    def _memory(self) -> float:
        """Megabytes of the edge and the web instances together (RSS)."""
        found = 0
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            if str(self._folder) in line and ("caddy.json" in line or "/instances/web" in line):
                found += process.memory_info().rss
        return found / 1e6


def owner_target(folder: Path) -> DatabaseTarget:
    """The database as the web instances know it, with the owner's certificate."""
    told = decode((folder / "run" / "web.json").read_bytes(), WebConfiguration).database
    place = folder / "run" / "certificates" / "database_clients"
    return msgspec.structs.replace(
        told, user="troth_owner", certificate=place / "troth_owner.pem", key=place / "troth_owner.key"
    )


async def measure(few: Platform, many: Platform) -> tuple[Entry, ...]:
    """With the operator's databases opened and closed around it."""
    async with AsyncExitStack() as stack:

        async def enter(platform: Platform) -> Bench:
            owner = await Database.open(owner_target(platform.folder), max_size=2)
            stack.push_async_callback(owner.close)
            return Bench(platform, owner)

        small, large = await enter(few), await enter(many)
        await small.fill(DOMAINS[:FEW], DOMAINS[:FEW])
        grown = await large.fill(DOMAINS, random.sample(DOMAINS, VISITED))
        pairs: list[tuple[float, float]] = []
        for number in range(SIGN_INS + 1):
            ours = await large.sign_in(random.choice(DOMAINS))
            pairs.append((ours, await small.sign_in(DOMAINS[number % FEW])))
    return (
        entry("domains.memory", [(grown, MEMORY_AIM)], aim=1.0, unit="MB", at_least=False),
        entry("domains.sign-in", pairs[1:], aim=LATENCY_AIM, unit="ms", at_least=False),
    )


def main() -> None:
    """Measure once: thousands of certificates take minutes."""
    with tempfile.TemporaryDirectory(prefix="troth-bench-") as folder:
        few, many = Platform(Path(folder) / "few", 1), Platform(Path(folder) / "many", 1)
        with few.running() as (first, began):
            few.until_first_page(first, began)
            with many.running() as (second, again):
                many.until_first_page(second, again)
                record(*asyncio.run(measure(few, many)))


if __name__ == "__main__":
    main()
