"""A real browser that trusts our authority as a person makes it trust us, and nothing else of ours."""

import os
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Playwright, async_playwright

from support.platform import Troth, home_of

_TOOLS = Path(__file__).parents[2] / ".tools" / "bin"
_QUIET = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def program(name: str) -> str:
    """Where a program lies that `make` brings."""
    found = shutil.which(name, path=os.pathsep.join((str(_TOOLS), *os.get_exec_path())))
    assert found, f"{name} is missing; run: make {name}"
    return found


def trust(home: Path, authority: Path) -> None:
    """What `troth up` tells people to do for Chromium on Linux."""
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    certutil, folder = program("certutil"), f"sql:{database}"
    subprocess.run((certutil, "-d", folder, "-N", "--empty-password"), check=True, timeout=60)
    subprocess.run(
        (certutil, "-d", folder, "-A", "-t", "C,,", "-n", "Troth", "-i", str(authority)),
        check=True,
        timeout=60,
    )


async def launch(playwright: Playwright, home: Path) -> Browser:
    """Start Chromium for the person who owns `home`. It checks every certificate."""
    sandbox = () if os.geteuid() else ("--no-sandbox",)  # Chromium refuses to make one as root
    return await playwright.chromium.launch(
        executable_path=program("chromium"),
        args=[*_QUIET, *sandbox],
        env={**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")},
    )


@pytest_asyncio.fixture(scope="session")
async def playwright() -> AsyncGenerator[Playwright]:
    """Playwright's driver."""
    async with async_playwright() as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def chromium(
    playwright: Playwright, platform: Troth, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Browser]:
    """One Chromium for every journey; each takes a context of its own."""
    home = tmp_path_factory.mktemp("home")
    trust(home, platform.state.public_ca)
    browser = await launch(playwright, home)
    yield browser
    await browser.close()


@asynccontextmanager
async def context(chromium: Browser, **options: object) -> AsyncGenerator[BrowserContext]:
    """A browser profile that nobody has used yet; English, on a desktop."""
    opened = await chromium.new_context(
        locale="en-GB",
        viewport={"width": 1280, "height": 900},
        **options,  # pyright: ignore[reportArgumentType]
    )
    opened.set_default_timeout(15_000)
    try:
        yield opened
    finally:
        await opened.close()


async def sign_in(page: Page, running: Troth, email: str) -> None:
    """Fill in the form of the person's own domain; ends on the portal's first page."""
    origin = running.origin(home_of(email)[1])
    await page.goto(f"{origin}/")
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_label("Password").fill(running.password(email))
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(f"{origin}/")


async def file_ticket(page: Page, origin: str, title: str, description: str) -> str:
    """Report something in the portal as a resident does; returns the ticket's address."""
    await page.goto(f"{origin}/tickets/new")
    await page.get_by_label("Heating").check()
    await page.locator("#title").fill(title)
    await page.locator("#location").fill("Flat 4b")
    await page.locator("#description").fill(description)
    await page.get_by_role("main").locator("form button").click()
    await page.wait_for_url(f"{origin}/tickets/*-*")
    return page.url.partition("?")[0]
