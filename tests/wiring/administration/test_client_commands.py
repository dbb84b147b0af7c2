"""`troth client`: what a person types, what is asked of the platform, and what is printed once."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from troth.cli import administration
from troth.cli.client import clients

Asked = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the platform was asked for; its answers are those of the verbs."""
    seen: Asked = []
    answers: dict[str, dict[str, Any]] = {
        "client.add": {"client": "books", "secret": "the-secret"},
        "client.rotate": {"client": "books", "secret": "the-new-one"},
        "client.invite": {"token": "the-invitation"},
        "client.disable": {"client": "books", "grants_ended": 3},
        "client.list": {
            "clients": [
                {
                    "client": "books",
                    "name": "Books",
                    "method": "client_secret_post",
                    "origin": "operator",
                    "grants": 2,
                    "disabled": True,
                    "metadata": {"require_pkce": True},
                }
            ]
        },
    }

    def ask(_: Path, do: str, /, **arguments: Any) -> dict[str, Any]:
        seen.append((do, arguments))
        return answers[do]

    monkeypatch.setattr(administration, "ask_platform", ask)
    return seen


def run(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    result = CliRunner().invoke(clients, list(words))
    assert result.exit_code == 0, result.output or repr(result.exception)
    return result.output + capfd.readouterr().out


def test_a_client_is_added_with_what_its_file_says(
    asked: Asked, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "books.json"
    file.write_text(json.dumps({"require_pushed_authorization_requests": True}))
    options = ("--tenant", "lindenhof", "--name", "Books", "--redirect", "https://books.example/cb")
    said = run(capfd, "add", "books", *options, "--scope", "tickets:read", "--metadata", str(file))
    assert "the-secret" in said
    (do, arguments), *_ = asked
    assert do == "client.add"
    assert arguments["redirect_uris"] == ["https://books.example/cb"]
    assert arguments["metadata"] == {
        "token_endpoint_auth_method": "client_secret_basic",
        "require_pushed_authorization_requests": True,
    }


def test_secrets_and_invitations_are_printed_and_lives_are_in_seconds(
    asked: Asked, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "the-new-one" in run(capfd, "rotate-secret", "books", "--tenant", "lindenhof", "--hours", "2")
    assert "the-invitation" in run(capfd, "invite", "--tenant", "lindenhof", "--scope", "openid")
    assert asked[0][1]["overlap"] == 7200
    assert (asked[1][1]["life"], asked[1][1]["uses"]) == (86_400, 1)


def test_clients_are_listed_shown_and_disabled(asked: Asked, capfd: pytest.CaptureFixture[str]) -> None:
    listed = run(capfd, "list", "--tenant", "lindenhof")
    assert "Books" in listed
    assert "disabled" in listed
    assert "require_pkce" in run(capfd, "show", "books", "--tenant", "lindenhof")
    assert "Grants ended: 3" in run(capfd, "disable", "books", "--tenant", "lindenhof")
    assert json.loads(run(capfd, "list", "--tenant", "lindenhof", "--json"))["clients"][0]["grants"] == 2
    assert [do for do, _ in asked] == ["client.list", "client.list", "client.disable", "client.list"]
