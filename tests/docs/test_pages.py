"""What the pages say about the source is so: files, links, keys, promises and figures."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pages
from support.console import blocks
from support.platform import Troth, until, was_backed_up
from troth.core.promise import PROMISES

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = sorted([README, ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])

_LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")
REHEARSED = "hosting.balancing"

_ROW = re.compile(r"^\| `([a-z]+\.[a-z_]+)` \|.*\| \*{0,2}([a-z]+)\*{0,2}: [^|]+ \|$", re.MULTILINE)


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links, without those of its code blocks."""
    text = page.read_text()
    code = {line + offset for line, _, _, inside in blocks(text) for offset in range(len(inside))}
    for number, line in enumerate(text.splitlines(), start=1):
        if number not in code:
            yield from _LINK.findall(line)


def anchors(page: Path) -> set[str]:
    """The names of a page's headings as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    dead: list[str] = []
    for link in links(page):
        target, _, anchor = link.partition("#")
        if re.match(r"https?:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(link)
    assert not dead


def test_the_map_names_every_file_of_the_source() -> None:
    text = (ROOT / "docs" / "map.md").read_text()
    files = [path for path in pages.SOURCE.rglob("*") if path.suffix in (".py", ".sql", ".html")]
    named = {str(path.relative_to(pages.SOURCE)) for path in files if path.stat().st_size}
    missing = sorted(name for name in named if f"`{name}`" not in text)
    assert not missing, "run python tools/pages.py"


def test_the_map_has_every_promise_in_order() -> None:
    rows = re.findall(r"^\| ([a-z]+\.[a-z_]+) \|", (ROOT / "docs" / "map.md").read_text(), re.MULTILINE)
    assert rows == [promise.id for promise in PROMISES]


def test_every_key_of_the_example_is_documented() -> None:
    page = ROOT / "docs" / "configuration.md"
    assert page.read_text() == pages.renewed(page), "run python tools/pages.py"


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    assert {path.name for path in folder.glob("*.md")} - {"README.md"} == set(links(folder / "README.md"))


def test_every_picture_is_small() -> None:
    pictures = list((ROOT / "docs" / "images").iterdir())
    assert pictures
    assert all(picture.stat().st_size <= 200_000 for picture in pictures)


def test_the_readme_has_the_last_figures() -> None:
    argv = [sys.executable, "-m", "bench", "table"]
    table = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    _, _, rest = README.read_text().partition("<!-- bench: begin -->")
    assert rest.partition("<!-- bench: end -->")[0].strip() == table.strip(), "run python -m bench readme"


def test_the_readme_has_every_promise_in_order() -> None:
    rows = _ROW.findall(README.read_text())
    assert [name for name, _ in rows] == [promise.id for promise in PROMISES]


@pytest.mark.journey
@pytest.mark.timeout(300)
async def test_the_readme_says_of_every_promise_what_the_factsheet_says(platform: Troth) -> None:
    await platform.whole()
    await until(platform.status, was_backed_up, seconds=240, what="a backup was drilled")
    said = dict(_ROW.findall(README.read_text()))
    seen = {name: line["verdict"] for name, line in (await platform.factsheet()).items()}
    if seen[REHEARSED] != "unknown":  # a spike was rehearsed on this platform, beside the other tests
        said[REHEARSED] = seen[REHEARSED]
    assert said == seen
