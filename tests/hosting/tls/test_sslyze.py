"""sslyze, somebody else's scanner, holds every domain against Mozilla's recommendation, and finds nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.edge import OWNERS, RESIDENTS, World, running_world
from troth.core.process import Endpoint
from troth.hosting.tls.rating import rate
from troth.hosting.tls.scan import Scan, Server, scan
from troth.hosting.tls.suites import TLS_1_2, TLS_1_3

PYTHON = Path(__file__).parents[2] / "peers" / "sslyze" / ".venv" / "bin" / "python"
SECONDS = 240.0
"""For a hang alone."""


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture(scope="module")
async def scanned(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What it says to a person, and the results that it says it from, by domain."""
    assert PYTHON.exists(), "run the tests with make: it provides sslyze"
    file = tmp_path_factory.mktemp("sslyze") / "results.json"
    places = [f"{domain}:{world.state.https_port}{{127.0.0.1}}" for domain in (RESIDENTS, OWNERS)]
    process = await asyncio.create_subprocess_exec(
        *(str(PYTHON), "-m", "sslyze", "--mozilla_config=intermediate"),
        *(f"--certinfo_ca_file={world.authorities.ca('public')}", f"--json_out={file}", *places),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    results = json.loads(file.read_text())["server_scan_results"]
    by_domain = {one["server_location"]["hostname"]: one["scan_result"] for one in results}
    return f"{said.decode()}\nstatus {process.returncode}", by_domain


@pytest.mark.parametrize("domain", [RESIDENTS, OWNERS])
async def test_every_domain_is_as_mozilla_recommends(
    scanned: tuple[str, dict[str, Any]], domain: str
) -> None:
    """Asked for by name: it ends with success too when it could scan nothing at all."""
    said, _ = scanned
    place = next(line for line in said.splitlines() if domain in line and "OK - Compliant." in line)
    assert place, said
    assert said.endswith("status 0")


def suites(result: dict[str, Any], version: str) -> set[str]:
    accepted = result[f"{version}_cipher_suites"]["result"]["accepted_cipher_suites"]
    return {one["cipher_suite"]["name"] for one in accepted}


async def test_our_own_scan_sees_what_it_sees(world: World, scanned: tuple[str, dict[str, Any]]) -> None:
    own: Scan = await scan(
        Server(Endpoint("127.0.0.1", world.state.https_port), RESIDENTS), world.authorities.ca("public")
    )
    result = scanned[1][RESIDENTS]
    versions = {
        name
        for name in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3")
        if suites(result, name)
    }
    assert versions == {"tls_1_2", "tls_1_3"}
    assert set(own.versions) == {TLS_1_2, TLS_1_3}
    assert {one.name for one in own.suites} == suites(result, "tls_1_2") | suites(result, "tls_1_3")
    assert not own.compresses and not result["tls_compression"]["result"]["supports_compression"]
    renegotiation = result["session_renegotiation"]["result"]
    assert renegotiation["supports_secure_renegotiation"] is not own.renegotiates_unsafely
    assert rate(own, timedelta(days=730)).grade == "A+"
