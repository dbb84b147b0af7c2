"""`troth reload` shows what changes, where a fault is, and why it went back."""

import json
from pathlib import Path
from typing import Any

import pytest

from troth.cli import reloading
from troth.core.errors import ConfigError
from troth.hosting.progress import failed
from troth.hosting.wire import decode, encode

CHANGE = {"key": "web.instances", "how": "web", "before": "2", "after": "3", "why": ""}
RESTART = {**CHANGE, "key": "edge.https_port", "how": "restart", "why": "ports are taken at the start"}
FAULT = ConfigError(
    "No number.", file=Path("/etc/troth.toml"), line=7, key="web.instances", hint="Write one."
)


class Platform:
    """Answers as the keeper does, over JSON."""

    def __init__(self, answer: dict[str, Any], failed: str = "") -> None:
        self._answer, self._failed = answer, failed

    def ask(self, folder: Path, do: str, /, **arguments: object) -> dict[str, Any]:
        if do == "reload":
            return decode(encode(self._answer), dict[str, Any])
        return {
            "lines": ["web-1 is ready"][int(str(arguments["seen"])) :],
            "failed": self._failed,
            "done": True,
        }


def run(monkeypatch: pytest.MonkeyPatch, platform: Platform, *, json: bool = False) -> int:
    monkeypatch.setattr(reloading, "ask_platform", platform.ask)
    return reloading.reload_configuration(Path("/nowhere"), dry=False, json=json)


def answer(*changes: dict[str, str], begun: bool = True, refused: bool = False) -> dict[str, Any]:
    return {"changes": changes, "begun": begun, "refused": refused}


def test_what_changed_and_what_was_done_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, Platform(answer(CHANGE))) == 0
    shown = capsys.readouterr().out
    assert "web.instances" in shown and "2 → 3" in shown and "✓ web-1 is ready" in shown


def test_a_reload_that_went_back_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, Platform(answer(CHANGE), "web-1 went back: it errs.")) == 1
    assert "web-1 went back: it errs." in capsys.readouterr().err


def test_what_needs_a_start_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, Platform(answer(CHANGE, RESTART, begun=False, refused=True))) == 2
    told = capsys.readouterr()
    assert "Nothing was changed" in told.err and "ports are taken at the start" in " ".join(told.out.split())


@pytest.mark.parametrize("as_json", [False, True])
def test_a_fault_of_the_file_is_told_with_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    assert run(monkeypatch, Platform({"fault": failed(FAULT)}), json=as_json) == 2
    told = capsys.readouterr()
    if as_json:
        assert json.loads(told.out)["fault"]["line"] == 7
        return
    assert "/etc/troth.toml:7" in told.err and "No number." in told.err and "former" in told.err
