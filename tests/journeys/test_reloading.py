"""troth.toml is changed while people use the platform: brought into force, refused, or taken back."""

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.platform import EXAMPLE, RESIDENTS, Done, Troth, ended, state_folder, troth
from support.rounds import in_many_rounds, tell
from troth.core.db import Database
from troth.core.reach import Visitor
from troth.data.roles import SUPERUSER
from troth.hosting.spike import Flood, flood

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600), in_many_rounds]

NEW = "gardens.localhost"
MORE = f"""
[tenants.gardens]
name = "Gardens"

[[domains]]
name = "{NEW}"
tenant = "gardens"
app = "portal"
branding.name = "Gardens"
"""
RATE = ("client_per_second = 30\n", "client_per_second = 500\n")


class Edited(Troth):
    """A platform whose troth.toml is a copy that may be changed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, members=1)
        place = root.parent / "example"
        shutil.copytree(EXAMPLE.parent, place, ignore=shutil.ignore_patterns("__pycache__"))
        self.config = place / EXAMPLE.name
        self.text = self.config.read_text().replace(*RATE)
        self.config.write_text(self.text)

    def write(self, *pairs: tuple[str, str], more: str = "") -> None:
        """Change what was there at first, and add something."""
        text = self.text
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        self.config.write_text(text + more)

    async def reload(self, *options: str) -> Done:
        return await asyncio.to_thread(troth, "reload", "--state", self.state.root, *options)

    async def web(self) -> dict[str, tuple[str, int]]:
        """The release and the process of each instance of the web service."""
        instances = (await self.status())["instances"]
        return {one["name"]: (one["release"], one["pid"]) for one in instances if one["service"] == "web"}


@pytest.fixture(scope="module")
def running() -> Generator[Edited]:
    with state_folder() as root:
        running = Edited(root)
        with ended(running):
            done = troth("up", *running.arguments(config=running.config), "--detach")
            assert done.status == 0, done.output + done.errors
            yield running


@pytest.fixture
async def load(running: Edited) -> AsyncGenerator[Flood]:
    async with flood(running.face, RESIDENTS, "/assets/base.css", 4, pause=0.02) as seen:
        yield seen


async def status_of(running: Edited, domain: str) -> int:
    try:
        async with Visitor(running.face) as visitor:
            return (await visitor.request("GET", domain, "/login")).status_code
    except httpx.ConnectError:
        return 0


async def events(running: Edited) -> list[tuple[str, dict[str, Any]]]:
    database = await Database.open(running.database(SUPERUSER), max_size=1)
    try:
        rows = await database.fetch(
            "select event, detail from troth.audit_event where event like 'configuration.%' order by id"
        )
    finally:
        await database.close()
    return [(row["event"], json.loads(row["detail"])) for row in rows]


async def test_instances_domains_and_limits_change_without_a_lost_request(
    running: Edited, load: Flood, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await running.web()
    assert await status_of(running, NEW) == 0
    running.write(("network_per_second = 300", "network_per_second = 3000"), more=MORE)
    dry = json.loads((await running.reload("--dry-run", "--json")).output)
    assert {one["key"]: one["how"] for one in dry["changes"]} == {
        "web.network_per_second": "web",
        "tenants.gardens": "live",
        f"domains.{NEW}": "live",
    }
    assert await running.web() == before, "a dry run changes nothing"
    done = await running.reload("--json")
    told = json.loads(done.output)
    assert (done.status, told["failed"]) == (0, ""), done.errors
    after = await running.web()
    assert {pid for _, pid in before.values()}.isdisjoint(pid for _, pid in after.values())
    assert await status_of(running, NEW) == 200
    assert f"https://{NEW}:{running.https_port}" in str((await running.status())["addresses"])
    assert load.sent > 100
    assert (load.failed, load.fault) == (0, "")
    ((event, detail),) = await events(running)
    assert (event, NEW in str(detail["keys"])) == ("configuration.reloaded", True)
    again = await running.reload()
    assert (again.status, "Nothing has changed" in again.output) == (0, True)
    running.text = running.config.read_text()
    tell(capsys, f"{load.sent} requests, none lost, web instances, a tenant and a domain: {told['steps']}")


async def test_a_faulty_file_changes_nothing_and_says_where(running: Edited, load: Flood) -> None:
    before = await running.web()
    running.write(("network_per_second = 3000", "network_per_second = 'many'"))
    done = await running.reload()
    line = running.config.read_text()[: running.config.read_text().index("'many'")].count("\n") + 1
    assert done.status == 2
    assert f"troth.toml:{line}" in done.errors and "network_per_second" in done.errors
    assert await running.web() == before
    assert (load.failed, load.fault) == (0, "")
    running.write()


async def test_what_needs_a_restart_is_refused_whole(running: Edited) -> None:
    before = await running.web()
    running.write(("lifetime_minutes = 1440", "lifetime_minutes = 720"), ("= 3000", "= 4000"))
    done = await running.reload()
    assert done.status == 2
    assert "certificates.lifetime_minutes" in done.output and "troth down" in done.errors
    assert await running.web() == before
    running.write()


async def test_a_configuration_that_the_edge_refuses_goes_back_with_the_reason(
    running: Edited, load: Flood, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await running.web()
    (running.config.parent / "odd.pem").write_text("no certificate")
    acme = '[acme]\ndirectory = "https://acme.example/d"\ncontact = "a@b.example"\nterms_agreed = true\n'
    running.write(("= 3000", "= 4000"), more=f'{acme}ca = "odd.pem"\n')
    done = await running.reload()
    assert done.status == 1, done.output + done.errors
    assert "The edge refused its new configuration" in done.errors
    after = await running.web()
    assert {release for release, _ in after.values()} == {release for release, _ in before.values()}
    assert {pid for _, pid in before.values()}.isdisjoint(pid for _, pid in after.values())
    assert (await running.status())["ready"]
    assert await status_of(running, NEW) == 200
    assert (load.failed, load.fault) == (0, "")
    assert (await events(running))[-1][0] == "configuration.went_back"
    running.write()
    assert "Nothing has changed" in (await running.reload()).output
    tell(capsys, f"{load.sent} requests, none lost, while new instances came and went back")


SHOP = """
[apps.shop]
target = "shop:app"
folder = "shop"
instances = 1
public = ["/"]

[[domains]]
name = "shop.localhost"
tenant = "lindenhof"
app = "shop"
branding.name = "Shop"
"""

CODE = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the shop is open"})
"""


async def test_an_application_comes_and_goes(running: Edited) -> None:
    async def shop() -> tuple[int, str]:
        try:
            async with Visitor(running.face) as visitor:
                answer = await visitor.request("GET", "shop.localhost", "/")
        except httpx.ConnectError:
            return 0, ""
        return answer.status_code, answer.text

    folder = running.config.parent / "shop"
    folder.mkdir()
    (folder / "shop.py").write_text("raise RuntimeError('a defect')")
    running.write(more=SHOP)
    assert (await running.reload()).status == 1, "it does not start: everything is as before"
    assert {one["service"] for one in (await running.status())["instances"]} == {"web", "portal"}
    (folder / "shop.py").write_text(CODE)
    done = await running.reload()
    assert done.status == 0, done.output + done.errors
    assert await shop() == (200, "the shop is open")
    scaled = await asyncio.to_thread(troth, "scale", "shop", "2", "--state", running.state.root)
    assert scaled.status == 0, scaled.errors
    (folder / "shop.py").write_text(CODE.replace("open", "closed"))
    deployed = await asyncio.to_thread(
        troth, "deploy", "shop", "--probation", "0", "--state", running.state.root
    )
    assert (deployed.status, (await shop())[1]) == (0, "the shop is closed"), deployed.errors
    running.write()
    assert (await running.reload()).status == 0
    assert (await shop())[0] in (0, 404, 421)
    status = await running.status()
    assert {one["service"] for one in status["instances"]} == {"web", "portal"}
    assert status["ready"], status["troubles"]


async def test_a_domain_that_is_taken_out_serves_no_more(running: Edited, load: Flood) -> None:
    running.write((MORE, ""))
    assert (await running.reload()).status == 0
    assert await status_of(running, NEW) in (0, 404, 421)
    assert (load.failed, load.fault) == (0, "")
