"""Ten thousand domains in one platform: what they cost in memory, and in the time of a sign-in.

`python -m bench.domains`. The real `troth up` with one database member. Ten domains are added and visited,
then ten thousand, three thousand of which are visited at random, each with a certificate made for it; people
sign in anywhere after each.
"""

import asyncio
import random
import ssl
import tempfile
import time
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

    async def measure(self) -> tuple[Entry, ...]:
        """Few domains first, then many; the processes are the same."""
        await self._tenancy.add_local_domains(TENANT, APP, DOMAINS[:FEW])
        await self._visit(DOMAINS[:FEW] * 100)
        few, memory = await self._sign_ins(DOMAINS[:FEW]), self._memory()
        await self._tenancy.add_local_domains(TENANT, APP, DOMAINS)
        await self._visit(random.sample(DOMAINS, VISITED))
        many, after = await self._sign_ins(DOMAINS), self._memory()
        print(f"web instances and edge: {memory:.0f} MB, then {after:.0f} MB")
        return (
            entry("domains.memory", [(after - memory, MEMORY_AIM)], aim=1.0, unit="MB", at_least=False),
            entry(
                "domains.sign-in",
                list(zip(sorted(many), sorted(few), strict=True)),
                aim=LATENCY_AIM,
                unit="ms",
                at_least=False,
            ),
        )

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

    async def _sign_ins(self, names: list[str]) -> list[float]:
        """Milliseconds of sign-ins on domains taken at random, one after the other, on warm connections."""
        taken: list[float] = []
        for name in random.choices(names, k=SIGN_INS):
            async with Visitor(self._face) as visitor:
                await visitor.request("GET", name, "/login")
                began = time.perf_counter()
                await sign_in(visitor, self._face, Account(name, EMAIL, self._password))
                taken.append((time.perf_counter() - began) * 1000)
        return taken

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


async def measure(platform: Platform) -> tuple[Entry, ...]:
    """With the operator's database opened and closed around it."""
    owner = await Database.open(owner_target(platform.folder), max_size=2)
    try:
        return await Bench(platform, owner).measure()
    finally:
        await owner.close()


def main() -> None:
    """Measure once: ten thousand certificates take minutes."""
    with tempfile.TemporaryDirectory(prefix="troth-bench-") as folder:
        platform = Platform(Path(folder) / "state", 1)
        with platform.running() as (process, began):
            platform.until_first_page(process, began)
            record(*asyncio.run(measure(platform)))


if __name__ == "__main__":
    main()
