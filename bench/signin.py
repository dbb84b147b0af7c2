"""Sign-ins of a flood against the machine's bare PBKDF2 rate, and how long everybody else waits meanwhile.

`python -m bench.signin`. One web instance as the platform runs it, on one PostgreSQL. In each round two
threads first derive keys with the stored parameters and do nothing else; then CROWD people at as many
addresses sign in over and over by their right password. Both halves are alike in all but the signing in: the
bare threads have the priority that an instance hashes at, so that whatever else runs takes from both, and in
both a visitor asks `/session` every ten milliseconds (a tenth of this machine, with his own end). What the
crowd's own end costs counts against us. Of the visitor's waits during the flood the 99th percentile is told.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from bench.oauth import HTTPS_PORT, Instance, Scene  # noqa: E402
from bench.results import Entry, entry, record  # noqa: E402
from bench.sessions import VISITOR, Signed, instance_client, prepare  # noqa: E402
from support.access import EMAIL, PASSWORD  # noqa: E402
from support.postgres import Server  # noqa: E402
from troth.access.accounts.passwords import ROUNDS as ITERATIONS  # noqa: E402
from troth.access.accounts.pool import step_back  # noqa: E402
from troth.access.bound import percentile  # noqa: E402
from troth.core.names import SESSION_COOKIE  # noqa: E402
from troth.data.postgres import find_binaries  # noqa: E402

RATE_AIM = 0.9
WAIT_AIM_MS = 50.0
ROUNDS = 3
SECONDS = 8.0
CROWD = 20
THREADS = 2
"""As many as an instance hashes in."""


def derive_for(seconds: float) -> float:
    """Keys a second, by all threads together."""
    ends = time.monotonic() + seconds
    made = [0] * THREADS

    def work(number: int) -> None:
        step_back()
        while time.monotonic() < ends:
            PBKDF2HMAC(hashes.SHA256(), 32, os.urandom(16), ITERATIONS).derive(PASSWORD.encode())
            made[number] += 1

    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    return sum(made) / (time.monotonic() - began)


class Flood:
    """People who sign in, and somebody who does not."""

    def __init__(self, client: httpx.AsyncClient, origin: str, cookie: str) -> None:
        self._client = client
        self._origin = origin
        self._cookie = cookie
        self._ends = 0.0

    async def run(self, seconds: float) -> tuple[float, float]:
        """Sign-ins a second, and the 99th percentile of the visitor's waits in milliseconds."""
        began = time.monotonic()
        self._ends = began + seconds
        people = [asyncio.create_task(self._keep_on(number)) for number in range(CROWD)]
        waits = await self._visit()
        signed = await asyncio.gather(*people)
        rate = sum(signed) / (time.monotonic() - began)
        return rate, percentile(tuple(waits), 0.99) or 0.0

    async def bare(self, seconds: float) -> float:
        """Keys a second, while the visitor asks as he does during a flood."""
        self._ends = time.monotonic() + seconds
        rate, _ = await asyncio.gather(asyncio.to_thread(derive_for, seconds), self._visit())
        return rate

    async def sign_in(self, number: int, email: str = EMAIL) -> httpx.Response:
        """One form, from an address of its own."""
        return await self._client.post(
            "/login",
            headers={
                "Origin": self._origin,
                "Sec-Fetch-Site": "same-origin",
                "X-Forwarded-For": f"198.51.100.{number + 1}",
            },
            data={"email": email, "password": PASSWORD, "return_to": "/"},
            timeout=60,
        )

    async def _keep_on(self, number: int) -> int:
        count = 0
        while time.monotonic() < self._ends:
            answer = await self.sign_in(number)
            if answer.status_code == 303:
                count += 1
            elif answer.status_code != 429:
                raise SystemExit(f"a sign-in was answered {answer.status_code}")
        return count

    async def _visit(self) -> list[float]:
        waits: list[float] = []
        headers = {"Cookie": f"{SESSION_COOKIE}={self._cookie}"}
        while time.monotonic() < self._ends:
            began = time.monotonic()
            answer = await self._client.get("/session", headers=headers)
            if answer.status_code != 200:
                raise SystemExit(f"the visitor was answered {answer.status_code}")
            waits.append((time.monotonic() - began) * 1000)
            await asyncio.sleep(0.01)
        return waits


@asynccontextmanager
async def opened(instance: Instance, signed: Signed) -> AsyncGenerator[Flood]:
    """The way to the instance, and a session of the visitor's."""
    host = f"{signed.domain}:{HTTPS_PORT}"
    async with instance_client(instance, host, connections=CROWD + 1) as client:
        entering = await Flood(client, f"https://{host}", "").sign_in(CROWD, VISITOR)
        cookie = entering.cookies.get(SESSION_COOKIE)
        if not cookie:
            raise SystemExit(f"the visitor could not sign in: {entering.status_code}")
        yield Flood(client, f"https://{host}", cookie)


async def measure(instance: Instance, signed: Signed) -> tuple[Entry, Entry]:
    """ROUNDS pairs of bare keys and sign-ins."""
    rates: list[tuple[float, float]] = []
    waits: list[tuple[float, float]] = []
    async with opened(instance, signed) as flood:
        await flood.run(1.0)
        for _ in range(ROUNDS):
            bare = await flood.bare(SECONDS)
            rate, wait = await flood.run(SECONDS)
            print(f"  {rate:.2f} sign-ins/s against {bare:.2f} keys/s; others wait {wait:.1f} ms (p99)")
            rates.append((rate, bare))
            waits.append((wait, WAIT_AIM_MS))
    return (
        entry("signin.flood-rate", rates, aim=RATE_AIM, unit="sign-ins/s"),
        entry("signin.flood-others-p99", waits, aim=1.0, unit="ms", at_least=False),
    )


def main() -> None:
    """Measure, print, and note the results."""
    with tempfile.TemporaryDirectory(prefix="troth-bench-") as name:
        folder = Path(name)
        server = Server(folder, find_binaries(None))
        server.initialise()
        server.start()
        try:
            signed = asyncio.run(prepare(server, folder))
            instance = Instance(folder, Scene(f"{signed.domain}:{HTTPS_PORT}", "", "", "", ()))
            with instance.running(server):
                results = asyncio.run(measure(instance, signed))
        finally:
            server.stop()
    record(*results)


if __name__ == "__main__":
    main()
