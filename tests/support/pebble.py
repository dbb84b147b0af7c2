"""Debian's `pebble`, a real ACME server (RFC 8555) for tests, on loopback with a directory of its own.

It validates challenges where a name server of the test says that a name is, on the ports it was told: the
edge's. Its root is made anew at each start, so it has to be asked for.
"""

import asyncio
import json
import shutil
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import msgspec

from support.postgres import DIE_WITH_PARENT
from support.waiting import until_answered
from troth.core.ca import Authority, Subject, write_leaf
from troth.core.clock import SystemClock
from troth.hosting.ports import free_ports


class Pebble(msgspec.Struct, frozen=True):
    """A running server. `authority` is what its directory is trusted by; `log` says what was ordered."""

    directory: str
    management: str
    authority: Path
    log: Path

    async def root(self) -> bytes:
        """The root certificate of what it issues, PEM."""
        return await self._managed("roots/0")

    async def issuer(self) -> tuple[bytes, bytes]:
        """The certificate that signs what it issues, and its key, PEM: it answers no OCSP itself."""
        return await self._managed("intermediates/0"), await self._managed("intermediate-keys/0")

    async def _managed(self, path: str) -> bytes:
        async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=self.authority)) as client:
            return (await client.get(f"{self.management}/{path}")).raise_for_status().content

    def orders(self) -> int:
        """How many orders have been made so far."""
        return self.log.read_text().count("POST /order-plz")


@asynccontextmanager
async def pebble(
    folder: Path, *, name_server: int, http_port: int, tls_port: int, **more: object
) -> AsyncGenerator[Pebble]:
    """Runs while the block does. `name_server` is a UDP port on loopback; challenges go to the other two.
    `more` are settings of its own: `certificateValidityPeriod` in seconds, `ocspResponderURL`."""
    now = SystemClock().now()
    authority = Authority.open(folder, "acme", now=now)
    subject = Subject(common_name="localhost", dns=("localhost",), usage="server")
    leaf = write_leaf(authority.issue(subject, now=now, lifetime=timedelta(days=1)), folder, "acme-server")
    acme, management = free_ports(2)
    settings = {
        "listenAddress": f"127.0.0.1:{acme}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(leaf.certificate),
        "privateKey": str(leaf.key),
        "httpPort": http_port,
        "tlsPort": tls_port,
        **more,
    }
    file, log = folder / "pebble.json", folder / "pebble.log"
    file.write_text(json.dumps({"pebble": settings}))
    running = Pebble(
        f"https://127.0.0.1:{acme}/dir", f"https://127.0.0.1:{management}", authority.certificate_file, log
    )
    argv = ["pebble", "-strict", "-config", str(file), "-dnsserver", f"127.0.0.1:{name_server}"]
    # No waiting between challenge and validation, and no nonce refused at random: a test is to be the same
    # each time.
    environment = {"PATH": "/usr/bin:/bin", "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *DIE_WITH_PARENT, *_resolved(argv), env=environment, stdout=output, stderr=output
        )
        try:
            await until_answered(lambda: _answers(running))
            yield running
        finally:
            process.terminate()
            await process.wait()


def _resolved(argv: list[str]) -> list[str]:
    """With the program's full path: it is looked up here, not in the child's short PATH."""
    found = shutil.which(argv[0])
    assert found is not None, "run the tests with make: it provides pebble"
    return [found, *argv[1:]]


async def _answers(server: Pebble) -> bool:
    try:
        return bool(await server.root())
    except httpx.TransportError:
        return False
