"""The examples of the documentation, run as they stand, against a real platform."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from support import console
from support.platform import Troth

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "docs/api.md",
    "docs/operations.md",
    "docs/configuration.md",
    "docs/administration.md",
    "docs/oauth.md",
)

pytestmark = [
    pytest.mark.journey,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("curl") is None, reason="the examples call curl"),
]


@pytest.mark.parametrize("page", PAGES)
def test_every_example_does_what_the_page_says(page: str, platform: Troth) -> None:
    environment = {
        **{name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TROTH_STATE": str(platform.state.root),
    }
    outcomes = console.run(ROOT / page, environment=environment, folder=ROOT, seconds=300)
    faults = [outcome.fault for outcome in outcomes if outcome.fault]
    assert outcomes
    assert not faults, "\n\n".join(faults)


def test_an_example_that_prints_something_else_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console run\n$ A=1\n$ echo a$A \\\n    b\na1 …\n$ echo x\ny\n$ false\n```\n")
    outcomes = console.run(page, environment={"PATH": os.environ["PATH"]}, folder=tmp_path, seconds=10)
    assert [bool(outcome.fault) for outcome in outcomes] == [False, False, True, True]


def test_a_block_without_the_mark_is_not_run(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ exit 1\n```\n```python run\nprint(1)\n```\n")
    (command,) = console.commands(page)
    assert "print(1)" in command.text
