"""Takes the pictures of the documentation from a platform that runs: `python tools/pictures.py [STATE]`.

Real pages in a real browser, and the factsheet as the real command prints it. Writes docs/images/portal.png
and docs/images/factsheet.svg.
"""

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, ViewportSize, async_playwright
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
CHROMIUM = ROOT / ".tools" / "bin" / "chromium"
SIZE: ViewportSize = {"width": 860, "height": 720}

TICKETS: tuple[dict[str, str], ...] = (
    {
        "title": "Radiator in the kitchen stays cold",
        "category": "heating",
        "urgency": "urgent",
        "location": "Flat 12",
        "description": "Since Friday; I am at home after five.",
    },
    {
        "title": "Hinge of the bicycle cellar is loose",
        "category": "doors",
        "urgency": "normal",
        "location": "Cellar",
    },
)
ANNOUNCEMENT = {
    "title": "Lift out of service on Thursday morning",
    "category": "maintenance",
    "body": "The yearly inspection takes place between eight and ten.",
}
FRAME = """<!doctype html><style>body{margin:0;padding:28px;display:flex;gap:28px;background:#eceff1}
img{width:700px;border-radius:10px;box-shadow:0 3px 18px #0003}</style>%s"""


class Site:
    """One client domain of the running platform, and who may sign in there."""

    def __init__(self, state: Path, url: str) -> None:
        self.url = url
        self._signins: dict[str, str] = json.loads((state / "keys" / "demonstration.json").read_text())

    async def open(self, browser: Browser) -> Page:
        # The portal's pages run no script at all; without this the helper `write` would not run either.
        context = await browser.new_context(
            ignore_https_errors=True, viewport=SIZE, locale="en-GB", bypass_csp=True
        )
        page = await context.new_page()
        await page.goto(self.url)
        return page

    async def enter(self, page: Page, key: str) -> None:
        await page.fill("input[name=email]", key.partition("/")[2])
        await page.fill("input[name=password]", self._signins[key])
        await page.click("button[type=submit]")
        await page.wait_for_url(f"{self.url}/")

    async def write(self, page: Page, collection: str, document: dict[str, str]) -> None:
        """Through the API, as a script of the page would; once, however often pictures are taken."""
        script = """async ([collection, document]) => {
            const token = (await (await fetch('/session/token')).json()).access_token;
            const headers = {Authorization: `Bearer ${token}`, 'Content-Type': 'application/json',
                             'Idempotency-Key': document.title};
            const answer = await fetch(`/api/v1/${collection}`,
                                       {method: 'POST', headers, body: JSON.stringify(document)});
            return answer.status;
        }"""
        status = await page.evaluate(script, [collection, document])
        if status != 201:
            sys.exit(f"{collection}: status {status}")


def troth(state: Path, *arguments: str) -> str:
    """What a verb of the command line prints; a factsheet with a broken promise prints as well."""
    argv = [str(ROOT / ".venv" / "bin" / "troth"), *arguments, "--state", str(state)]
    environment = {**os.environ, "COLUMNS": "104", "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=environment).stdout


def draw_factsheet(state: Path) -> None:
    """The terminal as an SVG, drawn by Rich from the command's own bytes."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=104, file=nowhere, force_terminal=True)
        console.print(Text("$ troth factsheet\n", "bold"))
        console.print(Text.from_ansi(troth(state, "factsheet")))
        svg = console.export_svg(title="troth factsheet", unique_id="factsheet")
    # The picture must show without fetching a font from anywhere.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    (IMAGES / "factsheet.svg").write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


async def shoot(page: Page) -> str:
    shot = await page.screenshot(animations="disabled")
    return f'<img src="data:image/png;base64,{base64.b64encode(shot).decode()}">'


async def take_portal(state: Path, urls: list[str]) -> None:
    """Sign-in and portal, side by side, on two client domains."""
    residents, owners = (Site(state, url) for url in urls[:2])
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        manager = await residents.open(browser)
        await residents.enter(manager, "lindenhof/markus.brandt@lindenhof.example")
        await residents.write(manager, "announcements", ANNOUNCEMENT)
        signin = await shoot(await owners.open(browser))
        page = await residents.open(browser)
        await residents.enter(page, "lindenhof/anna.weber@lindenhof.example")
        for ticket in TICKETS:
            await residents.write(page, "tickets", ticket)
        await page.reload()
        home = await shoot(page)
        frame = await browser.new_page(viewport={"width": 1484, "height": 642})
        await frame.set_content(FRAME % (signin + home))
        await frame.screenshot(path=IMAGES / "portal.png", animations="disabled")
        await browser.close()


def main() -> int:
    state = Path(sys.argv[1] if len(sys.argv) > 1 else ".state").resolve()
    answer: dict[str, Any] = json.loads(troth(state, "status", "--json"))
    IMAGES.mkdir(parents=True, exist_ok=True)
    asyncio.run(take_portal(state, [address["url"] for address in answer["addresses"]]))
    draw_factsheet(state)
    return 0


if __name__ == "__main__":
    sys.exit(main())
