"""MDN's HTTP Observatory finds nothing to object to on any domain: neither on Troth's pages nor on the
application's."""

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.chromium import program
from support.platform import Troth

NPM = Path(__file__).parents[1] / "npm"
DOMAINS = ("residents.localhost", "owners.localhost")
PAGES = ("/login", "/account/forgot", "/nowhere")


async def observe(platform: Troth, domain: str, path: str) -> dict[str, Any]:
    asked = {"host": domain, "httpsPort": platform.https_port, "httpPort": platform.http_port, "path": path}
    done = await asyncio.to_thread(
        subprocess.run,
        (program("node"), NPM / "observatory.mjs"),
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": os.environ["PATH"], "NODE_EXTRA_CA_CERTS": str(platform.state.public_ca)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("domain", DOMAINS)
async def test_the_observatory_finds_nothing_to_object_to(platform: Troth, domain: str) -> None:
    await platform.whole()
    for path in PAGES:
        seen = await observe(platform, domain, path)
        assert len(seen["findings"]) >= 10
        objections = [one for one in seen["findings"] if one["pass"] is False or one["modifier"] < 0]
        assert objections == [], f"{path}, status {seen['status']}"
