"""`troth user`: what a person types, what is asked of the platform, and what is printed."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from troth.cli import administration
from troth.cli.user import users

Asked = list[tuple[str, dict[str, Any]]]
MAYA = {
    "id": "018f-maya",
    "email": "maya@lindenhof.example",
    "name": "[red]Maya[/red]",
    "roles": ["resident"],
    "disabled": True,
    "has_password": False,
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the platform was asked for; its answers are those of the verbs."""
    seen: Asked = []
    sent = {"email": MAYA["email"], "hours": 168.0}
    answers: dict[str, dict[str, Any]] = {
        "user.list": {"users": [MAYA], "next": "018f-maya"},
        "user.invite": sent,
        "user.reset-password": {**sent, "hours": 0.5, "link_file": "/state/links/reset-018f"},
    }

    def ask(_: Path, do: str, /, **arguments: Any) -> dict[str, Any]:
        seen.append((do, arguments))
        return answers.get(do, MAYA)

    monkeypatch.setattr(administration, "ask_platform", ask)
    return seen


def run(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    result = CliRunner().invoke(users, [*words, "--tenant", "lindenhof"])
    assert result.exit_code == 0, result.output or repr(result.exception)
    said = capfd.readouterr()
    return " ".join((result.output + said.out + said.err).split())


def test_people_are_listed_as_they_are_with_the_way_to_the_next_page(
    asked: Asked, capfd: pytest.CaptureFixture[str]
) -> None:
    said = run(capfd, "list", "--limit", "1")
    assert "[red]Maya[/red]" in said
    assert "disabled, no password" in said
    assert "--after 018f-maya" in said
    assert asked == [("user.list", {"tenant": "lindenhof", "after": "", "limit": 1})]
    printed = CliRunner().invoke(users, ["list", "--tenant", "lindenhof", "--json"]).output
    assert json.loads(printed + capfd.readouterr().out)["next"] == "018f-maya"


def test_an_invitation_names_roles_and_says_that_it_is_on_its_way(
    asked: Asked, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("invite", "maya@lindenhof.example", "--name", "Maya", "--role", "a", "--role", "b")
    assert "on its way to maya@lindenhof.example; it is good once, for 168 hours" in run(capfd, *words)
    ((do, arguments),) = asked
    assert (do, arguments["roles"], arguments["language"]) == ("user.invite", ["a", "b"], "")


def test_a_link_that_cannot_be_sent_is_told_by_its_file(
    asked: Asked, capfd: pytest.CaptureFixture[str]
) -> None:
    said = run(capfd, "reset-password", "maya@lindenhof.example")
    assert "/state/links/reset-018f" in said
    assert "no [mail]" in said
    assert "half an hour" in said


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("disable", "is disabled"),
        ("enable", "may sign in again"),
        ("sign-out", "is signed out everywhere"),
        ("reset-factors", "has no second factor"),
    ],
)
def test_what_is_done_to_a_person_is_said(
    asked: Asked, capfd: pytest.CaptureFixture[str], verb: str, said: str
) -> None:
    assert f"maya@lindenhof.example {said}" in run(capfd, verb, "018f-maya")
    assert asked == [(f"user.{verb}", {"tenant": "lindenhof", "who": "018f-maya"})]


def test_roles_added_and_shown(asked: Asked, capfd: pytest.CaptureFixture[str]) -> None:
    assert "has: resident." in run(capfd, "roles", "018f-maya", "resident")
    assert "without a password" in run(capfd, "add", "maya@lindenhof.example", "--name", "Maya")
    assert "resident" in run(capfd, "show", "018f-maya")
    assert [arguments.get("roles") for _, arguments in asked] == [["resident"], [], None]


def test_no_option_sets_a_password(capfd: pytest.CaptureFixture[str]) -> None:
    for verb in ("add", "invite", "reset-password"):
        result = CliRunner().invoke(users, [verb, "x@y.example", "--tenant", "t", "--password", "x"])
        assert result.exit_code == 2
